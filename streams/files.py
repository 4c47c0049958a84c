"""Files that users hand in: event lines, customer lists. What cannot be read is a refusal with its place.

Plain or gzip, with or without a byte order mark, any line end, `-` for standard input. What the lines mean
belongs to `schemas` and `streams.ingest`.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

import orjson
import yaml
from pydantic import ValidationError

from schemas.codec import BOM, refusal_of
from schemas.customers import Customer
from schemas.refusals import Reason, Refusal
from streams import yaml_text
from streams.replay import Line, Refused

LINE_BYTES_MAX: Final = 16 * 1024 * 1024
BROKEN_GZIP: Final = (EOFError, gzip.BadGzipFile, zlib.error)
"""What reading a damaged or cut gzip stream raises."""
_GZIP: Final = b"\x1f\x8b"


def event_lines(name: str, opened: Callable[[str], IO[bytes]] | None = None) -> Iterator[Line | Refused]:
    """The lines of a file (JSON Lines, plain or gzip) or of standard input (`-`), each with its place. `opened`
    opens the file, for whoever watches it being read. Raises OSError where it cannot be opened."""
    number = 0
    with _opened(name, opened) as stream:
        try:
            for number, raw in enumerate(lines_of(stream), start=1):
                value = raw.removeprefix(BOM) if number == 1 else raw
                yield Line(f"{name}:{number}", value.rstrip(b"\r\n"))
        except BROKEN_GZIP as broken:
            yield _refused(f"{name}:{number + 1}", Reason.BROKEN_GZIP, f"the rest cannot be read: {broken}")


def lines_of(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of a stream with their ends. One of more than LINE_BYTES_MAX is cut there, and stays one."""
    while raw := stream.readline(LINE_BYTES_MAX):
        yield raw
        while len(raw) == LINE_BYTES_MAX and not raw.endswith(b"\n"):
            raw = stream.readline(LINE_BYTES_MAX)


def read_bytes(name: str) -> bytes:
    """A whole file or standard input, unpacked where it is gzip. Raises OSError, EOFError, zlib.error."""
    with _opened(name) as stream:
        return stream.read()


def unpacked(stream: IO[bytes]) -> IO[bytes]:
    """The stream, or what is packed in it where it is gzip; closing it closes the stream."""
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
    return cast(IO[bytes], _Unpacked(buffered)) if buffered.peek(2)[:2] == _GZIP else buffered


class _Unpacked(gzip.GzipFile):
    """A gzip stream that owns what it reads from."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        super().__init__(fileobj=packed)

    def close(self) -> None:
        super().close()
        self._packed.close()


def _opened(name: str, opened: Callable[[str], IO[bytes]] | None = None) -> IO[bytes]:
    if name == "-":
        return unpacked(sys.stdin.buffer)
    return unpacked(opened(name) if opened is not None else Path(name).open("rb"))


def customers_in(name: str) -> tuple[list[Customer], list[Refused]]:
    """Customers of a file: YAML or JSON list, JSON Lines, or CSV, told apart by ending and content.
    What is no customer comes back refused with its place. Raises OSError."""
    customers: list[Customer] = []
    refused: list[Refused] = []
    try:
        content = read_bytes(name)
    except BROKEN_GZIP as broken:
        return [], [_refused(name, Reason.BROKEN_GZIP, f"cannot be unpacked: {broken}")]
    for record in _customer_records(name, content):
        if isinstance(record, Refused):
            refused.append(record)
            continue
        line, found = record
        try:
            customers.append(Customer.model_validate(found))
        except ValidationError as invalid:
            refused += [Refused(line, refusal_of(error)) for error in invalid.errors(include_url=False)]
    return customers, refused


_Record = tuple[Line, Any]


def _customer_records(name: str, content: bytes) -> Iterator[_Record | Refused]:
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        return iter([_refused(name, Reason.BROKEN_ENCODING, f"is not UTF-8 (at byte {broken.start})")])
    if suffix == ".csv":
        return _csv_records(name, text)
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(name, text)
    if suffix not in (".yaml", ".yml") and text.lstrip()[:1] in ("[", "{"):
        return _json_records(name, text)
    return _yaml_records(name, text)


def _csv_records(name: str, text: str) -> Iterator[_Record | Refused]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as broken:
            yield _refused(f"{name}:{rows.reader.line_num}", Reason.BROKEN_ROW, str(broken))
            continue
        where = f"{name}:{rows.line_num}"
        if None in row:
            yield _refused(where, Reason.BROKEN_ROW, "found more values than the header has columns")
            continue
        content: dict[str, Any] = {key: value for key, value in row.items() if value not in (None, "")}
        if "identities" in content:
            content["identities"] = [part.strip() for part in content["identities"].split(";") if part.strip()]
        yield Line(where, b""), content


def _json_lines(name: str, text: str) -> Iterator[_Record | Refused]:
    for number, row in enumerate(text.split("\n"), start=1):
        line = Line(f"{name}:{number}", row.strip().encode())
        if not line.value:
            continue
        try:
            yield line, orjson.loads(line.value)
        except orjson.JSONDecodeError as broken:
            yield Refused(line, Refusal(reason=Reason.BROKEN_JSON, detail=str(broken)))


def _json_records(name: str, text: str) -> Iterator[_Record | Refused]:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as broken:
        if text.lstrip().startswith("{"):
            return _json_lines(name, text)
        return iter([_refused(name, Reason.BROKEN_JSON, str(broken))])
    if isinstance(content, dict) and "customer_id" in content:
        content = [content]
    return _listed(name, content)


def _yaml_records(name: str, text: str) -> Iterator[_Record | Refused]:
    try:
        content = yaml_text.load(text)
    except (yaml.YAMLError, ValueError) as broken:
        return iter([_refused(name, Reason.BROKEN_JSON, " ".join(str(broken).split()))])
    return _listed(name, content)


def _listed(name: str, content: Any) -> Iterator[_Record | Refused]:
    if isinstance(content, dict) and isinstance(content.get("customers"), list):
        content = content["customers"]
    if not isinstance(content, list):
        yield _refused(name, Reason.NOT_AN_OBJECT, "found no list, wanted a list of customers")
        return
    for index, record in enumerate(content):
        yield Line(f"{name}[{index}]", b""), record


def _refused(where: str, reason: Reason, detail: str) -> Refused:
    return Refused(Line(where, b""), Refusal(reason=reason, detail=detail))
