"""Files that users hand in: whatever state they are in, what is good is read and the rest is refused with its place."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.customers import Customer
from schemas.refusals import Reason
from streams import files
from streams.files import customers_in, event_lines, lines_of, unpacked
from streams.replay import Line, Refused

CUSTOMERS: list[dict[str, Any]] = [
    {"customer_id": "c-1", "name": "Müller", "identities": ["mailto:a@example.com", "domain:example.com"]},
    {"customer_id": "c-2", "tier": "gold", "annual_value": 48_000},
]
READ = [Customer.model_validate(one) for one in CUSTOMERS]


def put(folder: Path, name: str, content: bytes | str) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def split(name: str) -> tuple[list[bytes], list[tuple[str, Reason]]]:
    """The values of the lines, and where and why the rest was refused."""
    read = list(event_lines(name))
    refused = [(one.line.where.removeprefix(name), one.refusal.reason) for one in read if isinstance(one, Refused)]
    return [one.value for one in read if isinstance(one, Line)], refused


# -- event lines


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("content", [b"a\nb\n", b"a\r\nb\r\n", b"a\nb", b"\xef\xbb\xbfa\nb\n"])
def test_lines_are_the_same_packed_or_not_with_any_line_end_and_with_a_byte_order_mark(
    tmp_path: Path, content: bytes, pack: Any
) -> None:
    assert split(put(tmp_path, "events", pack(content))) == ([b"a", b"b"], [])


def test_a_line_names_its_file_and_number(tmp_path: Path) -> None:
    name = put(tmp_path, "events.jsonl", "a\n\nb\n")
    assert [one.where for one in event_lines(name) if isinstance(one, Line)] == [f"{name}:{n}" for n in (1, 2, 3)]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert split(put(tmp_path, "events", b"")) == ([], [])
    assert split(put(tmp_path, "events", gzip.compress(b""))) == ([], [])


def test_of_a_gzip_cut_short_the_lines_before_the_cut_are_read_and_the_rest_is_refused(tmp_path: Path) -> None:
    lines = [b"%06d %s" % (n, bytes([n % 251, n * 7 % 253, n * 13 % 241]).hex().encode()) for n in range(50_000)]
    whole = gzip.compress(b"\n".join(lines))
    values, refused = split(put(tmp_path, "events.gz", whole[: len(whole) // 2]))
    assert 1_000 < len(values) < len(lines)
    assert values == lines[: len(values)]
    assert refused == [(f":{len(values) + 1}", Reason.BROKEN_GZIP)]


@pytest.mark.parametrize(
    "damage", [lambda c: c + b"garbage", lambda c: c[:-8] + bytes(8), lambda c: c[:12] + b"\xff" * 9]
)
def test_a_damaged_gzip_is_refused_and_raises_nothing(tmp_path: Path, damage: Any) -> None:
    values, refused = split(put(tmp_path, "events.gz", damage(gzip.compress(b"a\nb\n"))))
    assert values in ([], [b"a", b"b"])
    assert [reason for _, reason in refused] == [Reason.BROKEN_GZIP]


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    assert split(put(tmp_path, "events.gz", gzip.compress(b"a\n") + gzip.compress(b"b\n"))) == ([b"a", b"b"], [])


def test_a_line_beyond_the_bound_is_cut_and_stays_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LINE_BYTES_MAX", 10)
    text = b"short\n" + b"x" * 95 + b"\nafter\n" + b"y" * 10 + b"\nz"
    assert list(lines_of(io.BytesIO(text))) == [b"short\n", b"x" * 10, b"after\n", b"y" * 10, b"z"]


def test_standard_input_is_read_packed_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"a\nb\n", gzip.compress(b"a\nb\n")):
        stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)))  # type: ignore[type-var]
        monkeypatch.setattr("sys.stdin", stdin)
        assert split("-") == ([b"a", b"b"], [])


def test_closing_what_was_unpacked_closes_the_file(tmp_path: Path) -> None:
    with Path(put(tmp_path, "a.gz", gzip.compress(b"a"))).open("rb") as packed:
        with unpacked(packed) as stream:
            assert stream.read() == b"a"
        assert packed.closed


def test_a_file_that_is_not_there_raises_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(event_lines(str(tmp_path / "none")))


# -- customers


CSV = """\
customer_id,name,tier,annual_value,identities
c-1,Müller,,,"mailto:a@example.com; domain:example.com"
c-2,,gold,48000,
"""
YAML = """\
- customer_id: c-1
  name: Müller
  identities: [mailto:a@example.com, domain:example.com]
