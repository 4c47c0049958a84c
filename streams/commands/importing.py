"""`heardback import SOURCE FILE...`: exports of known systems in, contact events as JSON Lines out.

A source is one line of SOURCES: its name, what reads a file of it, and the options that it understands. What
files of a system mean is in its module of `streams.ingest`; here they are only opened, unpacked and counted.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Final
from zoneinfo import ZoneInfo

from schemas.events import Event, to_json
from schemas.refusals import Reason, Refusal
from streams.commands.bar import bar, watched
from streams.files import BROKEN_GZIP, lines_of, unpacked
from streams.ingest import mailbox, servicenow
from streams.ingest.mail import Ours, read_mails

if TYPE_CHECKING:
    from rich.progress import Progress

STDIN: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the caller knows about his export and no file says."""

    time_zone: tzinfo = UTC
    ours: Ours = field(default_factory=Ours)


Items = Iterator[Event | Refusal]
Open = Callable[[str], IO[bytes]]
# (file name, how to open it, options, counts beside events and refusals) -> what the file holds
Read = Callable[[str, Open, Options, Counter[str]], Items]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A system that exports can come from. `options`: which fields of Options it looks at; `folders`:
    whether a file may be a folder."""

    read: Read
    options: frozenset[str] = frozenset()
    folders: bool = False


def _servicenow(name: str, opened: Open, options: Options, counts: Counter[str]) -> Items:
    tally = servicenow.Tally()
    with opened(name) as stream:
        for item in servicenow.read(lines_of(stream), time_zone=options.time_zone, tally=tally):
            yield replace(item, detail=f"{name}: {item.detail}") if isinstance(item, Refusal) else item
    counts.update(rows=tally.rows, unchanged=tally.unchanged, repeated=tally.repeated)


def _mail(name: str, opened: Open, options: Options, counts: Counter[str]) -> Items:
    for reading in read_mails(_mails(name, opened, counts), options.ours):
        yield from reading.events
        yield from reading.refusals


def _mails(name: str, opened: Open, counts: Counter[str]) -> Iterator[tuple[str, bytes | Refusal]]:
    if name == STDIN:
        with opened(name) as stream:
            yield from _counted(_piped(stream), counts)
    else:
        yield from _counted(mailbox.messages_in(Path(name)), counts)


def _piped(stream: IO[bytes]) -> Iterator[tuple[str, bytes | Refusal]]:
    try:
        for number, raw in enumerate(mailbox.split_mbox(lines_of(stream)), start=1):
            yield f"{STDIN}#{number}", raw
    except BROKEN_GZIP as broken:
        yield STDIN, Refusal(reason=Reason.BROKEN_GZIP, detail=f"{STDIN}: {broken}")


def _counted(
    mails: Iterable[tuple[str, bytes | Refusal]], counts: Counter[str]
) -> Iterator[tuple[str, bytes | Refusal]]:
    for origin, raw in mails:
        counts["mails"] += not isinstance(raw, Refusal)
        yield origin, raw


SOURCES: Final[Mapping[str, Source]] = {
    "mail": Source(read=_mail, options=frozenset({"ours"}), folders=True),
    "servicenow": Source(read=_servicenow, options=frozenset({"time_zone"})),
}


def chosen(
    source: str, time_zone: str | None, our_domains: Sequence[str] | None, our_addresses: Sequence[str] | None
) -> tuple[Source, Options]:
    """The source of that name and its options. Raises ValueError for an unknown source, an unknown zone,
    and an option that the source does not look at."""
    if source not in SOURCES:
        raise ValueError(f"found source {source!r}, wanted one of {', '.join(SOURCES)}")
    given = {"--time-zone": time_zone, "--our-domain": our_domains, "--our-address": our_addresses}
    looked_at = SOURCES[source].options
    if useless := [name for name, value in given.items() if value and _OPTION[name] not in looked_at]:
        raise ValueError(f"found {', '.join(useless)}, which say nothing to {source}")
    ours = Ours(domains=_lower(our_domains), addresses=_lower(our_addresses))
    return SOURCES[source], Options(time_zone=_zone(time_zone) if time_zone else UTC, ours=ours)


_OPTION: Final = {"--time-zone": "time_zone", "--our-domain": "ours", "--our-address": "ours"}


def _lower(names: Sequence[str] | None) -> frozenset[str]:
    return frozenset(name.strip().lower().lstrip("@") for name in names or ())


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"found {name!r}, wanted an IANA time zone such as Europe/London") from None


@dataclass(slots=True)
class Imported:
    """What an import came to. `read` counts rows, mails and what became of none."""

    read: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    contacts: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        parts = [f"{self.types.total()} events of {len(self.contacts)} contacts", *_each(self.read)]
        parts.append(f"{self.refused.total()} refused")
        why = f" ({', '.join(_each(self.refused))})" if self.refused else ""
        types = [f"  {kind:24} {count}" for kind, count in sorted(self.types.items())]
        return "\n".join([", ".join(parts) + why, *types])


def _each(counts: Counter[str]) -> list[str]:
    return [f"{count} {name}" for name, count in sorted(counts.items())]


def unopenable(names: Sequence[str], *, folders: bool) -> list[str]:
    """What is wrong with each file that cannot be read, before anything is written."""
    faults = []
    for name in names:
        path = Path(name)
        try:
            if name != STDIN and not (folders and path.is_dir()):
                path.open("rb").close()
        except OSError as unreadable:
            faults.append(f"{name}: {unreadable.strerror}")
    return faults


def run(source: Source, names: Sequence[str], options: Options, out: BinaryIO, errors: IO[str]) -> Imported:
    """Write every event of the files to `out`, a line each, and every refusal to `errors`. Raises OSError
    where a file cannot be read on or `out` not be written."""
    result = Imported()
    logging.getLogger("flufl.bounce").disabled = True  # a traceback for each of its patterns that fails
    with _progress(errors) as progress:
        for name in names:
            task = progress.add_task(name, total=None) if progress is not None and source.folders else None
            for item in source.read(name, _opener(progress), options, result.read):
                if progress is not None and task is not None:
                    progress.advance(task)
                if isinstance(item, Refusal):
                    result.refused[item.reason] += 1
                    print(f"{item.reason}: {item.detail}", file=errors)
                else:
                    result.types[item.type] += 1
                    result.contacts.add(item.subject)
                    out.write(to_json(item) + b"\n")
    out.flush()
    return result


def _progress(errors: IO[str]) -> AbstractContextManager[Progress | None]:
    """A bar on a terminal, but not between the events that are written to it."""
    return nullcontext() if sys.stdout.isatty() else bar(errors)


def _opener(progress: Progress | None) -> Open:
    def opened(name: str) -> IO[bytes]:
        if name == STDIN:
            return unpacked(sys.stdin.buffer)
        return unpacked(watched(progress, name))

    return opened
