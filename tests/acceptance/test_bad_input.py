"""Bad input on a running system: each has one reason, nothing of it is lost, and nothing else is held up
(DESIGN.md section 5)."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from schemas.refusals import Reason
from tests.acceptance import bad
from tests.acceptance.heardback import CONFIGURATION, Heardback, Seen, append, command, event, eventually
from tests.servers.kafka import Kafka


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)], scope="module")
def diverted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Heardback, list[bad.Bad]]]:
    """A heardback that has read everything bad and everything good, and runs on."""
    folder = tmp_path_factory.mktemp(f"bad-{request.param}")
    everything, prefix = bad.everything(), ""
    if request.param == "kafka":
        kafka: Kafka = request.getfixturevalue("kafka")
        prefix = f"{folder.name}-"
        configuration = bad.CONFIGURATION.replace("partitions: 2", f"partitions: 2, topic_prefix: {prefix}")
        heardback = Heardback(folder, broker=kafka.url, configuration=configuration)
    else:
        heardback = Heardback(folder, configuration=bad.CONFIGURATION)
    heardback.prefix = prefix
    append(heardback.broker, "contact-events", [one.record for one in everything], prefix=prefix)
    with heardback:
        wanted = sum(one.reason is not None for one in everything)
        eventually(lambda: len(heardback.records("dead-letters")) >= wanted, what=f"{wanted} dead letters")
        eventually(lambda: "last" in _told_of(heardback), what="what came last")
        yield heardback, everything


def _told_of(heardback: Heardback) -> set[str]:
    return {record.json["contact_id"] for record in heardback.records("outcomes")}


def _letters(heardback: Heardback) -> dict[str, Seen]:
    """Dead letters by the place of the original."""
    return {(letter.header("origin") or b"").decode(): letter for letter in heardback.records("dead-letters")}


def test_each_bad_record_is_a_dead_letter_with_its_one_reason_its_place_and_its_bytes(
    diverted: tuple[Heardback, list[bad.Bad]],
) -> None:
    heardback, everything = diverted
    letters = heardback.records("dead-letters")
    wanted = Counter((str(one.reason).encode(), one.value) for one in everything if one.reason is not None)
    assert Counter((letter.header("reason"), letter.value) for letter in letters) == wanted
    origins = _letters(heardback)
    for offset, one in enumerate(everything):
        letter = origins.get(f"{heardback.prefix}contact-events/0/{offset}")
        if one.reason is None or letter is None:
            continue  # what lives in another partition was sent on before it was refused
        assert (letter.header("reason"), letter.value) == (one.reason.encode(), one.value), one.name
        assert letter.header("key") == one.key, one.name
        assert letter.header("detail"), one.name
        assert all((f"original.{name}", content) in letter.headers for name, content in one.headers), one.name


def test_the_good_between_them_goes_through(diverted: tuple[Heardback, list[bad.Bad]]) -> None:
    heardback, _ = diverted
    eventually(lambda: _told_of(heardback) >= bad.WITH_OUTCOMES, what="an outcome of each good contact")
    eventually(lambda: heardback.get("/contacts/uncovered")[0] == 200, what="a contact without an outcome")
    assert not _told_of(heardback) & {"bad", "nobody", "never", "uncovered"}
    assert heardback.get("/livez")[0] == 200


def test_metrics_count_what_was_refused_by_reason_and_what_nobody_promised(
    diverted: tuple[Heardback, list[bad.Bad]],
) -> None:
    heardback, everything = diverted
    page = heardback.metrics()
    for reason, count in Counter(one.reason for one in everything if one.reason).items():
        assert f'responsiveness_refused_total{{reason="{reason}"}} {count}.0' in page
    assert 'responsiveness_uncovered_total{channel="ticket",tier="none"} 1.0' in page


def test_dead_letters_are_listed_shown_and_put_back_with_masks_on_what_is_personal(
    diverted: tuple[Heardback, list[bad.Bad]],
) -> None:
    heardback, everything = diverted
    where = ("--broker", heardback.broker, "--config", heardback.configuration)
    listed = command("dead-letters", "list", "--json", "--limit", 0, *where)
    assert listed.returncode == 0, listed.stderr
    lines = [json.loads(line) for line in listed.stdout.splitlines()]
    assert Counter(line["reason"] for line in lines) == Counter(str(one.reason) for one in everything if one.reason)
    [words] = [letter for letter in heardback.records("dead-letters") if letter.value == b"customer's own words"]
    shown = command("dead-letters", "show", words.offset, *where)
    assert (shown.returncode, "own words" in shown.stdout) == (0, False)
    assert "customer's own words" in command("dead-letters", "show", words.offset, "--reveal", *where).stdout
    if heardback.broker.startswith("sqlite:"):
        busy = command("dead-letters", "replay", words.offset, *where)
        assert busy.returncode == 1
        assert f"in use by process {heardback.pid}" in busy.stderr
        assert heardback.told_to_end() == 0
    before = len(heardback.records("dead-letters"))
    put_back = command("dead-letters", "replay", "--reason", "naive_instant", *where)
    assert (put_back.returncode, "1 put back" in put_back.stdout) == (0, True), put_back.stderr
    if not heardback.alive:
        heardback.start()
    # The note that it was put back, and the same letter again: it is still wrong.
    eventually(lambda: len(heardback.records("dead-letters")) == before + 2, what="refused again")


def test_a_record_beyond_what_we_write_is_a_dead_letter_all_the_same(kafka: Kafka, tmp_path: Path) -> None:
    huge = orjson.dumps(event("contact.opened", "huge", url="x" * 3_900_000))
    [good] = bad._taken("good")
    prefix = f"{tmp_path.name}-"
    append(kafka.url, "contact-events", [good.record], prefix=prefix)
    asyncio.run(_produce(kafka, f"{prefix}contact-events", huge))
    append(kafka.url, "contact-events", [bad._taken("after")[0].record], prefix=prefix)
    configuration = bad.CONFIGURATION.replace("partitions: 2", f"partitions: 2, topic_prefix: {prefix}")
    with Heardback(tmp_path, broker=kafka.url, configuration=configuration) as heardback:
        heardback.prefix = prefix
        [letter] = eventually(lambda: heardback.records("dead-letters"), what="a dead letter")
        assert letter.header("reason") == b"record_too_large"
        assert letter.value == huge
        eventually(lambda: _told_of(heardback) == {"good", "after"}, what="the good events")


async def _produce(kafka: Kafka, topic: str, value: bytes) -> None:
    """As a program that is not ours."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=20_000_000) as producer:
        await producer.send_and_wait(topic, value, key=b"c-1", partition=0)


