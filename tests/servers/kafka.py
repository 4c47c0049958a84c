"""A real Kafka broker: one KRaft node on 127.0.0.1 with its data in a given folder.

Session-wide it is the fixture `kafka`. A test that stops, kills or pauses a broker starts one of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.servers.process import ServerError, ServerProcess, free_ports, listens, wait_until

JARS = Path(__file__).parents[2] / ".cache" / "kafka"
CLUSTER_ID = "heardback-tests-123456"  # KRaft wants 22 characters of base64 for a UUID
READY_SECONDS = 60.0
JAVA_OPTIONS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError")

LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c: %m%n
logger.started.name = kafka.server.KafkaRaftServer
logger.started.level = info
logger.groups.name = org.apache.kafka.coordinator.group
logger.groups.level = info
"""


class Kafka:
    """A broker, as a context manager. All methods block until what they say has happened, or raise `ServerError`."""

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        java_options: tuple[str, ...] = JAVA_OPTIONS,
        jars: Path = JARS,
    ) -> None:
        """`settings` are added to server.properties; topics are not created by asking for them unless these say so."""
        self._folder = folder
        self._port, self._controller_port = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self._port}"
        self.url = f"kafka://{self.bootstrap}"
        self._settings = self._own_settings() | dict(settings or {})
        self._java = ["java", *java_options, f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"]
        self._java += ["-cp", f"{jars}/*"]
        self.process = ServerProcess(
            "kafka", [*self._java, "kafka.Kafka", str(self._properties)], log=folder / "kafka.log"
        )

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _own_settings(self) -> dict[str, str]:
        controller = f"127.0.0.1:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self._folder / "data"),
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker is let in again only after its old session has run out: 9 s by default.
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "500",
            "auto.create.topics.enable": "false",
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()

    def start(self) -> None:
        """Starts it; the first time, its data folder is made. Returns once topics and consumer groups can be used."""
        if not (self._folder / "data" / "meta.properties").exists():
            self._format()
        self.process.start(self._answers, seconds=READY_SECONDS)

    def stop(self) -> None:
        """Stops it cleanly (SIGTERM)."""
        self.process.stop(seconds=60)

    def kill(self) -> None:
        """Ends it by SIGKILL."""
        self.process.kill()

    def restart(self) -> None:
        """Starts it again, on the same ports and data; stops it first where it runs."""
        if self.process.alive:
            self.stop()
        self.start()

    def pause(self) -> None:
        """Stops it from running (SIGSTOP): its sockets stay open and nobody answers."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it run again and waits until it answers."""
        self.process.signal(signal.SIGCONT)
        wait_until(self._answers, seconds=READY_SECONDS, what="kafka answers again")

    def _format(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
        self._properties.write_text("".join(f"{k}={v}\n" for k, v in self._settings.items()), encoding="utf-8")
        format_storage = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties)]
        formatted = subprocess.run(
            [*self._java, *format_storage], capture_output=True, text=True, timeout=READY_SECONDS, check=False
        )
        if formatted.returncode:
            raise ServerError(f"kafka: its storage could not be formatted\n{formatted.stdout}{formatted.stderr}")

    def _answers(self) -> bool:
        if not listens(self._port):
            return False
        # In a thread of its own: the caller may be inside an event loop.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._answers_now()).result()

    async def _answers_now(self) -> bool:
        """Whether the broker is in its own metadata (unfenced) and its group coordinator is loaded."""
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=2_000)
        try:
            await client.start()
            cluster = await client.describe_cluster()
            return bool(cluster["brokers"]) and await client.find_coordinator("ready") == 1
        except (KafkaError, OSError, AssertionError):
            return False
        finally:
            await client.close()


def missing() -> str | None:
    """What has to be installed before a broker can start, in words; None when nothing is missing."""
    if shutil.which("java") is None:
        return "java (Debian package openjdk-17-jre-headless)"
    if not (JARS / "complete.stamp").exists():
        return "Kafka's jars in .cache/kafka (Debian package maven, then `make test`)"
    return None
