"""The gathered cases and our own all pass; what is not known is a failure that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import main
from tests.conformance.cases import run_case, run_file

OWN = Path(__file__).with_name("cases.json")
GATHERED = Path(__file__).parents[3] / "shared" / "conformance" / "business_time.json"
CALENDARS = json.loads(OWN.read_text())["calendars"]


def due(**changes: Any) -> dict[str, Any]:
    start = {"id": "a", "kind": "due", "calendar": "week", "start": "2024-05-01T00:00:00Z", "target_seconds": 60}
    return {**start, "pauses": [], "expected_due": "2024-05-01T00:01:00Z", **changes}


def scenario(expected: dict[str, Any], *, event: str = "customer_message", policy: Any = None) -> dict[str, Any]:
    events = [{"t": "2024-05-01T00:00:00Z", "e": event}]
    wanted = {"policy": policy or {"first_response_seconds": 60}, "events": events, "expected": expected}
    return {"id": "s", "kind": "scenario", "calendar": "week", **wanted}


@pytest.mark.parametrize("case", json.loads(OWN.read_text())["cases"], ids=lambda case: case["id"].replace(" ", "_"))
def test_our_own_reading_of_peers(case: dict[str, Any]) -> None:
    result = run_case(case, CALENDARS)
    assert result.got == result.expected
    assert result.passed


def test_all_gathered_cases_pass(capsys: pytest.CaptureFixture[str]) -> None:
    if not GATHERED.exists():
        pytest.skip("the gathered cases are not beside this repository (../shared)")
    assert main([str(GATHERED)]) == 0
    assert capsys.readouterr().out == "212 passed, 0 failed\n"


def test_a_failing_case_is_named_with_expected_and_got(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [due(), due(id="late", expected_due="2024-05-01T00:02:00Z")]
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"calendars": CALENDARS, "cases": cases}))
    assert main([str(wrong)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == 'late: expected "2024-05-01T00:02:00Z", got "2024-05-01T00:01:00Z"'
    assert last == "1 passed, 1 failed"


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        (due(kind="moon_phase"), "unknown kind 'moon_phase'"),
        (due(expected_mood="good"), "unknown expectation ['expected_mood']"),
        (due(calendar="nowhere"), "unknown calendar 'nowhere'"),
        (due(start="2024-05-01T00:00:00"), "found '2024-05-01T00:00:00', wanted an instant with a zone"),
        ({"id": "a", "kind": "due", "calendar": "week"}, "the case has no 'expected_due'"),
        (due(kind="working_days", working_days=1, day_mode="sideways"), "unknown day mode 'sideways'"),
        (scenario({}, event="customer_sang"), "unknown event 'customer_sang'"),
        (scenario({}, policy={"delight_seconds": 60}), "unknown figure 'delight_seconds'"),
    ],
)
def test_what_is_not_known_fails_by_name(case: dict[str, Any], complaint: str) -> None:
    result = run_case(case, CALENDARS)
    assert not result.passed
    assert complaint in str(result.got)


@pytest.mark.parametrize("key", ["customer_happiness", "next_response_colour", "update_minus_holidays_seconds"])
@pytest.mark.parametrize("value", [None, 1, []])
def test_an_unknown_figure_is_never_passed(key: str, value: object) -> None:
    event_known = scenario({key: value}, policy={"first_response_seconds": 60, "resolution_seconds": 60})
    assert not run_case(event_known, CALENDARS).passed


def test_a_calendar_key_that_is_not_known_fails() -> None:
    odd = {"week": {**CALENDARS["week"], "lunch": ["12:00", "13:00"]}}
    assert "unknown keys ['lunch']" in str(run_case(due(), odd).got)


def test_a_reply_that_calls_itself_automated_or_internal_is_no_answer() -> None:
    for of_itself in ({"automated": True}, {"public": False}):
        case = scenario({"first_response_at": None})
        case["events"].append({"t": "2024-05-01T00:00:30Z", "e": "agent_reply", **of_itself})
        assert run_case(case, CALENDARS).passed


def test_no_cases_are_no_success(tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps({"calendars": {}, "cases": []}))
    assert main([str(empty)]) == 1
    assert run_file({"calendars": {}, "cases": []}) == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "wanted JSON: Expecting value"),
        ("[" * 100_000, "wanted JSON: "),
        ("\x00", "wanted JSON: "),
        ("[]", "found list, wanted an object with calendars and cases"),
        ('{"calendars": {}}', "found cases None, wanted a list"),
        ('{"calendars": [], "cases": []}', "found calendars [], wanted an object"),
        ('{"calendars": {}, "cases": [null]}', "found case 1 None, wanted an object"),
    ],
)
def test_a_file_of_something_else_says_so(
    content: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text(content)
    assert main([str(other)]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"{other}: {complaint}")
    assert told.out == ""
