"""Each command from outside: its exit status, its words, its help (CONTRACT.md section 1)."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.acceptance.heardback import CONFIGURATION, RUN, Heardback, append, command, environment, event
from tests.servers.kafka import Kafka
from tests.servers.process import free_ports

COMMANDS = (
    *("check", "replay", "import", "explain", "schema", "report", "audit", "run", "worker", "demo"),
    *("alerts", "alerts list", "alerts show", "alerts test"),
    *("dead-letters", "dead-letters list", "dead-letters show", "dead-letters replay"),
)
OPENED = event(at="2026-11-10T10:00:00Z", customer_id="c-17")
ANSWERED = event("message.sent", at="2026-11-10T10:30:00Z", customer_id="c-17", agent_id="a-1")


def commands(
    runs: Sequence[Sequence[object]], *, folder: Path | None = None
) -> Iterator[subprocess.CompletedProcess[str]]:
    """Runs several commands, some at a time; what each came to, in their order."""
    with ThreadPoolExecutor(4) as some:
        yield from some.map(lambda arguments: command(*arguments, folder=folder), runs)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration without fault."""
    path = tmp_path / "heardback.yaml"
    path.write_text(CONFIGURATION, encoding="utf-8")
    return path


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Two events of one contact, packed."""
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(json.dumps(item).encode() for item in (OPENED, ANSWERED))))
    return path


def test_every_help_is_complete_and_has_an_example() -> None:
    for name, done in zip(COMMANDS, commands([(*one.split(), "--help") for one in COMMANDS]), strict=True):
        assert (done.returncode, done.stderr) == (0, ""), name
        assert f"heardback {name}" in " ".join(done.stdout.partition("Example: ")[2].split()), name
        options = done.stdout.partition("Options:")[2].partition("Example: ")[0].split("\n  -")[1:]
        assert all(len(option.split()) > 2 for option in options), name


@pytest.mark.parametrize("above", ["", "alerts", "dead-letters"])
def test_help_names_every_command_and_says_in_a_whole_line_what_it_is_for(above: str) -> None:
    done = command(*above.split(), "--help")
    assert done.returncode == 0
    listed = dict(line.strip().split(maxsplit=1) for line in done.stdout.partition("Commands:\n")[2].splitlines()
                  if line.startswith("  ") and "Example" not in line)  # fmt: skip
    own = {name.removeprefix(above).split()[0] for name in COMMANDS if name.startswith(above) and name != above}
    assert own <= listed.keys()
    assert [what for what in listed.values() if not what.endswith(".") or what.endswith("...")] == []


def test_it_says_its_version() -> None:
    assert command("--version").stdout == f"heardback {version('heardback')}\n"


def test_check_says_that_there_is_no_fault(config: Path) -> None:
    done = command("check", "--config", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no fault" in done.stdout


def test_every_fault_of_a_configuration_is_listed_at_once_with_its_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    policies = [f"  - {{name: p{n}, calendar: nowhere, targets: {{first_response: soon}}}}" for n in range(150)]
    wrong.write_text("calendars:\n  never: {time_zone: Mars/Olympus}\npolicies:\n" + "\n".join(policies) + "\n")
    for arguments in (("check",), ("run", "--data", tmp_path / "data")):
        done = command(*arguments, "--config", wrong)
        assert done.returncode == 2
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        assert len(lines) >= 301
        assert all(f"{wrong}:" in line for line in lines), "each with its file"
        assert any(f"{wrong}:4: " in line and "nowhere" in line for line in lines)
        assert any(f"{wrong}:153: " in line and "first_response" in line for line in lines)
    assert not (tmp_path / "data").exists(), "nothing starts"


def test_a_receiver_that_nobody_knows_is_a_fault_before_anything_starts(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    receivers = "  receivers: [{type: pigeon, urls: ['http://127.0.0.1:1']}, {type: webhook}]\n"
    wrong.write_text(CONFIGURATION.replace("alerts:\n", "alerts:\n" + receivers))
    for name in ("check", "run"):
        done = command(name, "--config", wrong, folder=tmp_path)
        assert done.returncode == 2
        assert "pigeon" in done.stderr
        assert "secret" in done.stderr


def test_a_missing_configuration_is_one_clear_line(tmp_path: Path) -> None:
    done = command("check", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "heardback: heardback.yaml: cannot be read: No such file or directory\n"


def test_settings_may_come_from_the_environment_and_are_checked_there(config: Path) -> None:
    assert command("check", "--config", config, settings={"HEARDBACK_LIMITS__LATE_AFTER": "10d"}).returncode == 0
    done = command("check", "--config", config, settings={"HEARDBACK_LIMITS__LATE_AFTER": "sometimes"})
    assert done.returncode == 2
    assert "HEARDBACK_LIMITS__LATE_AFTER" in done.stderr


def test_replay_and_explain_tell_a_contact_from_files(config: Path, events: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command("replay", events, "--config", config, "--out", out)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["policies"]["all"]["first_response"]["kept"] == 1
    [outcome, *_] = [json.loads(line) for line in (out / "outcomes.jsonl").read_text().splitlines()]
    assert (outcome["contact_id"], outcome["verdict"]) == ("T-1", "kept")
    told = command("explain", "T-1", "--from", out)
    assert told.returncode == 0, told.stderr
    assert "first_response" in told.stdout
    unknown = command("explain", "T-2", "--from", out)
    assert unknown.returncode == 2
    assert "did you mean T-1?" in unknown.stderr


def test_explain_looks_where_run_keeps_its_data_unless_it_is_told_where(
    config: Path, events: Path, tmp_path: Path
) -> None:
    out = tmp_path / "heardback-data"
    assert command("replay", events, "--config", config, "--out", out).returncode == 0
    assert "Contact T-1" in command("explain", "T-1", folder=tmp_path).stdout
    assert "Contact T-1" in command("explain", "T-1", folder=out).stdout
    assert "Contact T-1" in command("explain", "T-1", folder=out, settings={"HEARDBACK_DATA": str(tmp_path)}).stdout
    elsewhere = command("explain", "T-1", "--from", ".", folder=tmp_path)
    assert (elsewhere.returncode, elsewhere.stdout) == (2, "")


def test_check_notes_that_nothing_is_promised(tmp_path: Path) -> None:
    empty = tmp_path / "heardback.yaml"
    empty.write_text("")
    done = command("check", folder=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("heardback.yaml: 0 policies on 0 calendars, no fault\n")
    assert "nothing is promised to anybody" in done.stdout


def test_replay_shows_how_far_it_is_on_a_terminal_and_not_in_a_pipe(config: Path, events: Path) -> None:
    arguments = ("replay", events, "--config", config)
    ours, terminal = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as seen:
        done = subprocess.run(
            [*RUN, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=terminal,
            env=environment(TERM="xterm", COLUMNS="200"),
            check=True,
        )
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # what Linux says at the end of a terminal that nobody writes to any more
            while part := seen.read(65_536):
                shown += part
    assert b"judging" in shown
    assert b"100%" in shown
    piped = command(*arguments)
    assert (piped.stdout, piped.stderr) == (done.stdout.decode(), "")


def test_refusals_are_told_in_the_order_of_their_lines(config: Path, tmp_path: Path) -> None:
    broken = tmp_path / "events.jsonl"
    broken.write_text("".join(f"{letter}\n" for letter in "zyxwvutsrqponmlkjihgfedcba"))
    done = command("replay", broken, "--config", config)
    told = [int(line.removeprefix(f"{broken}:").partition(":")[0]) for line in done.stderr.splitlines()]
    assert told == list(range(1, 27))


def test_a_file_that_is_not_there_has_status_2(config: Path, tmp_path: Path) -> None:
    runs = (
        ("replay", "absent.jsonl", "--config", config),
        ("replay", "-", "--config", config, "--customers", "absent.yaml"),
        ("replay", "-", "--config", config, "--until", "yesterday"),
        ("explain", "T-1", "--from", "absent"),
        ("import", "servicenow", "absent.csv"),
        ("import", "fax", "absent.csv"),
        ("dead-letters", "list"),
        ("dead-letters", "replay"),
        ("run", "--config", config, "--customers", "absent.yaml"),
        ("run", "--config", config, "--token-file", "absent"),
    )
    for arguments, done in zip(runs, commands(runs, folder=tmp_path), strict=True):
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("heardback: "), arguments
        assert "Traceback" not in done.stderr, arguments


def test_a_worker_asks_for_those_secrets_alone_that_its_role_uses(tmp_path: Path) -> None:
    config = tmp_path / "heardback.yaml"
    config.write_text(
        f"""\
