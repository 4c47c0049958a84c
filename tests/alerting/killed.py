"""An alerting worker that is meant to be killed: `python -m tests.alerting.killed FOLDER SPEC RECORDS [CALLS]`.

It publishes the records of a file (one JSON object a line), going on where its log ends, and delivers what
comes of them. It says `ready`, and `quiet` once all is published and nothing is owed. With CALLS it kills
itself right after so many steps: writes to a topic or the table, and requests to receivers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from schemas.configuration import AlertsSpec
from tests.alerting.worker import Worker, worker

CHUNK = 3
SECONDS_BETWEEN = 0.01


async def main(folder: Path, spec: AlertsSpec, records: list[Any], calls: int | None) -> None:
    """Until it is killed."""
    async with worker(f"sqlite:///{folder}/log.sqlite3", spec, prepare=lambda found: _count(found, calls)) as found:
        print("ready", flush=True)
        while rest := records[sum((await found.runtime.client.end_offsets("outcomes")).values()) :]:
            await found.publish(*rest[:CHUNK])
            await asyncio.sleep(SECONDS_BETWEEN)
        calm = 0
        while calm < 5:
            await asyncio.sleep(0.05)
            calm = calm + 1 if _quiet(found) else 0
        recorded = {(alert["contact_id"], alert["kind"], alert["state"]) for alert in await found.read("alerts")}
        (folder / "recorded.json").write_bytes(orjson.dumps(sorted(recorded)))
        print("quiet", flush=True)
        await asyncio.Event().wait()


def _quiet(found: Worker) -> bool:
    lag = any(progress.lag_records for progress in found.runtime.progress())
    owed = any(lane.owed for lane in found.alerting.lanes.values())
    return not lag and not owed and found.alerting.live == found.runtime.partitions()


def _count(found: Worker, calls: int | None) -> None:
    """Has every step counted, and the last one followed by the end."""
    if calls is None:
        return
    left = calls

    def counted(step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def then_die(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            result = await step(*args, **kwargs)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return then_die

    found.runtime.send = counted(found.runtime.send)  # type: ignore[method-assign]  # the table writes by it too
    for lane in found.alerting.lanes.values():
        lane.receiver.deliver = counted(lane.receiver.deliver)  # type: ignore[method-assign]


if __name__ == "__main__":
    asyncio.run(
        main(
            Path(sys.argv[1]),
            AlertsSpec.model_validate_json(Path(sys.argv[2]).read_bytes()),
            [orjson.loads(line) for line in Path(sys.argv[3]).read_bytes().splitlines()],
            int(sys.argv[4]) if len(sys.argv) > 4 else None,
        )
    )
