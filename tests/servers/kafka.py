"""A real Kafka broker: one KRaft node on 127.0.0.1 with its data in a given folder.

Session-wide it is the fixture `kafka`. A test that stops, kills or pauses a broker starts one of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, NoError

from tests.servers.process import ServerError, ServerProcess, free_ports, listens

JARS = Path(__file__).parents[2] / ".cache" / "kafka"
CLUSTER_ID = "heardback-tests-123456"  # KRaft wants the 22 characters of a UUID in base64
START_SECONDS = 180.0
GAVE_UP = b"Failed to load metadata from __consumer_offsets"
"""Said by a broker that made the topic of its groups and was not its leader yet: no group can be used until it is
started again."""
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


class Kafka(ServerProcess):
    """A broker: `bootstrap` is its host:port, `url` the same as kafka://."""

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        java_options: tuple[str, ...] = JAVA_OPTIONS,
    ) -> None:
        """`settings` go into server.properties; without any, a topic is not created by asking for it."""
        self._folder = folder
        self._properties = folder / "server.properties"
        self._port, controller_port = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self._port}"
        self.url = f"kafka://{self.bootstrap}"
        self._settings = _node(self.bootstrap, f"127.0.0.1:{controller_port}", folder / "data") | dict(settings or {})
        self._java = ["java", *java_options, f"-Dlog4j2.configurationFile={folder}/log4j2.properties", "-cp"]
        self._java += [f"{JARS}/*"]
        run = [*self._java, "kafka.Kafka", str(self._properties)]
        super().__init__("kafka", run, log=folder / "kafka.log", start_seconds=START_SECONDS)

    def start(self) -> None:
        """Starts it; once more where its groups cannot be used (`GAVE_UP`)."""
        begun = len(self._said())
        try:
            super().start()
        except ServerError:
            if GAVE_UP not in self._said()[begun:]:
                raise
            super().start()

    def _said(self) -> bytes:
        return self.log.read_bytes() if self.log.exists() else b""

    def prepare(self) -> None:
        """Writes its properties; the first time, formats its data folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
        self._properties.write_text("".join(f"{k}={v}\n" for k, v in self._settings.items()), encoding="utf-8")
        if not (self._folder / "data" / "meta.properties").exists():
            self._format_storage()

    def _format_storage(self) -> None:
        command = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties)]
        formatted = subprocess.run(
            [*self._java, *command], capture_output=True, text=True, timeout=START_SECONDS, check=False
        )
        if formatted.returncode:
            raise ServerError(f"kafka: its storage could not be formatted\n{formatted.stdout}{formatted.stderr}")

    def answers(self) -> bool:
        """Whether topics and consumer groups can be used."""
        if not listens(self._port):
            return False
        # In a thread of its own: the caller may be inside an event loop.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._answers()).result()

    async def _answers(self) -> bool:
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=10_000)
        try:
            await client.start()
            # A fenced broker is not in its own metadata yet; a group is described once its topic is loaded.
            if not (await client.describe_cluster())["brokers"]:
                return False
            (described,) = await client.describe_consumer_groups(["ready"])
            return all(group[0] == NoError.errno for group in described.groups)
        except (KafkaError, OSError, AssertionError):
            return False
        finally:
            await client.close()


def _node(broker: str, controller: str, data: Path) -> dict[str, str]:
    """The properties of a single node that is broker and controller."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",  # tests kill members, and wait for their sessions
        "auto.create.topics.enable": "false",
        # A killed broker is let in again only after its old session has run out: 9 s by default.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
    }


def missing() -> str | None:
    """What has to be installed before a broker can start, in words; None when nothing is missing."""
    if shutil.which("java") is None:
        return "java (Debian package openjdk-17-jre-headless)"
    if not (JARS / "complete.stamp").exists():
        return "Kafka's jars in .cache/kafka (Debian package maven, then `make test`)"
    return None
