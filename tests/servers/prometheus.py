"""A real Prometheus: scrapes what a test names, evaluates its rules, answers PromQL; and promtool's checks.

Session-wide it is the fixture `prometheus`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.servers.process import ServerProcess, free_ports, wait_until
from tests.servers.web_api import get_json, post, succeeds

PROMTOOL_SECONDS = 60.0
SCRAPE_SECONDS = 1


class Prometheus(ServerProcess):
    """Scrapes every second. `url` is its address."""

    def __init__(
        self,
        folder: Path,
        *,
        targets: Sequence[str] = (),
        rule_files: Sequence[Path] = (),
        alertmanagers: Sequence[str] = (),
    ) -> None:
        """`targets` and `alertmanagers` are host:port; both metrics and rules can be changed while it runs."""
        self._folder = folder
        self._targets = tuple(targets)
        self._rule_files = tuple(rule_files)
        self._alertmanagers = tuple(alertmanagers)
        [port] = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        run = ["prometheus", f"--config.file={folder / 'prometheus.json'}", "--web.enable-lifecycle"]
        run += ["--scrape.discovery-reload-interval=1s"]  # else a new target waits for up to 5 s more
        run += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        super().__init__("prometheus", run, log=folder / "prometheus.log")

    def prepare(self) -> None:
        """Writes its configuration (JSON is YAML)."""
        self._folder.mkdir(parents=True, exist_ok=True)
        every = f"{SCRAPE_SECONDS}s"
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "scrape_configs": [{"job_name": "heardback", "static_configs": [{"targets": self._targets}]}],
            "rule_files": [str(path.resolve()) for path in self._rule_files],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": self._alertmanagers}]}]},
        }
        (self._folder / "prometheus.json").write_text(json.dumps(config), encoding="utf-8")

    def answers(self) -> bool:
        """Whether it is ready to serve queries."""
        return succeeds(f"{self.url}/-/ready")

    def scrape(self, *targets: str, seconds: float = 15) -> None:
        """Scrapes these addresses (host:port) from now on, and only these; waits until each was scraped well.

        It takes some seconds. What others said before stays in the data: ask with `instance="host:port"`.
        """
        self._targets = targets
        self._reload()
        wait_until(lambda: set(targets) == self._up(), seconds=seconds, what=f"prometheus scraped {', '.join(targets)}")

    def evaluate(self, *rule_files: Path) -> None:
        """Evaluates these rule files from now on, and only these. Raises `OSError` with its words on a bad one."""
        self._rule_files = rule_files
        self._reload()

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The result of an instant query: `metric` (labels) and `value` (instant, text) each. Raises `OSError`."""
        answer = get_json(f"{self.url}/api/v1/query", {"query": promql})
        return list(answer["data"]["result"])

    def value(self, promql: str) -> float | None:
        """The number that a query for one series comes to; None where there is no series."""
        result = self.query(promql)
        assert len(result) < 2, f"{promql}: {len(result)} series"
        return float(result[0]["value"][1]) if result else None

    def alerts(self) -> list[dict[str, Any]]:
        """The pending and firing alerts of its rules."""
        return list(get_json(f"{self.url}/api/v1/alerts")["data"]["alerts"])

    def scrape_failures(self) -> dict[str, str]:
        """By address: what it said about targets that it could not scrape."""
        return {target["labels"]["instance"]: target["lastError"] for target in self._active() if target["lastError"]}

    def _reload(self) -> None:
        self.prepare()
        post(f"{self.url}/-/reload")

    def _active(self) -> list[dict[str, Any]]:
        return list(get_json(f"{self.url}/api/v1/targets")["data"]["activeTargets"])

    def _up(self) -> set[str]:
        return {target["labels"]["instance"] for target in self._active() if target["health"] == "up"}


def check_metrics(exposition: str) -> list[str]:
    """What `promtool check metrics` finds wrong with a scraped page, one complaint each; empty when it is clean."""
    run = _promtool("check", "metrics", given=exposition)
    return [line for line in (run.stdout + run.stderr).splitlines() if line]


def check_rules(*files: Path) -> list[str]:
    """What `promtool check rules` finds wrong with rule files, line by line; empty when they are right."""
    run = _promtool("check", "rules", *map(str, files))
    return (run.stdout + run.stderr).splitlines() if run.returncode else []


def run_rule_tests(*files: Path) -> list[str]:
    """What `promtool test rules` says about failing rule tests, line by line; empty when all pass."""
    run = _promtool("test", "rules", *map(str, files))
    return (run.stdout + run.stderr).splitlines() if run.returncode else []


def _promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], input=given, capture_output=True, text=True, timeout=PROMTOOL_SECONDS, check=False
    )


def missing() -> str | None:
    """What has to be installed, in words; None when nothing is missing."""
    found = shutil.which("prometheus") and shutil.which("promtool")
    return None if found else "prometheus and promtool (Debian package prometheus)"
