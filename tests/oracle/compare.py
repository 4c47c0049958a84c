"""Holds the engine's replay against the naive reading of the rules, seed by seed.

`python -m tests.oracle.compare --seeds 1..200 [--without merges,links] [--ignore step,agent_id] [--quiet]`
prints each difference, with the smallest set of events that still shows it, and last a line
`N agree, M differ`; exit 1 if any differ. The engine is only run, as the command `replay`.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import runpy
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.oracle.contacts import FEATURES, Case, aimed, case, text
from tests.oracle.reference import judge

Found = dict[str, Any]  # outcomes, journeys, refused: as judged by one side
Runner = Callable[[Path, list[str]], str]  # runs `replay` in a folder with these arguments; gives its messages

INSTANTS = {"started_at", "due_at", "ended_at", "at"}
NOT_REFUSALS = {"events", "contacts", "duplicates", "after_until"}
TOLERANCE = 1e-6


def case_of(seed: int, without: frozenset[str] = frozenset()) -> Case:
    """The case of a seed: events moved onto due instants where the case says so."""
    random = Random(seed)
    made = case(random, without)
    if "aimed" not in made.features:
        return made
    judged = judge(made.events, made.config, made.customers, made.until)["outcomes"]
    instants = [datetime.fromisoformat(one["due_at"]) for one in judged if one["due_at"]]
    return aimed(made, random, instants)


def expected(made: Case) -> Found:
    """What the naive reading says."""
    judged = judge(made.events, made.config, made.customers, made.until)
    refused = {name: count for name, count in judged["counts"].items() if name not in NOT_REFUSALS}
    return {"outcomes": judged["outcomes"], "journeys": judged["journeys"], "refused": refused}


def write(made: Case, folder: Path) -> list[str]:
    """Writes events, configuration and customers; gives the arguments for `replay`."""
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in made.events))
    (folder / "heardback.yaml").write_text(yaml.safe_dump(made.config, sort_keys=False))
    (folder / "customers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in made.customers))
    arguments = ["replay", str(folder / "events.jsonl"), "--config", str(folder / "heardback.yaml")]
    arguments += ["--customers", str(folder / "customers.jsonl"), "--out", str(folder / "out")]
    return arguments + (["--until", text(made.until)] if made.until else [])


def read(folder: Path) -> Found:
    """What a replay left in its `--out`."""
    refused = Counter(one.get("reason", "?") for one in _lines(folder / "out" / "dead_letters.jsonl"))
    return {
        "outcomes": _lines(folder / "out" / "outcomes.jsonl"),
        "journeys": _lines(folder / "out" / "journeys.jsonl"),
        "refused": dict(refused),
    }


def as_process(folder: Path, arguments: list[str]) -> str:
    """Runs `python -m streams` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "streams", *arguments], capture_output=True, text=True, cwd=folder, check=False,
        env=_environment(),
    )  # fmt: skip
    return f"exit {done.returncode}\n{done.stderr}"


def in_process(folder: Path, arguments: list[str]) -> str:
    """Runs the same command in this process, which spares its start."""
    before, messages = sys.argv, io.StringIO()
    sys.argv = ["heardback", *arguments]
    try:
        with contextlib.redirect_stderr(messages), contextlib.redirect_stdout(messages):
            runpy.run_module("streams", run_name="__main__", alter_sys=False)
    except SystemExit as end:
        messages.write(f"exit {end.code}\n")
    finally:
        sys.argv = before
    return messages.getvalue()


def differences(want: Found, got: Found, ignored: frozenset[str] = frozenset()) -> list[str]:
    """One line per differing field; empty where both sides agree."""
    alias = _aliases(want["outcomes"] + want["journeys"], got["outcomes"] + got["journeys"])
    lines = []
    if "outcomes" not in ignored:
        lines += _compare("clock", _by_clock(want["outcomes"]), _by_clock(got["outcomes"]), alias, ignored)
    if "journeys" not in ignored:
        lines += _compare(
            "journey", _by_journey(want["journeys"], {}), _by_journey(got["journeys"], alias), alias, ignored
        )
    if "refused" not in ignored and want["refused"] != got["refused"]:
        lines.append(f"refused: want {want['refused']}, got {got['refused']}")
    return lines


