"""What one self-audit of a busy log costs: CPU seconds, and the most memory that its process had.

The log is that of `throughput`: a worker has handled a week, nobody was told of anything. A figure counts only if the
audit judged every contact and found nothing.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from tests.bench import workload
from tests.bench.child import child
from tests.bench.throughput import CONTACTS, QUICK_CONTACTS, fill
from tests.bench.worker import steps

Figure = dict[str, Any]
NOBODY_IS_TOLD: Final = b'alerts: {from: "2190-01-01T00:00:00Z", '


def run(quick: bool) -> Iterator[Figure]:
    """`audit_cpu_seconds` and `audit_peak_bytes`."""
    told = workload.week(QUICK_CONTACTS if quick else CONTACTS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(fill(f"sqlite:///{folder}/log.sqlite3", told))
        with child(
            "tests.bench.worker", url=f"sqlite:///{folder}/log.sqlite3", prefix="",
            configuration=workload.CONFIGURATION.decode(), start=workload.START.isoformat(),
            until=workload.UNTIL.isoformat(), steps=steps(workload.records(told, workload.transport().partitions)),
        ) as worker:  # fmt: skip
            worker.answer()
        (folder / "heardback.yaml").write_bytes(workload.CONFIGURATION.replace(b"alerts: {", NOBODY_IS_TOLD))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "streams", "audit", "--data", folder, "--config", folder / "heardback.yaml",
             "--at", workload.UNTIL.isoformat(), "--format", "json"],
            capture_output=True, check=False,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found: dict[str, Any] = orjson.loads(done.stdout or b"{}")
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    about = {name: found.get(name) for name in ("events", "contacts", "clocks", "unjudged", "excused", "seconds")}
    cpu: Figure = {"name": "audit_cpu_seconds", "value": round(cpu_seconds, 1), "unit": "CPU s", **about}
    peak: Figure = {"name": "audit_peak_bytes", "value": found.get("peak_bytes"), "unit": "bytes", **about}
    if done.returncode or found["contacts"] < len(told) // workload.EVENTS_OF_A_CONTACT:
        error = f"status {done.returncode}, {found.get('findings', [])[:3]} {done.stderr.decode()[-300:]}"
        cpu, peak = ({**figure, "value": None, "error": error} for figure in (cpu, peak))
    yield cpu
    yield peak
