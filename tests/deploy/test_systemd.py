"""The unit for systemd: well-formed, and what it starts is ready under its environment and ends as it is told to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.heardback import CONFIGURATION, Heardback

UNIT: Final = Path(__file__).parents[2] / "deploy/systemd/heardback.service"
INSTALLED: Final = "/opt/heardback/bin/heardback"


def settings() -> dict[str, list[str]]:
    """What the unit says, by name; a name may stand several times."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        name, given, value = line.partition("=")
        if given and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="missing: systemd-analyze (Debian package systemd)")
def test_systemd_understands_it(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(INSTALLED, "/bin/true"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_it_starts_is_ready_and_ends_within_its_time(tmp_path: Path) -> None:
    said = settings()
    installed, *arguments = said["ExecStart"][0].split()
    assert installed == INSTALLED
    variables = dict(one.split("=", 1) for one in said["Environment"])
    assert variables["HEARDBACK_DATA"] == f"/var/lib/{said['StateDirectory'][0]}"
    places = {"HEARDBACK_CONFIG": str(tmp_path / "heardback.yaml"), "HEARDBACK_DATA": str(tmp_path / "data")}
    heardback = AsUnit(tmp_path, arguments, {**variables, **places})
    with heardback:
        assert (heardback.data / "log.sqlite3").exists()
        assert heardback.told_to_end(signal.SIGTERM, float(said["TimeoutStopSec"][0])) == 0


class AsUnit(Heardback):
    """`heardback` with the arguments and the variables of the unit alone, on a port of its own."""

    def __init__(self, folder: Path, arguments: list[str], variables: dict[str, str]) -> None:
        super().__init__(folder, configuration=CONFIGURATION)
        given = [f"{name}={value}" for name, value in {**variables, "HEARDBACK_PORT": str(self.port)}.items()]
        path = f"PATH={os.environ['PATH']}"
        command = [sys.executable, "-m", "streams", *arguments]
        self._argv = ["setpriv", "--pdeathsig", "KILL", "--", "env", "--ignore-environment", path, *given, *command]
