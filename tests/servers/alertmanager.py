"""A real Alertmanager whose notifications go to a recording receiver of the test.

Session-wide it is the fixture `alertmanager`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.servers.process import ServerProcess, free_ports
from tests.servers.receiver import Receiver
from tests.servers.web_api import get_json, succeeds

AMTOOL_SECONDS = 30.0


class Alertmanager(ServerProcess):
    """`url` is its address, `pages` the receiver that it notifies, at once and for each alert apart.

    Its silences and notification log survive a restart; alerts do not: whoever fires them sends them again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        group_interval: str = "1s",
        repeat_interval: str = "1h",
        configuration: Callable[[str], Mapping[str, Any]] | None = None,
    ) -> None:
        """Intervals as in its own configuration: between notifications of a group, and of an unchanged group.
        `configuration`: another one altogether, given the address of `pages`."""
        self._folder = folder
        self._group_interval = group_interval
        self._repeat_interval = repeat_interval
        self._configuration = configuration
        self.pages = Receiver()
        self.config = folder / "alertmanager.json"
        [port] = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        run = ["prometheus-alertmanager", f"--config.file={self.config}", f"--storage.path={folder / 'data'}"]
        # Without its cluster's port: replicas know nothing of each other.
        run += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
        super().__init__("alertmanager", run, log=folder / "alertmanager.log")

    def __enter__(self) -> Alertmanager:
        self.pages.__enter__()
        self.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.kill()
        self.pages.__exit__(*raised)

    def prepare(self) -> None:
        """Writes its configuration (JSON is YAML)."""
        self._folder.mkdir(parents=True, exist_ok=True)
        config: Mapping[str, Any] = {
            "route": {
                "receiver": "pages",
                "group_by": ["..."],
                "group_wait": "0s",
                "group_interval": self._group_interval,
                "repeat_interval": self._repeat_interval,
            },
            "receivers": [
                {"name": "pages", "webhook_configs": [{"url": f"{self.pages.url}/page", "send_resolved": True}]}
            ],
        }
        if self._configuration is not None:
            config = self._configuration(self.pages.url)
        self.config.write_text(json.dumps(config), encoding="utf-8")

    def answers(self) -> bool:
        """Whether it is ready to take alerts."""
        return succeeds(f"{self.url}/-/ready")

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it holds as firing now, through its API v2."""
        return list(get_json(f"{self.url}/api/v2/alerts"))

    def notifications(self) -> list[dict[str, Any]]:
        """Every alert in every notification that its receiver took, in order: `status`, `labels`, `startsAt` ..."""
        return [alert for request in self.pages.accepted for alert in request.json()["alerts"]]

    def amtool(self, *arguments: str) -> str:
        """What `amtool` prints for this server. Raises `subprocess.CalledProcessError`."""
        command = ["amtool", f"--alertmanager.url={self.url}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=AMTOOL_SECONDS, check=True).stdout


def check_config(file: Path) -> list[str]:
    """What `amtool check-config` finds wrong with a configuration, line by line; empty when it is right."""
    command = ["amtool", "check-config", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=AMTOOL_SECONDS, check=False)
    return (run.stdout + run.stderr).splitlines() if run.returncode else []


def missing() -> str | None:
    """What has to be installed, in words; None when nothing is missing."""
    found = shutil.which("prometheus-alertmanager") and shutil.which("amtool")
    return None if found else "prometheus-alertmanager and amtool (Debian package prometheus-alertmanager)"
