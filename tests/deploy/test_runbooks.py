"""A runbook for whatever can alert, and none for what cannot: found by the address that the alert itself carries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from schemas.alerts import Kind
from tests.alerting.records import alerts_of, overdue
from tests.deploy.test_prometheus import ANNOTATIONS, TEST_FILES, alerts

FOLDER = Path(__file__).parents[2] / "deploy/runbooks"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.stem != "README")
KINDS = get_args(Kind)
SECTIONS = ["What it means", "Who is hurt", "Do first", "See it", "When it lies", "How it ends"]


def named(url: str) -> str:
    """The page that an alert's `runbook_url` leads to."""
    base, _, name = url.rpartition("/")
    assert base.endswith("/runbooks") or base == "https://runbooks.example", url
    return name


def test_every_kind_of_alert_and_every_rule_has_one_and_each_is_of_one() -> None:
    assert {page.stem for page in PAGES} == {*KINDS, *alerts()}


def test_an_alert_of_heardback_leads_to_the_page_of_its_kind() -> None:
    [breach] = alerts_of(overdue())
    assert named(breach["annotations"]["runbook_url"]) == "breach"
    assert (FOLDER / "breach.md").is_file()


@pytest.mark.parametrize("name", alerts())
def test_a_rule_leads_to_its_page_and_to_the_board(name: str) -> None:
    annotations = alerts()[name]["annotations"]
    assert named(annotations["runbook_url"]) == name
    assert annotations["board_url"].startswith("http://127.0.0.1:8080/")


def fired() -> list[Any]:
    """What the rules' tests expect of alerts that fire, with all that is said."""
    return [
        pytest.param(alert, id=case["alertname"])
        for file in TEST_FILES
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for case in test.get("alert_rule_test", ())
        for alert in case["exp_alerts"]
    ]


@pytest.mark.parametrize("alert", fired())
def test_what_an_alert_says_is_tested_as_it_is_read_with_its_values(alert: dict[str, Any]) -> None:
    assert set(alert["exp_annotations"]) == ANNOTATIONS
    assert not any("{{" in text or "<error" in text for text in alert["exp_annotations"].values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_runbook_says_what_whom_what_first_how_to_see_when_it_lies_and_how_it_ends(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.stem}\n\n*")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    for section in re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]:
        assert len(section.split()) >= 2, section
    assert "\n1. " in text


@pytest.mark.parametrize("page", [*PAGES, FOLDER / "README.md"], ids=lambda page: page.stem)
def test_what_a_page_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        assert (FOLDER / target).exists(), target


def test_the_index_names_every_page() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\((\w+)\.md\)", index)) == [page.stem for page in sorted(PAGES)]
