"""Where mails lie on disk: single files, mbox files, Maildir folders, folders of any of them.

This is the only module of ingest that opens files. What a mail means does not belong here.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from schemas.refusals import Reason, Refusal

MAIL_BYTES_MAX = 64 << 20
"""A longer mail is cut there; what counts stands at its beginning."""

_SEPARATOR = re.compile(rb"From \S+\s.*\d\d:\d\d")
_DATED = re.compile(rb"From \S+ +[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?: \S+)? \d{4}\s*$")
_QUOTED = re.compile(rb">+From ")
_MAILDIR = ("cur", "new")


def messages_in(path: Path) -> Iterator[tuple[str, bytes | Refusal]]:
    """(origin, bytes) of every mail under `path`, in the order of names: a mail, an mbox (plain or
    `.gz`), a Maildir (its `cur` and `new`), or a folder of these. A file that cannot be read whole gives a
    refusal after its mails. Raises `OSError` where `path` itself is missing or may not be read."""
    if path.is_dir():
        for file in _files(path):
            yield from _mails_of(file)
    else:
        yield from _mails_of(path)


def _files(folder: Path) -> Iterator[Path]:
    if all((folder / name).is_dir() for name in _MAILDIR):
        inside = [file for name in _MAILDIR for file in sorted((folder / name).iterdir()) if file.is_file()]
        subfolders = sorted(one for one in folder.iterdir() if one.is_dir() and one.name.startswith("."))
    else:
        inside = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
        subfolders = sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    yield from inside
    for subfolder in subfolders:
        yield from _files(subfolder)


def _mails_of(file: Path) -> Iterator[tuple[str, bytes | Refusal]]:
    with file.open("rb") as opened:
        packed = opened.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(file) if packed else file.open("rb") as lines:
            for number, raw in enumerate(split_mbox(lines), start=1):
                yield f"{file}#{number}", raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        yield str(file), Refusal(reason=Reason.BROKEN_GZIP, detail=f"{file}: {error}")


def split_mbox(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The mails in the lines of a file. A file whose first line with words is `From address time` is an mbox
    (RFC 4155): each such line behind an empty one begins a mail, and so does one with a whole date, as not
    every writer leaves a line empty; `>From ` is what the writer of the mbox made of `From `. Any other file
    is one mail, an empty one too."""
    gathered: list[bytes] = []
    size = 0
    mbox = False
    blank, begun = True, False
    for line in lines:
        separator = bool(_SEPARATOR.match(line))
        mbox = mbox or (separator and not begun)
        if mbox and separator and (blank or _DATED.match(line)):
            if begun:
                yield b"".join(gathered)
            gathered, size = [], 0
        elif size < MAIL_BYTES_MAX:
            gathered.append(line[1:] if mbox and _QUOTED.match(line) else line)
            size += len(line)
        blank = not line.strip()
        begun = begun or not blank
    yield b"".join(gathered)
