"""Where mails lie: files, mbox, Maildir, folders."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from schemas.refusals import Reason, Refusal
from streams.ingest.mail import Ours, read_mails
from streams.ingest.mailbox import messages_in

ONE = b"From: a@b.c\n\nOne\n"
TWO = b"From: a@b.c\n\nFrom here on\nFrom you at 10:02\nit is\n\n>From quoted\n>>From twice\n"
MBOX = b"From a@b.c Tue Nov 10 10:02:00 2026\n" + ONE + b"\nFrom d@e.f Tue Nov 10 10:03:00 2026\r\n" + TWO


def mails(path: Path) -> list[bytes | Refusal]:
    return [raw for _, raw in messages_in(path)]


def test_a_file_is_one_mail_an_empty_one_too(tmp_path: Path):
    (tmp_path / "a.eml").write_bytes(ONE + b"\nFrom here it goes on\n")
    (tmp_path / "b.eml").write_bytes(b"")
    assert mails(tmp_path / "a.eml") == [ONE + b"\nFrom here it goes on\n"]
    assert mails(tmp_path / "b.eml") == [b""]


@pytest.mark.parametrize("packed", [False, True])
def test_an_mbox_is_split_at_its_separators_and_the_quoted_ones_are_restored(tmp_path: Path, packed: bool):
    file = tmp_path / "mbox"
    file.write_bytes(gzip.compress(MBOX) if packed else MBOX)
    first, second = mails(file)
    assert first == ONE + b"\n"
    assert second == TWO.replace(b">From quoted", b"From quoted").replace(b">>From", b">From")


def test_a_dated_separator_begins_a_mail_without_an_empty_line_before_it(tmp_path: Path):
    (tmp_path / "mbox").write_bytes(MBOX.replace(b"\n\nFrom d@", b"\nFrom d@"))
    assert len(mails(tmp_path / "mbox")) == 2


def test_empty_lines_may_stand_before_the_first_separator(tmp_path: Path):
    (tmp_path / "mbox").write_bytes(b"\n\n" + MBOX)
    assert mails(tmp_path / "mbox")[0] == ONE + b"\n"
    assert len(mails(tmp_path / "mbox")) == 2


def test_a_mail_is_named_by_its_file_and_its_place_in_it(tmp_path: Path):
    (tmp_path / "mbox").write_bytes(MBOX)
    assert [origin for origin, _ in messages_in(tmp_path / "mbox")] == [f"{tmp_path}/mbox#1", f"{tmp_path}/mbox#2"]


def test_a_maildir_is_read_without_what_is_still_being_written(tmp_path: Path):
    for name in ("cur", "new", "tmp", ".Sent/cur", ".Sent/new", ".Sent/tmp"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1").write_bytes(name.encode())
    assert mails(tmp_path) == [b"cur", b"new", b".Sent/cur", b".Sent/new"]


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path):
    for name in ("b.eml", "a.eml", ".hidden"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.eml").write_bytes(b"c.eml")
    assert mails(tmp_path) == [b"a.eml", b"b.eml", b"c.eml"]


def test_a_truncated_archive_gives_a_refusal_and_the_rest_of_the_folder(tmp_path: Path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(MBOX * 50)[:-20])
    (tmp_path / "b.eml").write_bytes(ONE)
    found = mails(tmp_path)
    assert found[-1] == ONE
    assert [raw.reason for raw in found if isinstance(raw, Refusal)] == [Reason.BROKEN_GZIP]
    refusals = [refusal for reading in read_mails(messages_in(tmp_path), Ours()) for refusal in reading.refusals]
    assert Reason.BROKEN_GZIP in [refusal.reason for refusal in refusals]


def test_a_missing_path_is_the_environments_fault(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        mails(tmp_path / "nowhere")
