"""Events per CPU second of `heardback replay`, alerts and all, beside reading the same lines by bare pydantic."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from schemas.events import EVENT
from streams import settings
from streams.commands import replaying
from tests.bench import workload
from tests.bench.workload import Told

CONTACTS: Final = 60_000
QUICK_CONTACTS: Final = 2_000


def run(quick: bool) -> Iterator[dict[str, Any]]:
    """`replay_events_per_cpu_second`: from a file to the files of `--out`."""
    told = workload.week(QUICK_CONTACTS if quick else CONTACTS)
    figure: dict[str, Any] = {"name": "replay_events_per_cpu_second", "unit": "events/CPU s", "target": 20_000}
    figure |= {"events": len(told), "against": "bare pydantic parsing of the same lines"}
    baseline = len(told) / _parsing(told)
    with tempfile.TemporaryDirectory() as folder:
        seconds, files = _replaying(told, Path(folder))
        _, backwards = _replaying(told[::-1], Path(folder))
    value = len(told) / seconds
    figure |= {"value": round(value), "baseline": round(baseline), "ratio": round(value / baseline, 2)}
    if files != backwards:
        differ = [name for name in files if files[name] != backwards[name]]
        figure |= {"value": None, "ratio": None, "error": f"in another order other {', '.join(differ)}"}
    yield figure


def _parsing(told: Sequence[Told]) -> float:
    values = [one.value for one in told]
    began = time.process_time()
    for value in values:
        EVENT.validate_json(value)
    return time.process_time() - began


def _replaying(told: Sequence[Told], folder: Path) -> tuple[float, dict[str, bytes]]:
    events, out = folder / "events.jsonl", folder / "out"
    events.write_bytes(b"".join(one.value + b"\n" for one in told))
    configuration = settings.parse(workload.CONFIGURATION, file="bench")
    began = time.process_time()
    replaying.write(replaying.run([str(events)], configuration), configuration, out)
    spent = time.process_time() - began
    return spent, {path.name: path.read_bytes() for path in sorted(out.glob("*.jsonl"))}
