"""Most events read the short way: what is taken here, `schemas.codec.decode` takes alike, and reads as the same.

Whatever looks unusual is left to `decode`, which alone says why something is refused; nothing is refused here. The
fields and what they may hold are those of `schemas.events`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from types import NoneType
from typing import Any, Final, Literal, NamedTuple, TypeGuard, get_args, get_origin

import orjson
from pydantic import StrictBool

from schemas.events import EARLIEST, EVENT_DATA, ID_CHARACTERS_MAX, LATEST, TEXT_CHARACTERS_MAX, Data, Id, Text

Fits = Callable[[Any], bool]
_NESTED_MAX: Final = 100  # pydantic stops at 200 deep, orjson at 1,024
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z").fullmatch


class Glance(NamedTuple):
    """An event; of its `data` what is absent or as by default is left out."""

    type: str
    source: str
    id: str
    time: datetime
    subject: str
    data: dict[str, Any]


class _Fields(NamedTuple):
    """Of one type of event: each field of `data`, what it is by default, what it may hold; and which must be there."""

    each: tuple[tuple[str, Any, Fits], ...]
    required: tuple[str, ...]


def glance(value: bytes | None) -> Glance | None:
    """The event in a structured record of topic `contact-events`; None: ask `decode`. Never raises."""
    try:
        content = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    if value is None or type(content) is not dict or value.count(b"{") + value.count(b"[") > _NESTED_MAX:
        return None
    kind = content.get("type")
    if not isinstance(kind, str) or content.get("specversion") != "1.0" or (fields := _FIELDS.get(kind)) is None:
        return None
    source, event_id, subject = content.get("source"), content.get("id"), content.get("subject")
    if not (_is_id(source) and _is_id(event_id) and _is_id(subject)):
        return None
    time, data = _instant(content.get("time")), _data(content.get("data"), fields)
    return None if time is None or data is None else Glance(kind, source, event_id, time, subject, data)


def _data(found: Any, fields: _Fields) -> dict[str, Any] | None:
    if type(found) is not dict:
        return None
    for name in fields.required:
        if found.get(name) is None:
            return None
    data = {}
    for name, default, fits in fields.each:
        said = found.get(name, default)
        if said is default:
            continue
        if not fits(said):
            return None
        if said != default:
            data[name] = said
    return data


def _instant(text: Any) -> datetime | None:
    if type(text) is not str or _INSTANT(text) is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if EARLIEST.year < instant.year < LATEST.year - 1 else None


def _is_id(found: Any) -> TypeGuard[str]:
    """Printable, and no space first: stricter than `ID_PATTERN`, and quicker."""
    return type(found) is str and 0 < len(found) <= ID_CHARACTERS_MAX and found[0] != " " and found.isprintable()


def _is_text(found: Any) -> bool:
    return type(found) is str and len(found) <= TEXT_CHARACTERS_MAX


def _is_bool(found: Any) -> bool:
    return type(found) is bool


def _one_of(words: frozenset[str]) -> Fits:
    return lambda found: type(found) is str and found in words


def _fits(annotation: Any) -> Fits | None:
    """What a field of that type may hold, but None; None where it is not to be seen at a glance."""
    wanted = [one for one in get_args(annotation) if one is not NoneType] if NoneType in get_args(annotation) else []
    (kind,) = wanted or [annotation]
    known: list[tuple[Any, Fits]] = [(Id, _is_id), (Text, _is_text), (StrictBool, _is_bool)]
    for one, fits in known:
        if kind == one:
            return fits
    if get_origin(kind) is Literal:
        return _one_of(frozenset(get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _one_of(frozenset(str(word) for word in kind))
    return None


def _fields_of(data: type[Data]) -> _Fields | None:
    each = []
    for name, info in data.model_fields.items():
        fits = _is_bool if info.annotation is bool else _fits(info.annotation)
        if fits is None:
            return None
        each.append((name, None if info.is_required() else info.default, fits))
    return _Fields(tuple(each), tuple(name for name, info in data.model_fields.items() if info.is_required()))


_FIELDS: Final = {kind: fields for kind, data in EVENT_DATA.items() if (fields := _fields_of(data)) is not None}
