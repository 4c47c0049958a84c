"""A server process of a test: started, waited for, stopped, killed, paused, always by its own process id.

A server must not outlive the test run however that ends: `setpriv --pdeathsig` has the kernel kill it when the thread
that started it dies, so all are started from one thread that lives as long as this interpreter. What a server serves
and how one sees that it is ready does not belong here.
"""

from __future__ import annotations

import abc
import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

LOG_TAIL_BYTES = 4_000
POLL_SECONDS = 0.05

_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="server-starter")
_running: list[ServerProcess] = []
_ended: list[ServerProcess] = []


class ServerError(Exception):
    """A server did not start, ended by itself, or did not end when asked to; carries the end of its log."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, all different, below those that the kernel hands out.

    A port of the kernel's own range could be taken by any outgoing connection while its server is down, even by a
    client that keeps trying to reach that server and so connects to itself.
    """
    kernels_first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            port = random.randrange(10_000, kernels_first)
            with contextlib.suppress(OSError):
                held.enter_context(_bound(port))
                ports.append(port)
    return ports


@contextlib.contextmanager
def _bound(port: int) -> Iterator[None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        yield


def wait_until(true: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Returns once `true()` holds; raises `ServerError` naming `what` if that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise ServerError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)


def listens(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class ServerProcess(abc.ABC):
    """A server as a child process, with its log in a file; as a context manager it is killed on leaving.

    All methods block until what they say has happened, or raise `ServerError`; call them by `asyncio.to_thread` where
    an event loop must go on meanwhile.
    """

    def __init__(self, name: str, argv: Sequence[str], *, log: Path, start_seconds: float = 90) -> None:
        """`start_seconds` bounds how long it may take to become ready."""
        self.name = name
        self.log = log
        self._argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        self._start_seconds = start_seconds
        self._child: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def prepare(self) -> None:
        """Writes what the process reads when it starts, before every start."""

    @abc.abstractmethod
    def answers(self) -> bool:
        """Whether it serves its clients now."""

    @property
    def pid(self) -> int:
        """The process id of the server itself. Raises `ServerError` when it does not run."""
        if self._child is None:
            raise ServerError(f"{self.name} is not running")
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the process exists (it may be paused)."""
        return self._child is not None and self._child.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        """Starts it on its ports and data and waits until it answers."""
        if self._child is not None:
            raise ServerError(f"{self.name} is already running")
        self.prepare()
        self._child = _starter.submit(self._spawn).result()
        _running.append(self)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def _spawn(self) -> subprocess.Popen[bytes]:
        # In a process group of its own: Ctrl-C reaches pytest alone, which then ends its servers.
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, process_group=0
            )

    def _wait_until_it_answers(self) -> None:
        try:
            wait_until(lambda: not self.alive or self.answers(), seconds=self._start_seconds, what=f"{self.name} ready")
        except ServerError as error:
            raise ServerError(f"{error}\n{self.log_tail()}") from None
        if not self.alive:
            raise ServerError(f"{self.name} ended by itself\n{self.log_tail()}")

    def stop(self, *, seconds: float = 30) -> None:
        """Asks it to end by SIGTERM, also a paused one; after `seconds` it is killed and `ServerError` raised."""
        if self._child is None:
            return
        self._child.terminate()
        self._child.send_signal(signal.SIGCONT)
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self.name} did not stop within {seconds:g} s\n{self.log_tail()}") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends it by SIGKILL: nothing is flushed, nobody is told. Not running: nothing."""
        if self._child is None:
            return
        self._child.kill()
        self._child.wait()
        self._child = None
        _running.remove(self)
        _ended.append(self)

    def restart(self) -> None:
        """Starts it again, on the same ports and data; stops it first where it runs."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Keeps it from running (SIGSTOP): its sockets stay open and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a paused one run again (SIGCONT) and waits until it answers."""
        os.kill(self.pid, signal.SIGCONT)
        self._wait_until_it_answers()

    def log_tail(self) -> str:
        """The last lines that it wrote."""
        written = self.log.read_bytes() if self.log.exists() else b""
        return f"--- end of {self.log} ---\n" + written[-LOG_TAIL_BYTES:].decode(errors="replace")


def seen_servers() -> list[ServerProcess]:
    """The servers that run, and those that ended since `forget_ended`: whose logs a failed test shows."""
    return [*_running, *_ended]


def forget_ended() -> None:
    """A new test begins: what ended before is not its business."""
    _ended.clear()
