"""heardback as its users have it: a process, its standard error, its HTTP door and its log.

What it must do is in the tests beside this module.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from schemas.topics import TOPICS
from streams.transport import Record, TransportSettings, open_log, topic_specs
from streams.transport.sqlite import SqliteLog
from tests.servers.process import ServerProcess, free_ports, wait_until

RUN: Final = (sys.executable, "-m", "streams")
COMMAND_SECONDS: Final = 60.0
PARTITIONS: Final = 2
CONFIGURATION: Final = """\
calendars:
  always: {always_open: true}
policies:
  - name: all
    calendar: always
    targets: {first_response: 1h, next_response: 1h}
    at_risk: [50%]
alerts:
  escalations: [{after: 0m, severity: page}]
broker: {partitions: 2, start_timeout_seconds: 20}
"""
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def environment(**settings: str) -> dict[str, str]:
    """That of this process without anything of heardback's, and `settings`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HEARDBACK")} | settings


def command(
    *arguments: object,
    given: bytes | None = None,
    folder: Path | None = None,
    settings: Mapping[str, str] | None = None,
    seconds: float = COMMAND_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, in `folder`."""
    done = subprocess.run(
        [*RUN, *map(str, arguments)],
        input=given if given is not None else b"",
        capture_output=True,
        timeout=seconds,
        check=False,
        cwd=folder,
        env=environment(**(settings or {})),
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Heardback(ServerProcess):
    """`heardback run`, or with `role` a worker of that role, on a port of its own; ready when `/readyz` says so."""

    def __init__(
        self,
        folder: Path,
        *,
        configuration: str = CONFIGURATION,
        broker: str | None = None,
        role: str | None = None,
        options: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.prefix = ""
        self.data = folder / "data"
        self.broker = broker or f"sqlite:///{self.data / 'log.sqlite3'}"
        self.configuration = folder / "heardback.yaml"
        self.configuration.write_text(configuration, encoding="utf-8")
        what = ["worker", role] if role else ["run"]
        if broker is not None:
            what += ["--broker", broker]
        if role is None:
            what += ["--data", str(self.data)]
        what += ["--config", str(self.configuration), "--port", str(self.port), *options]
        variables = [f"{name}={value}" for name, value in (settings or {}).items()]
        ours = [f"--unset={name}" for name in os.environ if name.startswith("HEARDBACK")]
        argv = ["env", *ours, *variables, *RUN, *what]
        super().__init__("heardback", argv, log=folder / f"{role or 'run'}.log", start_seconds=60)

    def prepare(self) -> None:
        """Its configuration is written already."""

    def answers(self) -> bool:
        """Whether every partition is ready."""
        return self.get("/readyz")[0] == 200

    def begin(self) -> None:
        """Starts it without waiting until it is ready."""
        answers, self.answers = self.answers, lambda: True  # type: ignore[method-assign]
        try:
            self.start()
        finally:
            self.answers = answers  # type: ignore[method-assign]

    def ended(self, seconds: float = 30) -> int:
        """Waits until it ends by itself; returns its exit status."""
        assert self._child is not None
        child = self._child
        wait_until(lambda: child.poll() is not None, seconds=seconds, what="heardback ended")
        self.kill()
        assert child.returncode is not None
        return child.returncode

    def told_to_end(self, by: signal.Signals = signal.SIGTERM, seconds: float = 10) -> int:
        """Sends it a signal and waits; returns its exit status. Raises ServerError after `seconds`."""
        os.kill(self.pid, by)
        return self.ended(seconds)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """The answer to a GET; status 0 where nobody answered."""
        return self._asked(urllib.request.Request(self.url + path, headers=dict(headers or {})))

    def post(self, body: object, content_type: str = "application/json") -> tuple[int, Any]:
        """The answer to a POST of events; anything but bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        request = urllib.request.Request(f"{self.url}/v1/events", data=content, headers={"Content-Type": content_type})
        status, answer = self._asked(request)
        return status, orjson.loads(answer) if answer else None

    @staticmethod
    def _asked(request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with _opener.open(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()
        except OSError:
            return 0, b""

    def metrics(self) -> str:
        """The page that Prometheus scrapes."""
        status, page = self.get("/metrics")
        assert status == 200, status
        return page.decode()

    def said(self) -> str:
        """Everything that it wrote on standard error and output so far."""
        return self.log.read_text(encoding="utf-8")

    def records(self, topic: str) -> list[Seen]:
        """All records of a topic."""
        return records(self.broker, self.prefix + topic)


class Seen(NamedTuple):
    """A record that was read, and where."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def json(self) -> Any:
        """The value, decoded."""
        return orjson.loads(self.value or b"")

    def header(self, name: str) -> bytes | None:
        """The first header of that name."""
        return next((content for found, content in self.headers if found == name), None)


def records(broker: str, topic: str) -> list[Seen]:
    """All records of a topic (full name), also beside the process that serves an embedded log."""
    return asyncio.run(_records(broker, topic))


async def _records(broker: str, topic: str) -> list[Seen]:
    path = broker.removeprefix("sqlite:///")
    log = SqliteLog(Path(path), read_only=True) if path != broker else open_log(broker)
    found: list[Seen] = []
    await log.start()
    try:
        async for batch in log.scan(topic):
            rows = zip(batch.offsets, batch.keys, batch.values, batch.headers, strict=True)
            found += [Seen(batch.partition, offset, key, value, tuple(headers)) for offset, key, value, headers in rows]
    finally:
        await log.close()
    return found


def append(broker: str, topic: str, some: Sequence[Record], *, prefix: str = "", partition: int = 0) -> None:
    """Writes records to one partition of a topic as another program would, making the topics where there are none."""
    asyncio.run(_append(broker, prefix, topic, {partition: some}))


async def _append(broker: str, prefix: str, topic: str, some: Mapping[int, Sequence[Record]]) -> None:
    settings = TransportSettings(partitions=PARTITIONS, topic_prefix=prefix)
    log = open_log(broker, settings)
    if broker.startswith("sqlite:"):
        Path(broker.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    await log.start()
    try:
        await log.ensure_topics(topic_specs(TOPICS, settings))
        await log.append(prefix + topic, some)
    finally:
        await log.close()


def ago(seconds: float = 0) -> str:
    """An instant of the past, as events have it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def event(kind: str = "contact.opened", subject: str = "T-1", **data: Any) -> dict[str, Any]:
    """A contact event of now. Attributes of the envelope go by `at`, `source` and `event_id`; the rest is data."""
    at, source, event_id = data.pop("at", None), data.pop("source", "/tests"), data.pop("event_id", None)
    if kind == "contact.opened":
        data.setdefault("channel", "ticket")
    data.setdefault("customer_id", "c-1")
    return {
        "specversion": "1.0",
        "id": event_id or f"{kind}@{subject}",
        "source": source,
        "type": kind,
        "time": at or ago(),
        "subject": subject,
        "data": {name: value for name, value in data.items() if value is not None},
    }


def eventually(found: Callable[[], Any], *, seconds: float = 60, what: str) -> Any:
    """Waits until `found()` is true and returns it."""
    last: list[Any] = []

    def looked() -> bool:
        with suppress(OSError):
            last[:] = [found()]
        return bool(last and last[0])

    wait_until(looked, seconds=seconds, what=what)
    return last[0]
