"""Whoever posts while Kafka is away is told soon, however long the workers' own patience is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.heardback import CONFIGURATION, Heardback, event, eventually
from tests.servers.kafka import Kafka

PATIENT: Final = CONFIGURATION.replace("partitions: 2,", "partitions: 2, session_timeout_seconds: 120,")


@pytest.mark.kafka
@pytest.mark.slow
def test_a_post_is_answered_long_before_a_worker_gives_up(tmp_path: Path) -> None:
    with (
        Kafka(tmp_path / "kafka") as kafka,
        Heardback(tmp_path, configuration=PATIENT, broker=kafka.url, role="gateway") as gateway,
    ):
        assert gateway.post(event("contact.opened", "T-1"))[0] == 202
        kafka.pause()
        status, answer = gateway.post(event("contact.opened", "T-2"))  # waits for 30 s at most
        assert (status, answer["error"][:19]) == (503, "The broker is away.")
        kafka.resume()
        eventually(lambda: gateway.post(event("contact.opened", "T-2"))[0] == 202, seconds=60, what="it is taken")