- {customer_id: c-2, tier: gold, annual_value: 48000}
"""
LINES = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in CUSTOMERS)
FORMS = [
    ("customers.csv", CSV),
    ("customers.yaml", YAML),
    ("customers.yml", "customers:\n" + YAML),
    ("customers", YAML),
    ("customers.json", json.dumps(CUSTOMERS)),
    ("customers.json", json.dumps(CUSTOMERS, indent="\t")),
    ("customers.json", json.dumps({"customers": CUSTOMERS}, indent=2)),
    ("customers", json.dumps(CUSTOMERS)),
    ("customers.jsonl", LINES),
    ("customers.ndjson", "\n" + LINES + "\n"),
    ("customers", LINES),
]


@pytest.mark.parametrize("write", [
    str.encode,
    lambda text: text.encode("utf-8-sig"),
    lambda text: text.replace("\n", "\r\n").encode(),
    lambda text: gzip.compress(text.encode()),
], ids=["plain", "byte-order-mark", "crlf", "gzip"])  # fmt: skip
@pytest.mark.parametrize(("name", "text"), FORMS)
def test_the_same_customers_are_read_from_every_form(tmp_path: Path, name: str, text: str, write: Any) -> None:
    assert customers_in(put(tmp_path, name, write(text))) == (READ, [])


def test_a_single_customer_as_json_is_a_list_of_one(tmp_path: Path) -> None:
    assert customers_in(put(tmp_path, "one.json", json.dumps(CUSTOMERS[1], indent=2))) == ([READ[1]], [])


def test_line_separators_within_json_text_end_no_line(tmp_path: Path) -> None:
    text = json.dumps({"customer_id": "c-1", "name": "a\u2028b\u0085c"}, ensure_ascii=False)
    [customer], refused = customers_in(put(tmp_path, "c.jsonl", text))
    assert (customer.name, refused) == ("a\u2028b\u0085c", [])


def test_emoji_escaped_as_json_does_are_read(tmp_path: Path) -> None:
    [customer], _ = customers_in(put(tmp_path, "c.json", '[{"customer_id": "c-1", "name": "\\ud83d\\ude00"}]'))
    assert customer.name == "\U0001f600"


@pytest.mark.parametrize("name", ["c.csv", "c.yaml", "c.json", "c.jsonl"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused_whole(tmp_path: Path, name: str, encoding: str) -> None:
    customers, [refused] = customers_in(put(tmp_path, name, CSV.encode(encoding)))
    assert (customers, refused.refusal.reason) == ([], Reason.BROKEN_ENCODING)


def test_a_gzip_cut_short_is_refused_whole(tmp_path: Path) -> None:
    name = put(tmp_path, "c.yaml.gz", gzip.compress(YAML.encode())[:-9])
    customers, [refused] = customers_in(name)
    assert (customers, refused.line.where, refused.refusal.reason) == ([], name, Reason.BROKEN_GZIP)


@pytest.mark.parametrize(
    ("name", "text", "where", "reason"),
    [
        ("c.jsonl", LINES + "{broken\n", ":3", Reason.BROKEN_JSON),
        ("c.jsonl", LINES + "[" * 100_000 + "\n", ":3", Reason.BROKEN_JSON),
        ("c.jsonl", LINES + '{"name": "Ann"}\n', ":3", Reason.MISSING_FIELD),
        ("c.jsonl", LINES + '"c-3"\n', ":3", Reason.INVALID_FIELD),
        ("c.csv", CSV + "c-3,x,y,lots,\n", ":4", Reason.INVALID_FIELD),
        ("c.csv", CSV + ",nobody,,,\n", ":4", Reason.MISSING_FIELD),
        ("c.csv", CSV + "c-3,a,b,1,,surplus\n", ":4", Reason.BROKEN_ROW),
        ("c.csv", CSV + f"c-3,{'x' * 200_000},,,\n\n", ":4", Reason.BROKEN_ROW),
        ("c.yaml", YAML + "- {customer_id: 7}\n", "[2]", Reason.INVALID_FIELD),
        ("c.yaml", YAML + "- {customer_id: c-3, stakeholders: [{person_id: p}, 1]}", "[2]", Reason.INVALID_FIELD),
        ("c.yaml", YAML + "- just words\n", "[2]", Reason.INVALID_FIELD),
        ("c.json", json.dumps([*CUSTOMERS, None]), "[2]", Reason.INVALID_FIELD),
    ],
)  # fmt: skip
def test_one_bad_customer_is_refused_with_its_place_and_costs_no_other(
    tmp_path: Path, name: str, text: str, where: str, reason: Reason
) -> None:
    file = put(tmp_path, name, text)
    customers, [refused] = customers_in(file)
    assert customers == READ
    assert (refused.line.where, refused.refusal.reason) == (file + where, reason)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("c.yaml", "- {customer_id: c-1", Reason.BROKEN_JSON),
        ("c.yaml", "customer_id: c-1\n", Reason.NOT_AN_OBJECT),
        ("c.yaml", "", Reason.NOT_AN_OBJECT),
        ("c.yaml", "- " * 300_000 + "x", Reason.BROKEN_JSON),
        ("c.yaml", "- &a [*a]\n", Reason.BROKEN_JSON),
        ("c.json", "[" * 300_000, Reason.BROKEN_JSON),
        ("c.json", "[1, ", Reason.BROKEN_JSON),
        ("c.json", "7", Reason.NOT_AN_OBJECT),
    ],
)
def test_a_file_that_is_no_list_of_customers_is_refused(tmp_path: Path, name: str, text: str, reason: Reason) -> None:
    file = put(tmp_path, name, text)
    customers, [refused] = customers_in(file)
    assert (customers, refused.line.where, refused.refusal.reason) == ([], file, reason)


def test_a_customer_file_that_is_not_there_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        customers_in(str(tmp_path / "none.yaml"))
