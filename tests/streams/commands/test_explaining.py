"""`heardback explain` on what `heardback replay --out` left: the two stories of the design with their figures, what is
said of unknown contacts and damaged folders, and that the folder alone is enough."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from schemas.configuration import Configuration
from streams.cli import app
from streams.commands import archive, explaining
from streams.engine.policy import compile_policies
from streams.engine.timeline import Contact
from streams.settings import policies_of
from tests.oracle import compare

Event = dict[str, Any]

CONFIG = """\
calendars:
  london: {time_zone: Europe/London, hours: {mon-fri: ["09:00-17:30"]}}
policies:
  - name: gold
    match: {tier: [gold]}
    calendar: london
    targets: {acknowledgement: 15m, first_response: 8h, resolution: 2wd}
    at_risk: [50%]
    dead_end_after: 30m
"""
CUSTOMERS = (
    '{"customer_id": "c-17", "tier": "gold", "identities": ["mailto:ops@example.com", "handle:linkedin/example"]}\n'
)

FOUR_DOORS = [
    (
        "2026-11-10T10:02:00Z",
        "mail:1",
        "message.bounced",
        {"direction": "inbound", "sender": "ops@example.com", "status": "5.1.1"},
    ),
    ("2026-11-10T10:31:00Z", "form:1", "contact.opened", {"channel": "form", "sender": "ops@example.com"}),
    ("2026-11-11T09:15:00Z", "T-4711", "contact.opened", {"channel": "ticket", "customer_id": "c-17"}),
    ("2026-11-13T16:40:00Z", "dm:1", "contact.opened", {"channel": "social", "sender": "handle:linkedin/example"}),
    ("2026-11-16T11:20:00Z", "dm:1", "message.sent", {"agent_id": "sales-manager"}),
]
LONG_WEEKEND = [
    ("2026-11-14T11:00:00Z", "T-1", "contact.opened", {"channel": "ticket", "customer_id": "c-17", "summary": "hangs"}),
    ("2026-11-19T09:20:00Z", "T-1", "message.sent", {"agent_id": "a-3"}),
    ("2026-11-19T09:20:00Z", "T-1", "contact.resolved", {"by": "agent", "agent_id": "a-3"}),
]


def event(number: int, time: str, contact: str, kind: str, data: dict[str, Any]) -> Event:
    envelope = {"specversion": "1.0", "id": f"e-{number}", "source": "/story", "type": kind}
    return {**envelope, "time": time, "subject": contact, "data": data}


STORIES = [event(number, *line) for number, line in enumerate([*FOUR_DOORS, *LONG_WEEKEND])]


def heardback(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def replayed(tmp_path: Path) -> Path:
    """The `--out` folder of a replay of both stories; the configuration is gone by then."""
    return replay_of(STORIES, tmp_path)


def replay_of(events: list[Event], folder: Path) -> Path:
    config, customers, lines = folder / "heardback.yaml", folder / "customers.jsonl", folder / "events.jsonl"
    config.write_text(CONFIG)
    customers.write_text(CUSTOMERS)
    lines.write_text("".join(json.dumps(event) + "\n" for event in events))
    out = folder / "out"
    done = heardback("replay", lines, "--config", config, "--customers", customers, "--out", out)
    assert done.exit_code == 0, done.output
    config.unlink()
    return out


def explained(contact: str, out: Path, *more: object) -> dict[str, Any]:
    done = heardback("explain", contact, "--from", out, "--json", *more)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


# -- the two stories -----------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["mail:1", "form:1", "T-4711", "dm:1"])
def test_four_doors_each_shows_the_whole_journey_with_its_dead_ends(replayed: Path, door: str) -> None:
    (journey,) = explained(door, replayed, "--at", "2026-11-16T11:20:00Z")["journeys"]
    assert [(a["contact_id"], a["at"], a["dead_end"], a["dead_end_at"]) for a in journey["attempts"]] == [
        ("mail:1", "2026-11-10T10:02:00Z", "bounced", "2026-11-10T10:02:00Z"),
        ("form:1", "2026-11-10T10:31:00Z", "no_ticket", "2026-11-10T11:01:00Z"),
        ("T-4711", "2026-11-11T09:15:00Z", None, None),
        ("dm:1", "2026-11-13T16:40:00Z", None, None),
        ("T-1", "2026-11-14T11:00:00Z", None, None),
    ]
    assert (journey["ended_at"], journey["answered_by"]) == ("2026-11-16T11:20:00Z", "sales-manager")
    assert journey["open_seconds"] == (7 * 60 + 28 + 3 * 510 + 140) * 60  # Tue from 10:02, Wed to Fri, Mon to 11:20
    assert journey["wall_seconds"] == 6 * 86_400 + (60 + 18) * 60


def test_four_doors_says_why_the_bounced_mail_has_no_clock(replayed: Path) -> None:
    found = explained("mail:1", replayed)
    assert found["clocks"] == []
    assert {(one["cause"], one["rule"]) for one in found["absent"]} == {("inbound_bounce", "C14")}


def test_four_doors_on_the_evening_of_the_first_day_both_dead_ends_are_known(replayed: Path) -> None:
    (journey,) = explained("form:1", replayed, "--at", "2026-11-10T18:00:00Z")["journeys"]
    assert (journey["state"], [a["dead_end"] for a in journey["attempts"]]) == ("waiting", ["bounced", "no_ticket"])
    (early,) = explained("form:1", replayed, "--at", "2026-11-10T10:45:00Z")["journeys"]
    assert [a["dead_end"] for a in early["attempts"]] == ["bounced", None]


def test_long_weekend_every_stretch_is_shown_and_the_weekend_is_not_counted(replayed: Path) -> None:
    clock = next(one for one in explained("T-1", replayed)["clocks"] if one["target"] == "first_response")
    assert [(s["from"], s["to"], s["length_seconds"], s["counted"], s["cause"]) for s in clock["stretches"]] == [
        ("2026-11-14T11:00:00Z", "2026-11-16T09:00:00Z", 46 * 3600.0, False, "outside_hours"),
        ("2026-11-16T09:00:00Z", "2026-11-16T17:30:00Z", 30_600.0, True, "open"),
        ("2026-11-16T17:30:00Z", "2026-11-17T09:00:00Z", 55_800.0, False, "outside_hours"),
        ("2026-11-17T09:00:00Z", "2026-11-17T17:30:00Z", 30_600.0, True, "open"),
        ("2026-11-17T17:30:00Z", "2026-11-18T09:00:00Z", 55_800.0, False, "outside_hours"),
        ("2026-11-18T09:00:00Z", "2026-11-18T17:30:00Z", 30_600.0, True, "open"),
        ("2026-11-18T17:30:00Z", "2026-11-19T09:00:00Z", 55_800.0, False, "outside_hours"),
        ("2026-11-19T09:00:00Z", "2026-11-19T09:20:00Z", 1_200.0, True, "open"),
    ]
    assert (clock["verdict"], clock["reason"], clock["promised"]) == ("broken", "answered_late", "8h")
    assert (clock["open_seconds"], clock["wall_seconds"]) == (93_000.0, 426_000.0)
    assert [(m["at"], m["kind"]) for m in clock["marks"]] == [
        ("2026-11-14T11:00:00Z", "started"),
        ("2026-11-16T13:00:00Z", "at_risk"),
        ("2026-11-16T17:00:00Z", "due"),
        ("2026-11-19T09:20:00Z", "ended"),
    ]


def test_long_weekend_reads_well_on_a_terminal(replayed: Path) -> None:
    text = heardback("explain", "T-1", "--from", replayed).stdout
    assert "first_response 1: broken, answered_late" in text
    assert "Sat 2026-11-14 11:00 (11:00Z) - Mon 2026-11-16 09:00 (09:00Z)       46h  closed, outside hours" in text
    assert "ends: answered by a-3, 17h50m of open time late (C4)" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "hangs" not in text
    assert "hangs" in heardback("explain", "T-1", "--from", replayed, "--summary").stdout


# -- what is asked for ---------------------------------------------------------------------------------


def test_at_an_instant_nothing_later_is_known(replayed: Path) -> None:
    then = explained("T-1", replayed, "--at", "2026-11-16T12:00:00+00:00")
    clock = next(one for one in then["clocks"] if one["target"] == "first_response")
    assert (clock["verdict"], clock["stage"], clock["ended_at"], clock["open_seconds"]) == (
        "open",
        "running",
        None,
        10_800,
    )


def test_another_configuration_may_judge_instead(replayed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.replace("8h", "32h"))
    clocks = explained("T-1", replayed, "--config", other)["clocks"]
    assert next(one["verdict"] for one in clocks if one["target"] == "first_response") == "kept"


def test_an_unknown_contact_is_wrong_input_and_near_matches_are_named(replayed: Path) -> None:
    done = heardback("explain", "4711", "--from", replayed)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "did you mean T-4711?" in done.stderr
    assert "did you mean T-4711" in heardback("explain", "T-4771", "--from", replayed).stderr
    assert "did you mean mail:1, dm:1?" in heardback("explain", "mial:1", "--from", replayed).stderr
    assert "found no contact 'zzzz' among 5" in heardback("explain", "zzzz", "--from", replayed).stderr


def test_a_near_match_is_found_behind_the_instance_that_an_adapter_put_before_the_id() -> None:
    known = archive.Archive(
        contacts={name: Contact(name, "c") for name in ("servicenow/acme:INC0000913", "mail:1")},
        policies=compile_policies({}, []),
        tiers={},
        until_us=0,
    )
    with pytest.raises(explaining.CannotExplain, match="did you mean servicenow/acme:INC0000913"):
        explaining.explanation("INC000931", known)


def test_a_folder_of_another_kind_is_read_by_the_loader_that_recognises_it(replayed: Path, tmp_path: Path) -> None:
    assert explaining.load(tmp_path, loaders=[lambda _: None, lambda _: archive.load(replayed)]).until_us > 0
    with pytest.raises(explaining.CannotExplain, match="here: no log"):
        explaining.load(tmp_path, loaders=[lambda _: archive.Damaged("here", "no log")])


def test_a_contact_that_was_unknown_at_that_instant_says_since_when_it_is_known(replayed: Path) -> None:
    done = heardback("explain", "T-1", "--from", replayed, "--at", "2026-11-14T10:00:00Z")
    assert done.exit_code == 2
    assert "first heard of at 2026-11-14T11:00:00Z" in done.stderr


def test_an_instant_without_a_zone_is_wrong_input(replayed: Path) -> None:
    assert heardback("explain", "T-1", "--from", replayed, "--at", "2026-11-14T10:00:00").exit_code == 2


def test_a_folder_that_holds_nothing_is_wrong_input(tmp_path: Path) -> None:
    done = heardback("explain", "T-1", "--from", tmp_path)
    assert done.exit_code == 2
    assert "nothing to explain from" in done.stderr
    assert "on Kafka a gateway explains, at /contacts/{id}" in done.stderr


@pytest.mark.parametrize("name", [archive.CONTACTS_FILE, archive.POLICIES_FILE])
@pytest.mark.parametrize("damage", ["cut", "emptied", "other"])
def test_a_damaged_folder_is_wrong_input_and_the_file_is_named(replayed: Path, name: str, damage: str) -> None:
    content = (replayed / name).read_bytes()
    other = gzip.compress(b'{"a": 1}\n') if name.endswith(".gz") else b'{"a": 1}'
    (replayed / name).write_bytes({"cut": content[: len(content) // 2], "emptied": b"", "other": other}[damage])
    done = heardback("explain", "T-1", "--from", replayed)
    assert done.exit_code == 2
    assert name in done.stderr


# -- the folder ----------------------------------------------------------------------------------------


def test_a_contact_that_is_known_only_by_a_merge_is_explained(tmp_path: Path) -> None:
    events = [
        event(1, "2026-11-16T10:00:00Z", "T-1", "contact.opened", {"channel": "ticket", "customer_id": "c-17"}),
        event(2, "2026-11-16T10:05:00Z", "T-1", "contact.merged", {"into": "T-2"}),
    ]
    found = explained("T-2", replay_of(events, tmp_path))
    assert [(one["contact_id"], one["counts_as"]) for one in found["events"]] == [("T-1", "customer_message")]


def test_a_contact_named_only_by_a_merge_that_does_not_hold_is_wrong_input(tmp_path: Path) -> None:
    events = [
        event(1, "2026-11-16T10:00:00Z", "T-1", "contact.opened", {"channel": "ticket", "customer_id": "c-17"}),
        event(2, "2026-11-16T10:05:00Z", "T-1", "contact.merged", {"into": "T-2"}),
        event(3, "2026-11-16T10:06:00Z", "T-1", "contact.merged", {"into": "T-3"}),
    ]
    done = heardback("explain", "T-3", "--from", replay_of(events, tmp_path))
    assert done.exit_code == 2
    assert "a merge that does not hold" in done.stderr


def test_the_same_input_in_any_order_leaves_the_same_bytes(tmp_path: Path) -> None:
    shuffled = random.Random(7).sample([*STORIES, *STORIES[:3]], k=len(STORIES) + 3)
    kept = []
    for name, told in (("one", STORIES), ("other", shuffled)):
        (tmp_path / name).mkdir()
        out = replay_of(told, tmp_path / name)
        kept.append([(out / file).read_bytes() for file in (archive.CONTACTS_FILE, archive.POLICIES_FILE)])
    assert kept[0] == kept[1]


@pytest.mark.parametrize("seed", range(1, 9))
def test_what_the_folder_keeps_explains_every_outcome_as_it_was_judged(tmp_path: Path, seed: int) -> None:
    made = compare.case_of(seed)
    done = heardback(*compare.write(made, tmp_path))
    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    known = archive.load(out)
    assert isinstance(known, archive.Archive)
    judged = policies_of(Configuration.model_validate(made.config))
    assert [p.version for p in known.policies.policies] == [p.version for p in judged.policies]
    assert {n: c.version for n, c in known.policies.calendars.items()} == {
        n: c.version for n, c in judged.calendars.items()
    }
    outcomes = [orjson.loads(line) for line in (out / "outcomes.jsonl").read_bytes().splitlines()]
    for contact in sorted({outcome["contact_id"] for outcome in outcomes})[:2]:
        clocks = {one["outcome_id"]: one for one in explained(contact, out)["clocks"]}
        for outcome in (one for one in outcomes if one["contact_id"] == contact):
            assert {**clocks[outcome["outcome_id"]], **outcome, "revision": 1} == {
                **clocks[outcome["outcome_id"]],
                "revision": 1,
            }