def check(made: Case, run: Runner, ignored: frozenset[str] = frozenset()) -> list[str]:
    """Both sides over one case; a replay that fails is a difference."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        messages = run(folder, write(made, folder))
        if not (folder / "out" / "outcomes.jsonl").exists() and not (folder / "out" / "outcomes.jsonl.gz").exists():
            return [f"no outcomes: {messages[-2000:]}"]
        return differences(expected(made), read(folder), ignored)


def shrunk(made: Case, differs: Callable[[Case], bool]) -> Case:
    """The case with as few events, then policies, as still differ."""
    for name in ("events", "policies", "events"):
        size = max(1, len(_part(made, name)) // 2)
        while size:
            start = 0
            while start < len(_part(made, name)):
                whole = _part(made, name)
                smaller = _with(made, name, whole[:start] + whole[start + size :])
                if _part(smaller, name) and differs(smaller):
                    made = smaller
                else:
                    start += size
            size //= 2
    return made


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.compare", description=__doc__)
    parser.add_argument("--seeds", default="1..50", help="A..B, both included")
    parser.add_argument("--without", default="", help=f"features left out: {', '.join(FEATURES)}")
    parser.add_argument("--ignore", default="", help="fields not compared; also: outcomes, journeys, refused")
    parser.add_argument("--process", action="store_true", help="start a process for each replay")
    parser.add_argument("--no-shrink", action="store_true", help="show the whole case")
    parser.add_argument("--quiet", action="store_true", help="only count cases, and cases by what differs")
    parser.add_argument("--most", type=int, default=5, help="stop after so many cases that differ; 0: never")
    chosen = parser.parse_args(arguments)
    first, _, last = chosen.seeds.partition("..")
    without, ignored = _names(chosen.without), _names(chosen.ignore)
    run: Runner = as_process if chosen.process else in_process
    agree, differ, fields = 0, 0, Counter[str]()
    for seed in range(int(first), int(last or first) + 1):
        made = case_of(seed, without)
        lines = check(made, run, ignored)
        agree, differ = agree + (not lines), differ + bool(lines)
        fields.update({_kind(line) for line in lines})
        if lines and not chosen.quiet:
            _show(seed, made, lines, run, ignored, whole=chosen.no_shrink)
        if differ >= chosen.most > 0:
            break
    print(f"{agree} agree, {differ} differ", dict(fields.most_common()) if fields else "")
    return 1 if differ else 0


def _show(seed: int, made: Case, lines: list[str], run: Runner, ignored: frozenset[str], *, whole: bool) -> None:
    print(f"seed {seed}: {len(lines)} differences, {len(made.events)} events")
    if not whole:
        kind = _kind(lines[0])
        made = shrunk(made, lambda smaller: any(_kind(line) == kind for line in check(smaller, run, ignored)))
        lines = check(made, run, ignored)
    for line in lines:
        print("  " + line)
    for event in sorted(made.events, key=lambda event: (event["time"], event["source"], event["id"])):
        data = json.dumps({name: value for name, value in event["data"].items() if name != "summary"})
        print(f"    {event['time']} {event['subject']:9} {event['type']:20} {event['source']} {event['id']} {data}")
    print("    until", made.until, "policies", json.dumps(made.config["policies"]))
    used = {policy["calendar"] for policy in made.config["policies"]}
    print(
        "    calendars", json.dumps({name: value for name, value in made.config["calendars"].items() if name in used})
    )


def _kind(line: str) -> str:
    """What differs, without where and which values: shrinking must not slip to another difference."""
    what, _, rest = line.partition("): ")
    return f"{what.partition(' ')[0]} {rest.partition(' ')[0]}" if rest else line.partition(":")[0]


def _compare(
    what: str, want: dict[Any, Found], got: dict[Any, Found], alias: dict[str, str], ignored: frozenset[str]
) -> list[str]:
    lines = []
    for key in sorted(set(want) | set(got), key=str):
        if key not in got or key not in want:
            one, side = (want[key], "missing") if key in want else (got[key], "extra")
            lines.append(f"{what} {key}: {side} {json.dumps(one, default=str)}")
            continue
        for name in want[key]:
            left, right = _plain(name, want[key][name], {}), _plain(name, got[key].get(name), alias)
            if name not in ignored and not _same(left, right):
                lines.append(f"{what} {key}: {name} want {left}, got {right}")
    return lines


def _plain(name: str, value: Any, alias: dict[str, str]) -> Any:
    if name in INSTANTS and value is not None:
        return datetime.fromisoformat(value)
    if name == "customer_id":
        return alias.get(value, value)
    if name == "attempts":
        return sorted(
            (datetime.fromisoformat(one["at"]), one["contact_id"], one["channel"], one["dead_end"] or "")
            for one in value
        )
    return value


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, int | float):
        return abs(left - right) <= TOLERANCE
    return bool(left == right)


def _aliases(want: list[Found], got: list[Found]) -> dict[str, str]:
    """Names the engine gives to customers derived from an identity, to ours: the rules leave them open."""
    ours = {one["contact_id"]: one["customer_id"] for one in _with_contacts(want)}
    alias: dict[str, str] = {}
    for one in _with_contacts(got):
        mine = ours.get(one["contact_id"], "")
        if mine.startswith("derived:"):
            alias.setdefault(one["customer_id"], mine)
    return alias


def _with_contacts(records: list[Found]) -> list[Found]:
    found = [one for one in records if "contact_id" in one]
    for journey in records:
        found += [
            {"contact_id": a["contact_id"], "customer_id": journey["customer_id"]} for a in journey.get("attempts", [])
        ]
    return found


def _by_clock(outcomes: list[Found]) -> dict[Any, Found]:
    return {(one["contact_id"], one["target"], one["cycle"]): one for one in outcomes}


def _by_journey(journeys: list[Found], alias: dict[str, str]) -> dict[Any, Found]:
    """By customer, start and place among those that start together: an answered one goes before a waiting one."""
    found: dict[Any, Found] = {}
    for one in sorted(journeys, key=lambda one: (one["ended_at"] is None, one["ended_at"] or "", str(one["attempts"]))):
        customer, start = (
            alias.get(one["customer_id"], one["customer_id"]),
            str(datetime.fromisoformat(one["started_at"])),
        )
        place = sum(key[:2] == (customer, start) for key in found)
        found[customer, start, place] = one
    return found


def _part(made: Case, name: str) -> list[Any]:
    return list(made.events) if name == "events" else list(made.config["policies"])


def _with(made: Case, name: str, part: list[Any]) -> Case:
    events = part if name == "events" else made.events
    config = made.config if name == "events" else made.config | {"policies": part}
    return Case(events, config, made.customers, made.until, made.features)


def _lines(path: Path) -> list[Found]:
    packed = path.with_name(path.name + ".gz")
    if packed.exists():
        return [json.loads(line) for line in gzip.decompress(packed.read_bytes()).splitlines()]
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()] if path.exists() else []


def _names(written: str) -> frozenset[str]:
    return frozenset(name for name in written.split(",") if name)


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


if __name__ == "__main__":
    sys.exit(main())