alerts:
  receivers: [{{type: webhook, urls: ["http://127.0.0.1:1/"], secret_file: {tmp_path}/hook}}]
  pagerduty_webhook: {{secret_file: {tmp_path}/pagerduty}}
facts: {{url_file: {tmp_path}/facts}}
broker: {{start_timeout_seconds: 1}}
"""
    )
    lacks = {"streams": [], "audit": [], "alerting": ["hook"], "facts": ["facts"], "gateway": ["pagerduty"]}
    options = ("--broker", "kafka://127.0.0.1:1", "--config", config, "--port", 0)
    runs = [("worker", role, *options) for role in lacks]
    for (role, names), done in zip(lacks.items(), commands(runs), strict=True):
        assert done.returncode == (2 if names else 1), (role, done.stderr)
        asked = [name for name in ("hook", "pagerduty", "facts") if f"{tmp_path}/{name}" in done.stderr]
        assert asked == names, (role, done.stderr)


def test_what_cannot_be_written_has_status_1(config: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file, not a folder")
    runs = (
        ("replay", "-", "--config", config, "--out", taken),
        ("schema", "--out", taken),
        ("run", "--config", config, "--data", taken),
    )
    for arguments, done in zip(runs, commands(runs), strict=True):
        assert done.returncode == 1, arguments
        assert "File exists" in done.stderr, arguments
        assert "Traceback" not in done.stderr, arguments


def test_an_empty_name_is_not_the_folder_where_one_is(config: Path, tmp_path: Path) -> None:
    where = tmp_path / "empty"
    where.mkdir()
    runs = (
        ("replay", "-", "--config", config, "--out", ""),
        ("report", "--out", ""),
        ("schema", "--out", ""),
        ("run", "--config", config, "--data", ""),
    )
    for arguments, done in zip(runs, commands(runs, folder=where), strict=True):
        assert done.returncode == 2, arguments
        assert "found no name, wanted that of a file or a folder" in " ".join(done.stderr.split()), arguments
    assert list(where.iterdir()) == []


def test_an_output_that_takes_nothing_is_said_in_one_line_by_whatever_writes(config: Path, events: Path) -> None:
    runs = (("schema",), ("check", "--config", config), ("replay", events, "--config", config))
    for arguments in runs:
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [*RUN, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
            )
        assert (done.returncode, done.stderr) == (1, b"heardback: standard output: No space left on device\n"), (
            arguments
        )


def test_standard_input_can_be_named_once(config: Path) -> None:
    for arguments in (("replay", "-", "-"), ("replay", "-", "--customers", "-"), ("import", "servicenow", "-", "-")):
        extra = ("--config", config) if arguments[0] == "replay" else ()
        done = command(*arguments, *extra, given=b"")
        assert (done.returncode, done.stderr) == (2, "heardback: found - more than once, wanted standard input once\n")


def test_ctrl_c_while_modules_are_still_read_ends_without_a_traceback() -> None:
    stop_at_import = (
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'streams.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from streams.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([RUN[0], "-c", stop_at_import], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


def test_import_writes_events_that_replay_reads(config: Path, tmp_path: Path) -> None:
    mail = tmp_path / "one.eml"
    mail.write_bytes(
        b"From: Ada <ada@example.com>\r\nTo: help@desk.example\r\nSubject: stuck\r\nMessage-ID: <1@example.com>\r\n"
        b"Date: Tue, 10 Nov 2026 10:02:00 +0000\r\n\r\nNothing works.\r\n"
    )
    done = command("import", "mail", mail, "--our-domain", "desk.example")
    assert done.returncode == 0, done.stderr
    replayed = command("replay", "-", "--config", config, given=done.stdout.encode())
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["refused"] == {}
    assert json.loads(replayed.stdout)["contacts"] == 1


def test_schema_writes_every_document_and_prints_the_one_of_topics(tmp_path: Path) -> None:
    done = command("schema", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    printed = command("schema")
    assert json.loads(printed.stdout) == json.loads((tmp_path / "asyncapi.json").read_text())


def test_a_worker_is_for_kafka_and_has_a_role_that_is_known(config: Path) -> None:
    embedded = command("worker", "streams", "--broker", "sqlite:///log.sqlite3", "--config", config)
    assert embedded.returncode == 2
    assert "kafka://" in embedded.stderr
    unknown = command("worker", "mailer", "--broker", "kafka://127.0.0.1:9", "--config", config)
    assert unknown.returncode == 2
    assert "streams, alerting, gateway" in unknown.stderr


def test_a_broker_that_nobody_can_mean_has_status_2(config: Path) -> None:
    asking = (("run",), ("audit",), ("alerts", "list"), ("dead-letters", "list"))
    runs = [
        (*one, "--config", config, "--broker", url) for one in asking for url in ("mysql://127.0.0.1/l", "kafka://")
    ]
    for arguments, done in zip(runs, commands(runs), strict=True):
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("heardback: wanted "), arguments


def test_beyond_loopback_a_token_is_needed(config: Path, tmp_path: Path) -> None:
    done = command("run", "--config", config, "--data", tmp_path / "data", "--host", "0.0.0.0", "--port", 0)
    assert done.returncode == 2
    assert "token" in done.stderr
    empty = tmp_path / "token"
    empty.write_text("\n")
    done = command("run", "--config", config, "--data", tmp_path / "data", "--token-file", empty, "--port", 0)
    assert done.returncode == 2
    assert "empty HTTP token" in done.stderr
    assert not (tmp_path / "data").exists() or not any((tmp_path / "data").iterdir())


def test_with_a_token_only_who_has_it_is_answered(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("of-the-tests\n")
    options = ("--host", "0.0.0.0", "--token-file", str(secret))
    with Heardback(tmp_path, options=options) as heardback:
        assert heardback.get("/livez")[0] == 200
        assert heardback.get("/metrics")[0] == 401
        assert heardback.get("/metrics", {"Authorization": "Bearer of-somebody-else"})[0] == 401
        assert heardback.get("/metrics", {"Authorization": "Bearer of-the-tests"})[0] == 200
        assert "of-the-tests" not in heardback.said()


def test_a_taken_port_and_a_folder_in_use_are_said_in_one_sentence(tmp_path: Path) -> None:
    with Heardback(tmp_path / "first") as first, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = ("--config", first.configuration)
        done = command("run", *config, "--data", tmp_path / "other", "--port", port)
        assert done.returncode == 1
        taken_port = f"heardback: 127.0.0.1:{port}: Address already in use; another one by --port"
        assert done.stderr.splitlines()[-1] == taken_port
        done = command("run", *config, "--data", first.data, "--port", 0)
        assert done.returncode == 1
        assert f"in use by process {first.pid}" in done.stderr.splitlines()[-1]
        assert first.get("/readyz")[0] == 200


def test_the_partition_count_is_fixed_at_the_first_start(tmp_path: Path) -> None:
    with Heardback(tmp_path) as heardback:
        pass
    more = CONFIGURATION.replace("partitions: 2", "partitions: 3")
    heardback.configuration.write_text(more)
    done = command("run", "--config", heardback.configuration, "--data", heardback.data, "--port", 0)
    assert done.returncode == 1
    assert "contact-events: wanted 3 partitions, found 2" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_partition_count_of_topics_on_kafka_is_checked_by_every_role(kafka: Kafka, tmp_path: Path) -> None:
    append(kafka.url, "contact-events", [], prefix="fixed-")
    config = tmp_path / "heardback.yaml"
    config.write_text(CONFIGURATION.replace("partitions: 2", "topic_prefix: fixed-, partitions: 3"))
    for role in ("streams", "gateway"):
        done = command("worker", role, "--config", config, "--broker", kafka.url, "--port", 0)
        assert done.returncode == 1
        assert "fixed-contact-events: wanted 3 partitions, found 2" in done.stderr.splitlines()[-1]


def test_without_its_broker_each_role_says_so_in_time_and_ends(tmp_path: Path) -> None:
    config = tmp_path / "heardback.yaml"
    config.write_text(CONFIGURATION.replace("start_timeout_seconds: 20", "start_timeout_seconds: 3"))
    [nobody] = free_ports(1)
    roles = (("run",), ("worker", "streams"), ("worker", "alerting"), ("worker", "gateway"))
    began = time.monotonic()
    broker = ("--config", config, "--broker", f"kafka://127.0.0.1:{nobody}", "--port", 0)
    for role, done in zip(roles, commands([(*role, *broker) for role in roles]), strict=True):
        assert done.returncode == 1, role
        said = done.stderr.splitlines()[-1]
        assert said.startswith(f"heardback: kafka://127.0.0.1:{nobody}: no broker answered within 3 s"), role
    assert time.monotonic() - began < 30


def test_a_folder_that_may_not_be_written_is_said(config: Path, sealed: Path) -> None:
    done = command("run", "--config", config, "--data", sealed / "data", "--port", 0)
    assert done.returncode == 1
    assert re.search(f"{sealed}/data: (Permission denied|Read-only file system)", done.stderr)
