"""Dead letters: records that were refused, with their original bytes, on topic `dead-letters`.

The value is the original one, unchanged; the record's key is its origin; everything else is in headers, named
here. A letter that was put back stays; behind it stands a record without value whose header `replayed` names its
offset. Why something is refused is in `schemas.refusals`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.refusals import Reason

REASON: Final = "reason"
DETAIL: Final = "detail"
FIELD: Final = "field"
ORIGIN: Final = "origin"
REFUSED_AT: Final = "refused_at"
# The original record's key; absent where it had none.
KEY: Final = "key"
# Of the record that says that a letter was put back: the letter's offset, when, and topic/partition.
REPLAYED: Final = "replayed"
REPLAYED_AT: Final = "replayed_at"
REPLAYED_TO: Final = "replayed_to"
# Headers of the original record travel on under this prefix.
ORIGINAL: Final = "original."


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A refused record. `origin` is `topic/partition/offset` or `route`, or `file:line`; `headers` are
    the original record's; `refused_at` an instant in RFC 3339."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    reason: Reason
    detail: str
    field: str | None
    origin: str
    refused_at: str


def to_headers(letter: DeadLetter) -> list[tuple[str, bytes]]:
    """The headers of a dead letter's record."""
    own = [
        (REASON, letter.reason.encode()),
        (DETAIL, letter.detail.encode()),
        (FIELD, (letter.field or "").encode()),
        (ORIGIN, letter.origin.encode()),
        (REFUSED_AT, letter.refused_at.encode()),
    ]
    if letter.key is not None:
        own.append((KEY, letter.key))
    return own + [(ORIGINAL + name, content or b"") for name, content in letter.headers]


def replayed_headers(offset: int, at: str, to: str) -> list[tuple[str, bytes]]:
    """The headers of the record that says that the letter at `offset` was put back."""
    return [(REPLAYED, str(offset).encode()), (REPLAYED_AT, at.encode()), (REPLAYED_TO, to.encode())]


def from_record(value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> DeadLetter:
    """The dead letter in a record of topic `dead-letters`. Raises ValueError where it is none."""
    found: Mapping[str, bytes] = dict(headers)
    if REASON not in found:
        raise ValueError(f"found headers {sorted(found)}, wanted {REASON}")
    return DeadLetter(
        key=found.get(KEY),
        value=value,
        headers=tuple((name.removeprefix(ORIGINAL), content) for name, content in headers if name.startswith(ORIGINAL)),
        reason=Reason(found[REASON].decode()),
        detail=found.get(DETAIL, b"").decode(),
        field=found.get(FIELD, b"").decode() or None,
        origin=found.get(ORIGIN, b"").decode(),
        refused_at=found.get(REFUSED_AT, b"").decode(),
    )
