"""How a report looks in each format: complete, escaped, and the same bytes for the same report."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.facts import load
from streams.reports import FORMATS, Week, WeekReport, page, render, weekly
from streams.reports.render import markdown_text
from tests.streams.reports.replays import demo, folder, replayed
from tests.streams.reports.test_weekly import PROMISED, at, configuration, event, opened_at

HOSTILE = [
    "<script>alert('c-1')</script>",
    '"><img src=x onerror=alert(1)>',
    '=HYPERLINK("http://evil.example","click")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "| a | [link](javascript:alert(1)) `code` **bold** <b>",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "\N{RIGHT-TO-LEFT OVERRIDE}txt.exe \N{ZERO WIDTH SPACE}",
    "www.evil.example http://evil.example a@evil.example",
    "x" * 450,
]
TAGS = {
    "html", "head", "meta", "title", "link", "style", "body", "main", "header", "h1", "h2", "h3", "p", "table", "tr",
    "td", "th", "thead", "tbody", "strong", "span", "br", "div", "meter", "footer", "a", "nav",
}  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> WeekReport:
    """A report in which every customer, contact, queue, tier and address is hostile."""
    promised = configuration(PROMISED)
    events: list[dict[str, Any]] = []
    for number, name in enumerate(HOSTILE):
        url = ["javascript:alert(1)", f"https://desk.example/{number}?a=1&b=\"'<"][number % 2]
        more = {"customer_id": name, "queue": name, "url": url}
        events += [
            opened_at("Tue 2026-11-10 10:00", f"{number} {name}"[:512], **more),
            opened_at("Tue 2026-11-10 11:00", f"form {number} {name}"[:512], "form", customer_id=name),
            event("Tue 2026-11-10 12:00", "message.bounced", f"mail {number} {name}"[:512], direction="inbound",
                  customer_id=name, recipient="a@b.example"),
        ]  # fmt: skip
    events.append(
        event("Tue 2026-11-10 13:00", "contact.closed", f"1 {HOSTILE[1]}", by="agent", customer_id=HOSTILE[1])
    )
    result = replayed(events, promised, until=at_instant("Mon 2026-11-16 00:00"))
    facts = load(folder(result, promised, tmp_path_factory.mktemp("hostile")))
    report = weekly(facts, Week.parse("2026-W46", time_zone="Europe/London"))
    assert len(report.let_down) == len(HOSTILE)
    return report


def at_instant(local: str) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(at(local))


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> WeekReport:
    result, promised = demo()
    facts = load(folder(result, promised, tmp_path_factory.mktemp("demo")))
    return weekly(facts, Week.parse("2026-W46", time_zone="Europe/London"))


class Seen(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def pages(report: WeekReport) -> Iterator[Seen]:
    yield Seen(render(report, "html").decode())
    yield Seen(page(report, ["2026-W46", "2026-W45"]).text)


def test_hostile_text_is_shown_and_does_nothing_in_a_page(hostile: WeekReport) -> None:
    for seen in pages(hostile):
        assert {tag for tag, _ in seen.tags} <= TAGS
        for tag, attributes in seen.tags:
            assert not [name for name in attributes if name.startswith("on")], attributes
            if tag == "a":
                assert str(attributes["href"]).startswith(("https://desk.example/", "/reports/", "?format=")), (
                    attributes
                )
        for name in HOSTILE:
            assert name in seen.text, name


def test_a_page_loads_nothing_and_runs_nothing(ordinary: WeekReport) -> None:
    for seen in pages(ordinary):
        assert not [tag for tag, _ in seen.tags if tag in ("script", "img", "iframe", "form", "object", "svg")]
        assert [a["href"] for tag, a in seen.tags if tag == "link"] == ["data:,"]
        assert "url(" not in seen.text
        assert "@import" not in seen.text


def test_a_mailed_page_has_its_styles_on_its_elements_and_keeps_dark_and_print(ordinary: WeekReport) -> None:
    text = render(ordinary, "html").decode()
    assert '<h1 style="' in text
    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media print" in text
    assert "<nav" not in text, "links to other weeks lead nowhere from a file"


def test_a_page_for_a_browser_links_other_weeks_and_formats(ordinary: WeekReport) -> None:
    seen = Seen(page(ordinary, ["2026-W47", "2026-W46", "2026-W45"]).text)
    links = [attributes["href"] for tag, attributes in seen.tags if tag == "a"]
    assert links == ["/reports/2026-W47", "/reports/2026-W45", "?format=json", "?format=csv", "?format=md"]
    assert not [attributes for _, attributes in seen.tags if "style" in attributes], "the policy of the page forbids it"


def test_hostile_text_is_only_text_in_markdown(hostile: WeekReport) -> None:
    lines = render(hostile, "md").decode().splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) > 20
    for line in lines:
        bare = line
        for special in "\\`*_[]<>#|~&@":
            bare = bare.replace(f"\\{special}", "")
        assert "<" not in bare
        assert "](" not in bare
        assert "`" not in bare
    widths = [line.replace("\\|", "").count("|") if line.startswith("|") else 0 for line in lines]
    assert not [pair for pair in pairwise(widths) if pair[0] and pair[1] and pair[0] != pair[1]], "no cell is broken up"
    assert markdown_text("a\nb\r\n\n# c") == "a b \\# c"


def test_no_cell_of_the_csv_is_a_formula(hostile: WeekReport) -> None:
    rows = list(csv.reader(io.StringIO(render(hostile, "csv").decode(), newline="")))
    assert rows[0] == ["week", "part", "subject", "target", "measure", "value", "n"]
    assert {len(row) for row in rows} == {7}
    for row in rows:
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))], row
    subjects = {row[2].removeprefix("'") for row in rows if row[1] == "let_down"}
    assert subjects == set(HOSTILE)


def test_the_json_has_everything_with_its_n_and_its_definition(ordinary: WeekReport) -> None:
    content = json.loads(render(ordinary, "json"))
    assert content["answers"] == {"kept": 26, "late": 15, "unanswered": 4, "closed": 1, "n": 46, "kept_share": 26 / 46}
    assert {one["by"] for one in content["breakdowns"]} == {"policy", "tier", "channel", "queue"}
    assert content["starts_at"] == "2026-11-09T00:00:00Z"
    assert set(content["definitions"]) >= {"kept", "waits", "let_down", "dead_ends", "taken_back", "waiting", "week"}
    assert content["let_down"][0]["waits"][0]["tries"][0]["dead_end"] == "bounced"

    def shares(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            if "kept_share" in node:
                yield node
            for value in node.values():
                yield from shares(value)
        elif isinstance(node, list):
            for value in node:
                yield from shares(value)

    for share in shares(content):
        assert share["n"] == share["kept"] + share["late"] + share["unanswered"] + share["closed"]


def test_every_number_of_the_page_stands_beside_its_definition(ordinary: WeekReport) -> None:
    for text in (Seen(render(ordinary, "html").decode()).text, render(ordinary, "md").decode()):
        for definition in ordinary.definitions.values():
            assert definition.split(".")[0].split("(")[0] in text


def test_the_csv_says_what_the_json_says(ordinary: WeekReport) -> None:
    rows = list(csv.DictReader(io.StringIO(render(ordinary, "csv").decode(), newline="")))
    found = {(row["part"], row["subject"], row["target"], row["measure"]): (row["value"], row["n"]) for row in rows}
    assert found["answers", "", "", "kept"] == ("26", "46")
    assert found["target", "", "first_response", "late"] == ("15", "46")
    assert found["policy", "gold", "first_response", "kept_share"] == ("0.4", "5")
    assert found["let_down", "alba-freight", "", "attempts"] == ("4", "")
    assert found["waiting", "birch-books", "", "open_seconds"] == ("0.0", "")


def test_long_lists_are_cut_in_pages_and_whole_in_data(tmp_path: Path) -> None:
    promised = configuration(PROMISED)
    events = [opened_at("Tue 2026-11-10 10:00", f"T-{n}", customer_id=f"c-{n:03}") for n in range(60)]
    result = replayed(events, promised, until=at_instant("Mon 2026-11-16 00:00"))
    report = weekly(load(folder(result, promised, tmp_path)), Week.parse("2026-W46", time_zone="Europe/London"))
    html = render(report, "html").decode()
    assert html.count('class="customer"') == 20
    assert html.count("and 40 more; all are in the JSON and the CSV") == 2
    assert len(orjson.loads(render(report, "json"))["let_down"]) == 60


def test_a_format_that_there_is_not_is_an_error(ordinary: WeekReport) -> None:
    assert FORMATS == ("html", "md", "json", "csv")
    with pytest.raises(KeyError):
        render(ordinary, "pdf")
