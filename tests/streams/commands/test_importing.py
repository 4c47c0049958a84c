"""`heardback import`: exports in, events out; what is refused is said, and nothing is dropped in silence."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from schemas.codec import decode
from schemas.refusals import Refusal

ROOT = Path(__file__).parents[3]
LOG = ROOT / "streams/demo/data/servicenow-slice.csv"
WHOLE = ROOT.parent / "shared/data/servicenow/incident_event_log.csv.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a run of the command came to."""

    status: int
    out: bytes
    err: str

    @property
    def types(self) -> list[str]:
        events = [decode(line) for line in self.out.splitlines()]
        assert not any(isinstance(event, Refusal) for event in events)
        return [event.type for event in events if not isinstance(event, Refusal)]


def imported(*arguments: object, stdin: bytes = b"") -> Ended:
    command = [sys.executable, "-m", "streams", "import", *map(str, arguments)]
    run = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, timeout=120, check=False)
    return Ended(status=run.returncode, out=run.stdout, err=run.stderr.decode())


def mail(number: int, sender: str = "Ann <ann@customer.example>", to: str = "help@desk.example") -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, "Help"
    message["Message-ID"] = f"<m{number}@customer.example>"
    message["Date"] = "Tue, 10 Nov 2026 10:02:00 +0000"
    message.set_content("Please.\n")
    return message.as_bytes()


def test_a_servicenow_log_becomes_events_and_every_row_is_accounted_for() -> None:
    done = imported("servicenow", LOG, "--time-zone", "Europe/Lisbon")
    assert done.status == 0
    assert done.types.count("contact.opened") == 40
    assert f"{len(done.types)} events of 40 contacts" in done.err
    rows, unchanged = (int(re.search(rf"(\d+) {what}", done.err)[1]) for what in ("rows", "unchanged"))  # type: ignore[index]
    assert rows == len(LOG.read_bytes().splitlines()) - 1
    assert 0 < unchanged < rows
    assert "0 refused" in done.err


def test_the_time_zone_is_that_of_the_option() -> None:
    lisbon, utc = imported("servicenow", LOG, "--time-zone", "Europe/Lisbon"), imported("servicenow", LOG)
    assert len(lisbon.out.splitlines()) == len(utc.out.splitlines())
    assert lisbon.out != utc.out


def test_gzip_and_standard_input_give_the_same_events(tmp_path: Path) -> None:
    plain = imported("servicenow", LOG)
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(LOG.read_bytes()))
    assert imported("servicenow", packed).out == plain.out
    assert imported("servicenow", "-", stdin=LOG.read_bytes()).out == plain.out
    assert imported("servicenow", "-", stdin=packed.read_bytes()).out == plain.out


def test_of_a_gzip_cut_short_what_was_readable_is_written_and_the_rest_refused(tmp_path: Path) -> None:
    packed = tmp_path / "cut.csv.gz"
    packed.write_bytes(gzip.compress(LOG.read_bytes())[:-4_000])
    done = imported("servicenow", packed)
    assert done.status == 0
    assert 0 < len(done.types) < len(imported("servicenow", LOG).types)
    assert re.search(rf"broken_gzip: {packed}: after line \d+", done.err)
    assert "1 refused (1 broken_gzip)" in done.err


def test_bad_rows_are_named_with_file_line_and_reason_and_cost_nothing_else(tmp_path: Path) -> None:
    lines = LOG.read_bytes().splitlines(keepends=True)
    spoilt = tmp_path / "log.csv"
    spoilt.write_bytes(
        b"\xef\xbb\xbf" + b"".join([lines[0], b"only,three,values\r\n", *lines[1:], b"\xff" * 40 + b"\n"])
    )
    done = imported("servicenow", spoilt)
    assert done.status == 0
    assert done.out == imported("servicenow", LOG).out
    assert f"broken_row: {spoilt}: line 2: " in done.err
    assert f"{spoilt}: line {len(lines) + 2}: " in done.err
    assert "2 refused (" in done.err


