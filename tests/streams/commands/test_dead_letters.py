"""`heardback dead-letters`: what was refused is listed, shown and put back, on both brokers."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from schemas.dead_letters import DeadLetter, to_headers
from schemas.refusals import Reason
from schemas.topics import CONTACT_EVENTS, CUSTOMERS, DEAD_LETTERS
from streams.cli import app
from streams.transport import Record, TransportSettings, open_log, partition_for, topic_specs

PARTITIONS = 3
BROKEN = b'{"specversion": "1.0", "type": "contact.closed", "data": {"customer_id": "c-17", "by": "Ann Private"}}'


@dataclass(frozen=True)
class Desk:
    """A broker with topics of this test's own."""

    url: str
    prefix: str

    def run(self, *arguments: object) -> Result:
        environment = {"HEARDBACK_BROKER": self.url, "HEARDBACK_BROKER__TOPIC_PREFIX": self.prefix}
        return CliRunner().invoke(app, ["dead-letters", *map(str, arguments)], env=environment)

    def lines(self, *arguments: object) -> list[str]:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    def refuse(self, *letters: DeadLetter, junk: bool = False) -> None:
        records = [Record(key=one.origin.encode(), value=one.value, headers=to_headers(one)) for one in letters]
        records += [Record(key=b"k", value=b"v")] if junk else []
        asyncio.run(self._append(records))

    async def _append(self, records: list[Record]) -> None:
        settings = TransportSettings(partitions=PARTITIONS, topic_prefix=self.prefix)
        log = open_log(self.url, settings)
        await log.start()
        await log.ensure_topics(topic_specs([CONTACT_EVENTS, CUSTOMERS, DEAD_LETTERS], settings))
        if records:
            await log.append(self.prefix + DEAD_LETTERS.name, {0: records})
        await log.close()

    def records(self, topic: str) -> list[tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]:
        return asyncio.run(self._records(self.prefix + topic))

    async def _records(self, topic: str) -> list[tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]:
        log = open_log(self.url)
        await log.start()
        found = [
            (batch.partition, key, value, tuple(headers))
            async for batch in log.scan(topic)
            for key, value, headers in zip(batch.keys, batch.values, batch.headers, strict=True)
        ]
        await log.close()
        return found


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    if request.param == "kafka":
        return Desk(str(request.getfixturevalue("kafka").url), f"t{uuid.uuid4().hex[:8]}-")
    return Desk(f"sqlite:///{tmp_path}/log.sqlite3", "pre-")


@pytest.fixture
def embedded(tmp_path: Path) -> Desk:
    return Desk(f"sqlite:///{tmp_path}/log.sqlite3", "")


def letter(number: int = 1, **changed: object) -> DeadLetter:
    content = {
        "key": b"c-17",
        "value": BROKEN,
        "headers": (("content-type", b"application/json"), ("ce_subject", b"Ann")),
        "reason": Reason.UNKNOWN_VALUE,
        "detail": "data.by: found 'Ann Private' of ann@private.example, wanted agent",
        "field": "data.by",
        "origin": f"contact-events/2/{number}",
        "refused_at": f"2026-11-21T10:00:{number:02}Z",
    }
    return DeadLetter(**{**content, **changed})  # type: ignore[arg-type]


def test_letters_are_listed_newest_last_with_reason_origin_and_instant(desk: Desk) -> None:
    desk.refuse(letter(1), letter(2, reason=Reason.BROKEN_JSON, key=None))
    first, second = desk.lines("list")
    assert first.split()[:4] == ["0", "2026-11-21T10:00:01Z", "unknown_value", "contact-events/2/1"]
    assert second.split()[:4] == ["1", "2026-11-21T10:00:02Z", "broken_json", "contact-events/2/2"]


def test_put_back_a_letter_is_again_what_it_was_where_its_customer_lives(desk: Desk) -> None:
    desk.refuse(letter(1), letter(2, key=None), letter(3, origin="/v1/events", value=None, key=b"c-1", headers=()))
    home = partition_for(b"c-17", PARTITIONS)
    said = desk.lines("replay", "--all")
    assert said[0] == f"0 -> {desk.prefix}contact-events/{home}"
    assert said[-1] == "3 put back, 0 put back before, 0 failed"
    assert sorted(desk.records("contact-events"), key=repr) == sorted(
        [
            (home, b"c-17", BROKEN, letter().headers),
            (home, None, BROKEN, letter().headers),
            (partition_for(b"c-1", PARTITIONS), b"c-1", None, ()),
        ],
        key=repr,
    )


