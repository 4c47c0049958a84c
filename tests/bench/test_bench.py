"""Benchmarks run and say what they ran on; no test asserts a time."""

from __future__ import annotations

import asyncio
import importlib
import json
from pathlib import Path

import pytest

from tests.bench import throughput, workload
from tests.bench.__main__ import PARTS, main
from tests.bench.truth import WrongError


def test_a_figure_is_one_json_object_with_what_it_ran_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "calendar_due_us"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    figure = json.loads(line)
    assert figure["name"] == "calendar_due_us"
    assert {"value", "unit", "baseline", "ratio", "ran_on"} <= figure.keys()
    assert figure["ran_on"]["cores"] >= 1


def test_events_per_cpu_second_count_only_beside_the_outcomes_of_a_replay(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "sqlite_events_per_cpu_second"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    figure = json.loads(line)
    assert "error" not in figure
    assert figure["value"] > 0
    assert figure["records"] > figure["events"], "wake-ups are part of the work"


@pytest.mark.slow
@pytest.mark.chromium
def test_the_board_is_measured_beside_what_the_page_must_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", *PARTS["tests.bench.board"]]) == 0
    figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [figure["name"] for figure in figures] == list(PARTS["tests.bench.board"])
    assert all(figure["value"] > 0 and "error" not in figure for figure in figures)


def test_a_figure_does_not_hold_where_an_event_was_lost(tmp_path: Path) -> None:
    url, told = f"sqlite:///{tmp_path}/log.sqlite3", workload.week(6)
    asyncio.run(throughput.fill(url, told[:-1]))
    assert throughput.measured("sqlite_events_per_cpu_second", url, told[:-1])["value"] is not None
    with pytest.raises(WrongError, match=r"outcomes|journeys"):
        asyncio.run(throughput.checked(url, told))


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["calender_due_us"])
    assert refused.value.code == 2
    assert "known are" in capsys.readouterr().err


@pytest.mark.parametrize("module", PARTS)
def test_every_part_that_is_registered_can_be_run(module: str) -> None:
    assert callable(importlib.import_module(module).run)


def test_each_name_is_measured_by_one_part() -> None:
    names = [name for measured in PARTS.values() for name in measured]
    assert len(names) == len(set(names))
