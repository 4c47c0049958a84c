"""The dashboards as files: current, complete, and every query of them PromQL. What the queries return is tried in
`test_queries`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.panels import BOARD_URL
from deploy.grafana.written import FOLDER, written
from tests.deploy.promql import names, selectors
from tests.deploy.test_prometheus import recorded

GRAFANA = FOLDER.parent
ROOT = Path(__file__).parents[2]
# What a user's Grafana would put there.
INTERPOLATED = {"$__rate_interval": "1m", "$__range": "24h", "$tier": ".*", "$policy": ".*"}
register_default_plugins()  # else the model knows no kind of panel
DASHBOARDS: dict[str, Mapping[str, Any]] = {name: json.loads(text) for name, text in written().items()}


def panels() -> Iterator[Any]:
    """Every panel of every dashboard, as pytest parameters: the file's name and the panel."""
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield pytest.param(panel, id=f"{name.removesuffix('.json')}: {panel['title']}")


def expressions(panel: Mapping[str, Any]) -> list[str]:
    """The queries of a panel, as Grafana would send them."""
    found = []
    for target in panel["targets"]:
        expression: str = target["expr"]
        for variable, value in INTERPOLATED.items():
            expression = expression.replace(variable, value)
        found.append(expression)
    return found


def test_the_committed_files_are_what_the_code_makes() -> None:
    committed = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")}
    assert committed == written(), "run `python -m deploy.grafana` and commit what it writes"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_what_is_written_is_a_dashboard_to_grafanas_own_model(name: str) -> None:
    read = models.Dashboard.from_json(dict(DASHBOARDS[name]))
    again = json.loads(json.dumps(read, cls=JSONEncoder))
    assert [panel["title"] for panel in again["panels"]] == [panel["title"] for panel in DASHBOARDS[name]["panels"]]
    assert again == DASHBOARDS[name]


def test_there_are_the_four_dashboards_each_with_an_address_of_its_own() -> None:
    uids = {dashboard["uid"]: dashboard["title"] for dashboard in DASHBOARDS.values()}
    assert set(uids) == {"heardback-now", "heardback-promises", "heardback-channels", "heardback-itself"}
    assert all(dashboard["description"] and dashboard["tags"] == ["heardback"] for dashboard in DASHBOARDS.values())


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_names_of_their_own_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    found = DASHBOARDS[name]["panels"]
    titles = [panel["title"] for panel in found]
    assert len(set(titles)) == len(titles)
    assert len({panel["id"] for panel in found}) == len(found)
    taken = [
        (x, y)
        for at in (panel["gridPos"] for panel in found)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


@pytest.mark.parametrize("panel", list(panels()))
def test_a_panel_says_what_it_is_in_what_unit_and_where_to_go_on(panel: Mapping[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    assert "${board}/" in {link["url"] for link in panel["links"]}
    for link in panel["links"]:
        base, _, runbook = link["url"].partition("/")
        assert base in {"${board}", "${runbooks}"}
        assert not runbook or (ROOT / "deploy/runbooks" / f"{runbook}.md").is_file(), runbook


@pytest.mark.parametrize("panel", list(panels()))
def test_a_query_is_promql_and_reads_only_what_somebody_writes(panel: Mapping[str, Any]) -> None:
    assert panel["targets"]
    for expression in expressions(panel):
        assert "$" not in expression
        assert selectors(expression)
        for name in names(expression):
            assert name == "up" or name.startswith("responsiveness_") or name in recorded(), name


@pytest.mark.parametrize("name", DASHBOARDS)
def test_data_source_board_and_runbooks_are_variables_and_every_variable_that_is_used_exists(name: str) -> None:
    dashboard = DASHBOARDS[name]
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert {"datasource", "board", "runbooks"} <= set(variables)
    assert variables["datasource"]["type"] == "datasource"
    assert variables["board"]["query"] == BOARD_URL
    text = json.dumps(dashboard["panels"])
    assert all(f"${variable}" in text or f"${{{variable}" in text for variable in variables)
    for variable in ("tier", "policy"):
        assert (variable in variables) == (f"${variable}" in text)


def test_what_is_shipped_for_provisioning_fits_together() -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["uid"]) == ("prometheus", "prometheus")
    for dashboard in DASHBOARDS.values():
        [variable] = [one for one in dashboard["templating"]["list"] if one["name"] == "datasource"]
        assert variable["current"]["value"] == source["uid"]
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/heardback.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
