"""The wheel holds all of the three packages and works without the source tree, on exactly the locked dependencies.

`schemas` and `alerting` are also the names of other projects on the package index: here it shows which ones are used.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.wheel, pytest.mark.slow]

SOURCE = Path(__file__).parents[2]
PACKAGES = ("schemas", "streams", "alerting")
COMMANDS = ("demo", "run", "worker", "replay", "explain", "import", "check", "schema", "dead-letters")
INSTALL_SECONDS = 300
COMMAND_SECONDS = 180

CONFIG = """\
calendars:
  always: {always_open: true}
policies:
  - name: everybody
    match: {}
    calendar: always
    targets: {first_response: 1h}
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A wheel, and a virtual environment outside the source tree with nothing but it and what it depends on.

    `sources` are the files that git would track in the packages when the wheel was built.
    """

    wheel: Path
    sources: tuple[str, ...]
    folder: Path

    def run(self, program: str, *arguments: str) -> str:
        """What a program of the environment prints. Fails the test, with all it said, unless it exits with 0."""
        return succeed([str(self.folder / "venv" / "bin" / program), *arguments], cwd=self.folder)


def succeed(command: list[str], *, cwd: Path, seconds: float = COMMAND_SECONDS) -> str:
    """Runs a command without this test's own Python path; its standard output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HEARDBACK"))}
    run = subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, f"{' '.join(command)}: exit {run.returncode}\n{run.stdout}{run.stderr}"
    return run.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    succeed([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=SOURCE)
    listed = succeed(["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES], cwd=SOURCE)
    [wheel] = folder.glob("heardback-*.whl")
    venv.create(folder / "venv", with_pip=True)
    pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(SOURCE / "deploy" / "lock" / "run.txt")]
    succeed([*pip, *locked], cwd=folder, seconds=INSTALL_SECONDS)
    succeed([*pip, "--no-index", str(wheel)], cwd=folder)
    return Installed(wheel=wheel, sources=tuple(listed.split()), folder=folder)


def need_command(installed: Installed, name: str) -> None:
    """Skips a test of a command that this version does not list."""
    if f" {name} " not in installed.run("heardback", "--help"):
        pytest.skip(f"heardback has no command {name}")


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(installed: Installed) -> None:
    packed = [name for name in zipfile.ZipFile(installed.wheel).namelist() if ".dist-info/" not in name]
    runbooks = [f"streams/gateway/runbooks/{file.name}" for file in (SOURCE / "deploy/runbooks").iterdir()]
    assert sorted(packed) == sorted([*installed.sources, *runbooks])


def test_the_lock_satisfies_everything_that_the_wheel_asks_for(installed: Installed) -> None:
    assert "No broken requirements" in installed.run("python", "-m", "pip", "check")


def test_the_packages_are_imported_from_the_wheel(installed: Installed) -> None:
    program = f"import {', '.join(PACKAGES)}\nfor package in ({', '.join(PACKAGES)}): print(package.__file__)"
    for name, file in zip(PACKAGES, installed.run("python", "-c", program).splitlines(), strict=True):
        assert Path(file).is_relative_to(installed.folder / "venv"), f"{name} comes from {file}"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_each_command_with_an_example(installed: Installed, command: str) -> None:
    need_command(installed, command)
    assert f"heardback {command}" in installed.run("heardback", command, "--help").split("Usage:")[1].partition("\n")[2]


def test_the_schemas_are_written_from_the_wheel(installed: Installed) -> None:
    need_command(installed, "schema")
    installed.run("heardback", "schema", "--out", "schemas-out")
    written = list((installed.folder / "schemas-out").rglob("*.json"))
    assert written
    assert all(json.loads(file.read_bytes()) for file in written)


def test_a_replay_of_two_events_keeps_the_promise(installed: Installed) -> None:
    need_command(installed, "replay")
    event = {"specversion": "1.0", "source": "/desk", "subject": "T-1"}
    asked = {"id": "1", "type": "contact.opened", "time": "2026-11-10T10:00:00Z"}
    answered = {"id": "2", "type": "message.sent", "time": "2026-11-10T10:30:00Z"}
    lines = [
        event | asked | {"data": {"customer_id": "c-1", "channel": "ticket"}},
        event | answered | {"data": {"customer_id": "c-1", "agent_id": "a-1"}},
    ]
    (installed.folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (installed.folder / "heardback.yaml").write_text(CONFIG, encoding="utf-8")
    installed.run("heardback", "replay", "events.jsonl", "--config", "heardback.yaml", "--out", "replayed")
    outcomes = (installed.folder / "replayed" / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()
    [outcome] = [json.loads(line) for line in outcomes]
    assert (outcome["target"], outcome["verdict"], outcome["open_seconds"]) == ("first_response", "kept", 1800.0)


def test_the_demo_runs_to_its_end_from_the_wheel(installed: Installed) -> None:
    need_command(installed, "demo")
    assert installed.run("heardback", "demo", "--exit", "--port", "0")
