"""A progress bar for long work: on a terminal, and none in a pipe (CONTRACT.md section 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")


def bar(stream: IO[str]) -> AbstractContextManager[Progress | None]:
    """A bar that goes when the work is done, or None where `stream` is no terminal."""
    if not stream.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(file=stream), transient=True)


def watched(progress: Progress | None, name: str) -> IO[bytes]:
    """The file of that name, whose reading moves the bar. Raises OSError."""
    path = Path(name)
    raw = path.open("rb")
    if progress is None:
        return raw
    return cast(IO[bytes], progress.wrap_file(raw, total=path.stat().st_size, description=name))


def counted(progress: Progress | None, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The items, each of which moves the bar."""
    if progress is None:
        yield from items
    else:
        yield from progress.track(items, total=total, description=what)
