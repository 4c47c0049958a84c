"""Files that users hand in: event lines, customer lists. What cannot be read is a refusal with its place.

Plain or gzip, with or without a byte order mark, any line end, `-` for standard input. What the lines mean
belongs to `schemas` and `streams.ingest`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import yaml
from pydantic import ValidationError

from schemas.codec import BOM, refusal_of
from schemas.customers import Customer
from schemas.refusals import Reason, Refusal
from streams.replay import Line, Refused

LINE_BYTES_MAX: Final = 16 * 1024 * 1024
_GZIP: Final = b"\x1f\x8b"


def event_lines(name: str) -> Iterator[Line | Refused]:
    """The lines of a file (JSON Lines, plain or gzip) or of standard input (`-`), each with its place.
    Raises OSError where the file cannot be opened."""
    with _opened(name) as stream:
        number = 0
        while True:
            try:
                raw = stream.readline(LINE_BYTES_MAX)
            except (EOFError, gzip.BadGzipFile, zlib.error) as broken:
                where = Line(f"{name}:{number + 1}", b"")
                yield Refused(where, Refusal(reason=Reason.BROKEN_GZIP, detail=f"the rest cannot be read: {broken}"))
                return
            if not raw:
                return
            number += 1
            value = raw.removeprefix(BOM) if number == 1 else raw
            yield Line(f"{name}:{number}", value.rstrip(b"\r\n"))


def read_bytes(name: str) -> bytes:
    """A whole file or standard input, unpacked where it is gzip. Raises OSError, EOFError, zlib.error."""
    with _opened(name) as stream:
        return stream.read()


def _opened(name: str) -> IO[bytes]:
    stream: IO[bytes] = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115 - the caller closes it
    buffered = io.BufferedReader(stream) if not isinstance(stream, io.BufferedReader) else stream  # type: ignore[arg-type]
    if buffered.peek(2)[:2] == _GZIP:
        return gzip.GzipFile(fileobj=buffered)  # type: ignore[return-value]
    return buffered


def customers_in(name: str) -> tuple[list[Customer], list[Refused]]:
    """Customers of a file: YAML or JSON list, JSON Lines, or CSV, told apart by ending and content.
    What is no customer comes back refused with its place. Raises OSError."""
    customers: list[Customer] = []
    refused: list[Refused] = []
    for line, content in _customer_records(name, read_bytes(name), refused):
        try:
            customers.append(Customer.model_validate(content))
        except ValidationError as invalid:
            refused += [Refused(line, refusal_of(error)) for error in invalid.errors(include_url=False)]
    return customers, refused


def _customer_records(name: str, content: bytes, refused: list[Refused]) -> Iterator[tuple[Line, Any]]:
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        detail = f"is not UTF-8 (at byte {broken.start})"
        refused.append(Refused(Line(name, b""), Refusal(reason=Reason.BROKEN_ENCODING, detail=detail)))
        return
    if suffix == ".csv":
        yield from _csv_records(name, text)
    elif suffix in (".jsonl", ".ndjson") or (suffix != ".json" and text.lstrip().startswith("{")):
        yield from _json_lines(name, text, refused)
    else:
        yield from _listed(name, text, refused)


def _csv_records(name: str, text: str) -> Iterator[tuple[Line, Any]]:
    for number, row in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        content: dict[str, Any] = {key: value for key, value in row.items() if key and value not in (None, "")}
        if "identities" in content:
            content["identities"] = [part.strip() for part in content["identities"].split(";") if part.strip()]
        yield Line(f"{name}:{number}", b""), content


def _json_lines(name: str, text: str, refused: list[Refused]) -> Iterator[tuple[Line, Any]]:
    for number, row in enumerate(text.splitlines(), start=1):
        line = Line(f"{name}:{number}", row.encode())
        if not row.strip():
            continue
        try:
            yield line, json.loads(row)
        except ValueError as broken:
            refused.append(Refused(line, Refusal(reason=Reason.BROKEN_JSON, detail=str(broken))))


def _listed(name: str, text: str, refused: list[Refused]) -> Iterator[tuple[Line, Any]]:
    try:
        content = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError) as broken:
        detail = str(broken).splitlines()[0]
        refused.append(Refused(Line(name, b""), Refusal(reason=Reason.BROKEN_JSON, detail=detail)))
        return
    if isinstance(content, dict) and isinstance(content.get("customers"), list):
        content = content["customers"]
    if not isinstance(content, list):
        detail = "found no list, wanted a list of customers"
        refused.append(Refused(Line(name, b""), Refusal(reason=Reason.NOT_AN_OBJECT, detail=detail)))
        return
    for index, record in enumerate(content):
        yield Line(f"{name}[{index}]", b""), record