def test_a_second_replay_says_so_and_repeats_nothing_unless_told(desk: Desk) -> None:
    desk.refuse(letter(1), letter(2))
    assert desk.lines("replay", 0)[-1] == "1 put back, 0 put back before, 0 failed"
    again = desk.lines("replay", 0)
    assert again[0].startswith("0: was put back already, at 20")
    assert again[-1] == "0 put back, 1 put back before, 0 failed"
    assert desk.lines("replay", "--all")[-1] == "1 put back, 1 put back before, 0 failed"
    assert desk.lines("replay", 0, "--again")[-1] == "1 put back, 0 put back before, 0 failed"
    assert len(desk.records("contact-events")) == 3
    assert ["(put back at" in line for line in desk.lines("list")] == [True, True]


def test_a_dry_run_says_where_letters_would_go_and_writes_nothing(desk: Desk) -> None:
    desk.refuse(letter(1), letter(2, reason=Reason.BROKEN_JSON))
    before = desk.records("dead-letters")
    said = desk.lines("replay", "--reason", "broken_json", "--dry-run")
    assert said == [
        f"1 -> {desk.prefix}contact-events/{partition_for(b'c-17', PARTITIONS)}",
        "1 would be put back, 0 put back before, 0 failed",
    ]
    assert desk.records("contact-events") == []
    assert desk.records("dead-letters") == before


def test_only_letters_of_the_reason_asked_for_are_put_back(desk: Desk) -> None:
    desk.refuse(letter(1), letter(2, reason=Reason.BROKEN_JSON, value=b"{"))
    desk.lines("replay", "--reason", "broken_json")
    assert [value for _, _, value, _ in desk.records("contact-events")] == [b"{"]


@pytest.mark.parametrize("with_prefix", [False, True])
def test_a_letter_goes_back_to_the_topic_it_came_from(desk: Desk, with_prefix: bool) -> None:
    desk.refuse(letter(origin=f"{desk.prefix if with_prefix else ''}customers/0/7"))
    desk.lines("replay", 0)
    assert [value for _, _, value, _ in desk.records("customers")] == [BROKEN]
    assert desk.records("contact-events") == []


def test_filters_narrow_the_list_and_a_limit_takes_the_newest(embedded: Desk) -> None:
    embedded.refuse(*(letter(n) for n in range(5)), letter(5, reason=Reason.TOO_LATE))
    assert [line.split()[0] for line in embedded.lines("list", "--reason", "unknown_value")] == list("01234")
    assert [line.split()[0] for line in embedded.lines("list", "--since", "2026-11-21T11:00:04+01:00")] == ["4", "5"]
    newest = embedded.run("list", "--limit", 2)
    assert [line.split()[0] for line in newest.stdout.splitlines()] == ["4", "5"]
    assert newest.stderr == "… and 4 earlier; --limit 0 shows all\n"
    assert len(embedded.lines("list", "--limit", 0)) == 6


def test_as_json_each_letter_is_an_object(embedded: Desk) -> None:
    embedded.refuse(letter(1))
    [line] = embedded.lines("list", "--json")
    assert json.loads(line) == {
        "offset": 0, "refused_at": "2026-11-21T10:00:01Z", "reason": "unknown_value", "origin": "contact-events/2/1",
        "field": "data.by", "detail": "data.by: found *** of *** wanted agent", "replayed_at": None,
    }  # fmt: skip


@pytest.mark.parametrize("command", [("list",), ("list", "--json"), ("show", 0), ("replay", 0)])
def test_nothing_personal_is_shown_unless_asked_for(embedded: Desk, command: tuple[object, ...]) -> None:
    embedded.refuse(letter(1))
    shown = embedded.run(*command).output
    assert "Ann" not in shown
    assert "private.example" not in shown
    if command[0] != "replay":
        assert "Ann Private" in embedded.run(*command, "--reveal").output


