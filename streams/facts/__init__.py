"""Facts: outcomes, journeys and alerts in SQL, as the topics told them; SQLite by default, PostgreSQL by URL.

    store = Store(url)                      # raises FactsError for a URL of another kind
    await Writer(client, topics, store, now=now).run()     # follows the topics, for ever
    facts = await store.facts(starts_at, ends_at)          # what a report of that time needs
    facts = load(folder)                    # the same from a replay's --out

What a report says belongs to `streams.reports`.
"""

from streams.facts.folder import load
from streams.facts.schema import FactsError, NoFacts
from streams.facts.store import Store
from streams.facts.writer import KNOW_EVERY_SECONDS, TOLD, Writer

__all__ = ["KNOW_EVERY_SECONDS", "TOLD", "FactsError", "NoFacts", "Store", "Writer", "load"]
