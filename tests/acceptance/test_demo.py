"""`heardback demo --exit`: what a newcomer sees, and what it leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.acceptance.heardback import command

SEEN = (
    "at risk",
    "PAGE",
    "resolved",
    "dead_end",
    "reply_bounced",
    "waiting",
    "Who is waiting, live: http://127.0.0.1:",
    "/metrics",
    "/customers/alba-freight",
    "/contacts/",
    "What it came to",
    "/reports/2026-W46",
    "customers were let down, the longest alba-freight, who tried 4 times (email, form, ticket and social)",
)


@pytest.mark.slow
def test_the_demo_shows_each_kind_of_alert_and_ends_with_status_0_and_leaves_nothing_behind(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    for name in ("first", "again"):
        folder = tmp_path / name
        for made in (folder, temporary):
            made.mkdir(exist_ok=True)
        done = command(
            *("demo", "--exit", "--seconds", 8, "--port", 0), folder=folder, settings={"TMPDIR": str(temporary)}
        )
        assert done.returncode == 0, done.stderr
        assert [words for words in SEEN if words not in done.stdout] == []
        assert "about 8 seconds" in done.stdout
        assert "Traceback" not in done.stderr
        assert os.listdir(folder) == []  # noqa: PTH208 - hidden ones too
        assert os.listdir(temporary) == []  # noqa: PTH208
