"""The real servers as fixtures, and what becomes of a test whose server is not installed.

A test says which servers it needs by their fixtures or, where it starts its own, by their markers. Without the server
it is skipped with the name of the missing package; in CI, where everything must run, it fails.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.servers import alertmanager as alertmanager_server
from tests.servers import chromium as chromium_browser
from tests.servers import kafka as kafka_server
from tests.servers import postgresql as postgresql_server
from tests.servers import prometheus as prometheus_server
from tests.servers.process import forget_ended, seen_servers

MISSING = {
    "alertmanager": alertmanager_server.missing,
    "chromium": chromium_browser.missing,
    "kafka": kafka_server.missing,
    "postgresql": postgresql_server.missing,
    "prometheus": prometheus_server.missing,
}
"""By marker: what has to be installed, or None."""

# How long an example takes says nothing on shared cores. CI tries the same examples each time; developers new ones.
hypothesis.settings.register_profile(
    "heardback", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("heardback")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Who asks for a server's fixture needs the server. Where several processes share the files of tests, those with
    most that takes long come first, so that nobody is left alone with one.
    """
    for item in items:
        for name in set(MISSING) & set(getattr(item, "fixturenames", ())):
            item.add_marker(name)
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose server is missing; fails it in CI."""
    forget_ended()
    for name, missing in MISSING.items():
        if item.get_closest_marker(name) and (what := missing()):
            if os.environ.get("CI"):
                pytest.fail(f"missing: {what}", pytrace=False)
            pytest.skip(f"missing: {what}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows the end of its servers' logs under a failed test."""
    report = yield
    if report.failed:
        for server in seen_servers():
            if item.get_closest_marker(server.name):
                report.sections.append((f"log of {server.name}", server.log_tail()))
    return report


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nobody may write; root may write anywhere but where it is mounted read-only."""
    folder = tmp_path / "sealed"
    folder.mkdir(mode=0o500)
    if os.geteuid() != 0:
        yield folder
        return
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], check=False).returncode:
        pytest.skip("root may write everywhere, and may mount nothing here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka_server.Kafka]:
    """One broker for all tests of this process: leave it running, and use topics of your own."""
    with kafka_server.Kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus_server.Prometheus]:
    """One Prometheus for all tests of this process: say by `scrape` and `evaluate` what it is to look at."""
    with prometheus_server.Prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="session")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[alertmanager_server.Alertmanager]:
    """One Alertmanager for all tests of this process: leave it running, and use labels of your own."""
    with alertmanager_server.Alertmanager(tmp_path_factory.mktemp("alertmanager")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgresql_server.PostgreSQL]:
    """One PostgreSQL for all tests of this process: ask it for a database of your own."""
    with postgresql_server.PostgreSQL(tmp_path_factory.mktemp("postgresql")) as server:
        yield server
