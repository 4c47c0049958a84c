"""Why each clock of a contact says what it says: every stretch counted or not with its cause, what moved it and what
did not, and why there is no clock where there is none.

`explain` reads nothing anew: it watches `streams.engine.reading` at work and says what it saw. `to_json` and `to_text`
write it down, for the contact's page and for the terminal. Finding the contact belongs to the rim.
"""

from streams.engine.explain.explaining import explain
from streams.engine.explain.explanation import Explanation
from streams.engine.explain.record import to_json
from streams.engine.explain.text import to_text

__all__ = ["Explanation", "explain", "to_json", "to_text"]
