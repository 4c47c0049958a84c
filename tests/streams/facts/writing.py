"""A process that only writes facts, to be killed: `python -m tests.streams.facts.writing LOG URL [DIE]`.

It takes in the topics of an embedded log until all is in, and ends. With DIE it kills itself at that statement to the
database, counted from 1, before the statement has been sent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import event

from streams.facts import Store, Writer
from streams.transport import open_log
from tests.streams.facts.stores import all_in, until


async def main(log: str, url: str, die: int | None) -> None:
    """Write until everything is in."""
    client, store = open_log(f"sqlite:///{log}"), Store(url)
    statements = 0

    def before(*_: Any) -> None:
        nonlocal statements
        statements += 1
        if statements == die:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(store._engine.sync_engine, "before_cursor_execute", before)
    event.listen(store._engine.sync_engine, "commit", before)
    await client.start()
    writer = Writer(client, lambda name: name, store, now=lambda: datetime.now(UTC), know_every_seconds=0.05)
    running = asyncio.create_task(writer.run())
    sys.stdout.write("writing\n")
    sys.stdout.flush()
    await until(lambda: all_in(client, store), running)
    running.cancel()
    await asyncio.wait((running,))
    await store.close()
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None))
