"""A real PostgreSQL, with a fresh database for whoever asks.

Session-wide it is the fixture `postgresql`. It refuses to run as root: as root it runs as Debian's `postgres`, or as
`nobody`, in a folder that belongs to them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.servers.process import ServerProcess, free_ports, wait_until

BIN = Path("/usr/lib/postgresql")
COMMAND_SECONDS = 60.0


class PostgreSQL(ServerProcess):
    """`url(database)` is an address of it, for the user `heardback` with a password."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds its log; its data are in a folder of their own, which its user can reach."""
        [self.port] = free_ports(1)
        self._data = Path(tempfile.mkdtemp(prefix="heardback-postgresql-"))
        server = str(_bin() / "postgres")
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p", str(self.port)]
        options += ["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=40"]
        argv = [*_as_its_user(), server, "-D", str(self._data / "data"), *options]
        super().__init__("postgresql", argv, log=folder / "postgresql.log", start_seconds=60)

    def __exit__(self, *raised: Any) -> None:
        self.kill()
        shutil.rmtree(self._data)

    def prepare(self) -> None:
        """Makes its cluster, once."""
        if (self._data / "data").exists():
            return
        if os.getuid() == 0:
            user = _its_user()
            os.chown(self._data, user.pw_uid, user.pw_gid)
        who = ["-U", "heardback", "-A", "trust"]
        initdb = [str(_bin() / "initdb"), "-D", str(self._data / "data"), *who, "-E", "UTF8", "--locale=C", "--no-sync"]
        _run([*_as_its_user(), *initdb])

    def answers(self) -> bool:
        """Whether it takes connections."""
        ready = [str(_bin() / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run(ready, check=False, timeout=COMMAND_SECONDS).returncode == 0

    def down(self) -> None:
        """Ends it at once but in good order, also where somebody is connected ("fast shutdown"): SIGINT."""
        os.kill(self.pid, signal.SIGINT)
        wait_until(lambda: not self.alive, seconds=COMMAND_SECONDS, what="postgresql down")
        self.kill()

    def url(self, database: str = "postgres") -> str:
        """The address of a database."""
        return f"postgresql://heardback:a-password@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{uuid4().hex}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def sql(self, text: str, database: str = "postgres") -> list[str]:
        """What psql answers, line by line."""
        return _run([str(_bin() / "psql"), "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", text, self.url(database)])


def missing() -> str | None:
    """What has to be installed, in words; None when nothing is missing."""
    return None if list(BIN.glob("*/bin/postgres")) else "postgres (Debian package postgresql)"


def _bin() -> Path:
    return max(BIN.glob("*/bin"), key=lambda path: int(path.parent.name))


def _its_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _as_its_user() -> list[str]:
    """The kernel forgets who is to be killed with us when the user changes, so it is said again."""
    if os.getuid() != 0:
        return []
    user = _its_user()
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *ids, "setpriv", "--pdeathsig", "KILL", "--"]


def _run(argv: list[str]) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, cwd="/")
    assert done.returncode == 0, f"{argv[0]}: {done.stderr}"
    return done.stdout.splitlines()
