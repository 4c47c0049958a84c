"""A process of its own for what is measured: told by one JSON line, it answers with others.

So producer, broker and checks cost it nothing. It is ended by its own process id, whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

from tests.servers.process import ServerError

ANSWER: Final = "answer: "
LONGEST_SECONDS: Final = 900.0


class Child:
    """`python -m module`, running."""

    def __init__(self, module: str, told: dict[str, Any]) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.tell(told)

    def tell(self, told: dict[str, Any]) -> None:
        """Sends it one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Its next answer. Raises ServerError when it ends without one, or says nothing for a time in which
        anything ends."""
        with contextlib.suppress(queue.Empty):
            if (answer := self._answers.get(timeout=LONGEST_SECONDS)) is not None:
                return answer
        raise ServerError(f"{self._module} gave no answer, status {self._process.poll()}")

    def _read(self) -> None:
        """Takes whatever it writes, at once: a full pipe would make it wait in the midst of its work."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                self._answers.put(json.loads(line.removeprefix(ANSWER)))
        self._answers.put(None)

    def end(self) -> None:
        """Kills it, unless it ended by itself."""
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def child(module: str, **told: Any) -> Iterator[Child]:
    """A child that is ended on leaving."""
    started = Child(module, told)
    try:
        yield started
    finally:
        started.end()


def told() -> dict[str, Any]:
    """In the child: the next line from the parent."""
    line: dict[str, Any] = json.loads(sys.stdin.readline())
    return line


def say(**answer: Any) -> None:
    """In the child: an answer to the parent."""
    print(ANSWER + json.dumps(answer), flush=True)