def test_many_refusals_in_a_row_stop_it_and_nothing_is_lost(tmp_path: Path) -> None:
    few = CONFIGURATION + "limits: {refusals_in_a_row: 20}\n"
    heardback = Heardback(tmp_path, configuration=few)
    refused = [bad.Bad(name="x", value=b"marked words %d" % n, reason=Reason.BROKEN_JSON) for n in range(30)]
    unknown = orjson.dumps(event("marked.type", "marked"))
    refused += [bad.Bad(name="x", value=unknown, reason=Reason.UNKNOWN_TYPE)]
    good = [bad._taken("before")[0], *refused, bad._taken("behind")[0]]
    append(heardback.broker, "contact-events", [one.record for one in good])
    heardback.begin()
    assert heardback.ended() == 1
    said = heardback.said()
    assert said.splitlines()[-1].startswith("heardback: 21 records in a row were refused, the last as broken_json")
    assert "contact-events/0/21" in said.splitlines()[-1]
    assert "marked" not in said
    assert heardback.records("dead-letters") == []
    heardback.configuration.write_text(few.replace("in_a_row: 20", "in_a_row: 1000"))
    with heardback:
        eventually(lambda: len(heardback.records("dead-letters")) == 31, what="all dead letters")
        eventually(lambda: _told_of(heardback) == {"before", "behind"}, what="the good events")


def test_over_http_bad_events_are_answered_with_every_fault_and_none_is_taken(tmp_path: Path) -> None:
    with Heardback(tmp_path) as heardback:
        broken = [event(channel="fax"), event("contact.exploded"), event(), {"id": 17}]
        status, answer = heardback.post(broken)
        assert status == 422
        assert {(fault["index"], fault["reason"]) for fault in answer["faults"]} >= {
            (0, "unknown_value"),
            (1, "unknown_type"),
        }
        assert 2 not in {fault["index"] for fault in answer["faults"]}
        for body, wanted in (
            (b"{", 400),
            (b"", 400),
            (b"\xff\xfe", 400),
            (orjson.dumps(event(summary="x" * 10_000_000)), 413),
            (b"[" * 100_000, 400),
        ):
            assert heardback.post(body)[0] == wanted, body[:10]
        assert heardback.post(event(), content_type="text/plain")[0] == 415
        assert heardback.post(event("contact.opened", "good"))[0] == 202
        eventually(lambda: _told_of(heardback) == {"good"}, what="the good event")


def test_in_files_each_bad_line_is_said_with_its_place_and_the_good_ones_count(tmp_path: Path) -> None:
    config = tmp_path / "heardback.yaml"
    config.write_text(CONFIGURATION)
    at = "2026-11-10T10:00:00Z"
    good = [orjson.dumps(event("contact.opened", f"T-{n}", customer_id=f"c-{n}", at=at)) for n in range(3)]
    lines = [
        b"\xef\xbb\xbf" + good[0],
        b"{broken",
        orjson.dumps(event("contact.opened", "naive", at="2026-11-10T10:00:00")),
        orjson.dumps(event("contact.opened", "text", at=at, summary="x" * 10_000_000)),
        b"\xff\xfe",
        orjson.dumps(event("deadline.reached", "T-0", at=at, customer_id=None)),
        good[1],
        good[1],
        b"",
        good[2],
    ]
    plain = tmp_path / "plain.jsonl"
    plain.write_bytes(b"\r\n".join(lines))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b"\n".join(lines[6:]) + b"\n" + bytes(range(256)) * 500)[:-40])
    wide = tmp_path / "utf-16.jsonl"
    wide.write_text(good[0].decode(), encoding="utf-16")
    done = command("replay", plain, cut, wide, "--config", config, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["contacts"], summary["policies"]["all"]["first_response"]["open"]) == (3, 3)
    said = [line.split(": ")[:2] for line in done.stderr.splitlines()]
    for number, reason in (
        (2, "broken_json"),
        (3, "naive_instant"),
        (4, "record_too_large"),
        (5, "broken_encoding"),
        (6, "reserved_type"),
    ):
        assert [f"{plain}:{number}", reason] in said
    assert "broken_gzip" in summary["refused"]
    assert any(place.startswith(str(cut)) and reason == "broken_gzip" for place, reason in said)
    assert any(place.startswith(str(wide)) and reason == "broken_encoding" for place, reason in said)
    written = [json.loads(line) for line in (tmp_path / "out" / "dead_letters.jsonl").read_text().splitlines()]
    assert {letter["reason"] for letter in written} == set(summary["refused"])


def test_a_calendar_that_never_opens_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "heardback.yaml"
    config.write_text(CONFIGURATION.replace("always: {always_open: true}", "always: {time_zone: UTC, hours: {}}"))
    done = command("check", "--config", config)
    assert done.returncode == 2
    assert f"{config}:2: calendars.always" in done.stderr
