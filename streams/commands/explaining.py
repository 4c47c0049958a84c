"""`heardback explain`: find a contact in a folder and say why each of its clocks says what it says.

A folder is whatever one of `LOADERS` recognises. What there is to say belongs to `streams.engine.explain`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import orjson

from streams.commands import archive
from streams.commands.archive import Archive, Damaged
from streams.engine.calendar import NeverOpens, to_us
from streams.engine.explain import Explanation, explain, to_json, to_text
from streams.engine.outcome import instant_text
from streams.engine.policy import Policies
from streams.engine.timeline import MERGED, Contact
from streams.replay import groups

Loader = Callable[[Path], Archive | Damaged | None]


def _of_run(folder: Path) -> Archive | Damaged | None:
    """What is in the data folder of a run; the broker's modules, slow to import, are asked for only here."""
    from streams.commands import data_folder

    return data_folder.load(folder)


LOADERS: Final[tuple[Loader, ...]] = (archive.load, _of_run)
NEAR_SHOWN: Final = 5


class CannotExplain(ValueError):  # noqa: N818 - the name says what happened
    """There is nothing to explain; the message says what was found and what was wanted."""


def load(*folders: Path, loaders: Sequence[Loader] = LOADERS) -> Archive:
    """What the first of the folders knows that a loader recognises. Raises CannotExplain, OSError."""
    for folder in folders:
        for loader in loaders:
            found = loader(folder)
            if isinstance(found, Damaged):
                raise CannotExplain(f"{found.where}: {found.what}")
            if found is not None:
                return found
    raise CannotExplain(
        f"{', '.join(map(str, folders))}: found nothing to explain from, wanted the --out folder of heardback replay "
        "or the --data folder of heardback run; on Kafka a gateway explains, at /contacts/{id}"
    )


def explanation(
    contact_id: str, known: Archive, *, at: datetime | None = None, policies: Policies | None = None
) -> Explanation:
    """The contact at `at` (default: the end of what the folder knows), judged by `policies` (default: those that
    judged it). Raises CannotExplain where it is unknown, with near matches, or was unknown then."""
    group = _group_of(contact_id, known.contacts)
    if group is None:
        raise CannotExplain(_unknown(contact_id, known.contacts))
    now_us = known.until_us if at is None else to_us(at)
    try:
        found = explain(contact_id, group, policies or known.policies, known.tiers_of, now_us)
    except NeverOpens as never:
        raise CannotExplain(str(never)) from None
    if found is None:
        raise CannotExplain(_nothing_known(contact_id, min(_heard_of(contact_id, group)), now_us))
    return found


def shown(found: Explanation, *, as_json: bool = False, summary: bool = False) -> str:
    """For the terminal or, as JSON, for programs; the customer's words only where `summary` asks for them."""
    if not as_json:
        return to_text(found, summary=summary)
    return orjson.dumps(to_json(found, summary=summary), option=orjson.OPT_INDENT_2).decode()


def _nothing_known(contact_id: str, since_us: int, now_us: int) -> str:
    if since_us <= now_us:
        return f"contact {contact_id} is only named by a merge that does not hold (C17); nothing happened in it"
    since, now = instant_text(since_us), instant_text(now_us)
    return f"contact {contact_id} was first heard of at {since}, nothing was known of it at {now}"


def _group_of(contact_id: str, contacts: Mapping[str, Contact]) -> dict[str, Contact] | None:
    """The contacts that must be looked at together with this one, which may be known by a merge only."""
    for group in groups(contacts):
        if contact_id in group or any(contact_id in _merged_into(contact) for contact in group.values()):
            return group
    return None


def _merged_into(contact: Contact) -> Sequence[str]:
    return [item.data["into"] for item in contact.facts if item.type == MERGED]


def _heard_of(contact_id: str, group: Mapping[str, Contact]) -> list[int]:
    own = [item.at_us for item in group[contact_id].facts] if contact_id in group else []
    merged = (item for contact in group.values() for item in contact.facts if item.type == MERGED)
    return own + [item.at_us for item in merged if item.data["into"] == contact_id]


def _alike(contact_id: str, contacts: Iterable[str]) -> list[str]:
    """Ids of about the same spelling, also without the instance that adapters put before them."""
    by_name = {name: known for known in contacts for name in (known.rpartition(":")[2], known)}
    return list(dict.fromkeys(by_name[name] for name in get_close_matches(contact_id, by_name, n=NEAR_SHOWN)))


def _unknown(contact_id: str, contacts: Mapping[str, Contact]) -> str:
    near = sorted((known for known in contacts if contact_id.lower() in known.lower()), key=len)
    near = near or _alike(contact_id, contacts)
    if not near:
        return f"found no contact {contact_id!r} among {len(contacts)}"
    return f"found no contact {contact_id!r}; did you mean {', '.join(near[:NEAR_SHOWN])}?"
