"""A heardback whose standard error nobody reads goes on answering, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.heardback import RUN, Heardback, environment, event, eventually


@pytest.mark.slow
def test_nobody_waits_for_whoever_reads_the_log(tmp_path: Path) -> None:
    heardback = Heardback(tmp_path)  # its configuration, port and questions, not its process
    given = [
        "run",
        "--data",
        str(heardback.data),
        "--config",
        str(heardback.configuration),
        "--port",
        str(heardback.port),
    ]
    read, write = os.pipe()
    child = subprocess.Popen([*RUN, *given], stdout=subprocess.DEVNULL, stderr=write, env=environment())
    os.close(write)
    try:
        eventually(heardback.answers, seconds=60, what="it is ready")
        for number in range(600):  # a line each, and a pipe holds 64 KB
            assert heardback.post(event("contact.opened", f"T-{number}"))[0] == 202
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
        os.close(read)