def test_mails_of_files_folders_and_mboxes_become_events(tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_bytes(mail(1))
    (tmp_path / "box").mkdir()
    (tmp_path / "box/many.mbox").write_bytes(
        b"".join(b"From x Tue Nov 10 10:02:00 2026\n" + mail(n) + b"\n" for n in (2, 3))
    )
    (tmp_path / "ours.eml").write_bytes(mail(4, "Help <help@desk.example>", "bob@customer.example"))
    done = imported("mail", tmp_path, "--our-domain", "Desk.example")
    assert done.status == 0
    assert sorted(done.types) == ["contact.opened"] * 4 + ["message.sent"]
    assert done.out.count(b'"opened_by":"agent"') == 1
    assert "5 events of 4 contacts, 4 mails, 0 refused" in done.err


def test_an_address_that_is_ours_is_told_by_the_option(tmp_path: Path) -> None:
    (tmp_path / "ours.eml").write_bytes(mail(4, "Help <Help@mail.example>", "bob@customer.example"))
    file = tmp_path / "ours.eml"
    assert b'"opened_by":"agent"' in imported("mail", file, "--our-address", "help@mail.example").out
    assert b'"opened_by":"customer"' in imported("mail", file).out


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_mail_comes_through_standard_input(pack: type[bytes]) -> None:
    done = imported("mail", "-", stdin=pack(mail(1)))
    assert (done.status, done.types) == (0, ["contact.opened"])


def test_what_is_no_mail_is_named_and_the_others_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"shopping: milk\n")
    (tmp_path / "b.eml").write_bytes(mail(1))
    done = imported("mail", tmp_path)
    assert (done.status, done.types) == (0, ["contact.opened"])
    assert f"broken_mail: {tmp_path}/a.txt#1: " in done.err
    assert "1 refused (1 broken_mail)" in done.err


def test_nothing_of_the_customers_words_is_said_on_standard_error(tmp_path: Path) -> None:
    (tmp_path / "b.eml").write_bytes(mail(1).replace(b"Date: Tue", b"Date: Ann's secret"))
    (tmp_path / "c.eml").write_bytes(mail(2).replace(b"From: Ann <ann@customer.example>", b"From: Ann"))
    done = imported("mail", tmp_path)
    assert "Ann" not in done.err
    assert "secret" not in done.err


def test_what_a_librarys_patterns_stumble_over_is_a_refusal_and_no_traceback() -> None:
    head = b"To: help@desk.example\nSubject: Undeliverable\nReturn-Path: <>\nMessage-ID: <m@desk.example>\n"
    head += b"Date: Tue, 10 Nov 2026 10:02:00 +0000\nContent-Type: multipart/mixed; boundary=B\n\n"
    done = imported("mail", "-", stdin=head)  # parts that are not there
    assert (done.out, "Traceback" in done.err) == (b"", False)
    assert done.err.startswith("broken_mail: -#1: a bounce that names neither"), done.err


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    done = imported("zendisk", LOG)
    assert (done.status, done.out) == (2, b"")
    assert done.err == "heardback: found source 'zendisk', wanted one of mail, servicenow\n"


def test_every_file_that_cannot_be_opened_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    done = imported("servicenow", LOG, tmp_path / "a.csv", tmp_path)
    assert (done.status, done.out) == (2, b"")
    assert done.err.splitlines() == [
        f"heardback: {tmp_path}/a.csv: No such file or directory",
        f"heardback: {tmp_path}: Is a directory",
    ]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("servicenow", LOG, "--time-zone", "Mars/Olympus"), "found 'Mars/Olympus', wanted an IANA time zone"),
        (("servicenow", LOG, "--our-domain", "x.example"), "found --our-domain, which say nothing to servicenow"),
        (("mail", ROOT, "--time-zone", "UTC"), "found --time-zone, which say nothing to mail"),
    ],
)  # fmt: skip
def test_an_option_that_means_nothing_is_refused(arguments: tuple[object, ...], what: str) -> None:
    done = imported(*arguments)
    assert (done.status, done.out) == (2, b"")
    assert what in done.err


def test_who_reads_may_stop_and_the_command_ends_quietly_with_1() -> None:
    command = f"{sys.executable} -m streams import servicenow {LOG} | head -1; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert run.returncode == 1
    assert len(run.stdout.splitlines()) == 1
    assert run.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_and_the_command_ends_with_1() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "streams", "import", "servicenow", str(LOG)]
        run = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, timeout=120, check=False)
    assert run.returncode == 1
    assert run.stderr == b"heardback: standard output: No space left on device\n"


def test_a_terminal_sees_a_bar_and_a_pipe_does_not(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streams", "import", "servicenow", str(LOG)]
    terminal, ours = os.openpty()
    events = tmp_path / "events.jsonl"
    with events.open("wb") as out:
        run = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=ours, env={**os.environ, "TERM": "xterm"})
        os.close(ours)
        shown = b""
        while True:
            try:
                shown += os.read(terminal, 65_536)
            except OSError:
                break
        assert run.wait(timeout=60) == 0
    os.close(terminal)
    assert b"100%" in shown
    done = imported("servicenow", LOG)
    assert done.out == events.read_bytes()
    assert "100%" not in done.err


@pytest.mark.slow
def test_the_whole_real_log_is_imported() -> None:
    if not WHOLE.exists():
        pytest.skip(f"{WHOLE.name} is not here")
    done = imported("servicenow", WHOLE, "--time-zone", "Europe/Lisbon")
    assert done.status == 0
    assert "of 24918 contacts" in done.err
    assert "141712 rows" in done.err