def test_one_letter_is_shown_with_its_headers_and_on_request_its_value(embedded: Desk) -> None:
    embedded.refuse(letter(1), letter(2, value="Grüße".encode("latin-1")))
    shown = embedded.lines("show", 0)
    assert "reason: unknown_value" in shown
    assert "header ce_subject: *** (3 bytes; --reveal shows them)" in shown
    assert f"value: *** ({len(BROKEN)} bytes; --reveal shows them)" in shown
    assert f"value: {BROKEN.decode()}" in embedded.lines("show", 0, "--reveal")
    assert "value: Gr\\xfc\\xdfe" in embedded.lines("show", 1, "--reveal")


def test_a_record_that_is_no_letter_is_named_and_hides_no_other(embedded: Desk) -> None:
    embedded.refuse(letter(1), junk=True)
    embedded.refuse(letter(2))
    listed = embedded.run("list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["0", "2"]
    assert listed.stderr.startswith("1: is no dead letter: found headers []")
    assert embedded.lines("replay", "--all")[-1] == "2 put back, 0 put back before, 0 failed"


def test_letters_are_listed_beside_the_process_that_serves_them_and_replay_says_what_to_do(
    embedded: Desk, tmp_path: Path
) -> None:
    import subprocess
    import sys

    embedded.refuse(letter(1))
    serve = (
        "import asyncio, sys\nfrom streams.transport import open_log\n"
        "async def main():\n"
        "    log = open_log(sys.argv[1]); await log.start(); print('up', flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", serve, embedded.url], stdout=subprocess.PIPE) as serving:
        assert serving.stdout is not None
        assert serving.stdout.readline() == b"up\n"
        assert len(embedded.lines("list")) == 1
        refused = embedded.run("replay", 0)
        serving.kill()
    assert refused.exit_code == 1
    assert str(serving.pid) in refused.stderr
    assert "stop that process for the moment of putting back, or run heardback on kafka://" in refused.stderr
    assert embedded.lines("replay", 0)[-1] == "1 put back, 0 put back before, 0 failed"


@pytest.mark.parametrize(
    "arguments", [("replay",), ("replay", 0, "--all"), ("replay", "--all", "--reason", "too_late")]
)
def test_what_to_put_back_is_said_in_one_way(embedded: Desk, arguments: tuple[object, ...]) -> None:
    result = embedded.run(*arguments)
    assert result.exit_code == 2
    assert "found none or several of OFFSET, --all and --reason, wanted one" in result.stderr


def test_an_offset_without_a_letter_is_refused_with_those_there_are(embedded: Desk) -> None:
    embedded.refuse(letter(1))
    embedded.lines("replay", 0)
    for offset in (1, 9):
        for command in ("show", "replay"):
            result = embedded.run(command, offset)
            assert result.exit_code == 2
            assert f"found no dead letter at offset {offset}, wanted one that list names (from 0 to" in result.stderr


def test_where_heardback_never_ran_nothing_is_made(tmp_path: Path) -> None:
    for command in (("list",), ("replay", "--all")):
        result = CliRunner().invoke(app, ["dead-letters", *command, "--data", str(tmp_path / "none")])
        assert result.exit_code == 2
        assert f"found no log at {tmp_path}/none/log.sqlite3" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_another_prefix_is_told_with_the_topics_that_there_are(embedded: Desk) -> None:
    embedded.refuse()
    result = Desk(embedded.url, "prod-").run("list")
    assert result.exit_code == 2
    assert "found no topic prod-dead-letters, has heardback run here? There are: contact-events" in result.stderr


def test_a_wrong_configuration_or_instant_or_broker_is_said(embedded: Desk, tmp_path: Path) -> None:
    embedded.refuse()
    (tmp_path / "h.yaml").write_text("broker: {topic_prefix: 7}\n", encoding="utf-8")
    assert embedded.run("list", "--config", tmp_path / "h.yaml").exit_code == 2
    assert "wanted an instant with a zone" in embedded.run("list", "--since", "yesterday").stderr
    assert "wanted a broker as sqlite:///PATH" in Desk("amqp://x", "").run("list").stderr
