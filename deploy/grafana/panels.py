"""What all dashboards have in common: the kinds of panel, the variables, and where things link to.

A panel needs a title, a sentence that says how to read it, a unit and its queries; it links to the board and to the
runbook of the alert that watches the same thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATA_SOURCE: Final = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")
BOARD: Final = "${board}"
RUNBOOKS: Final = "${runbooks}"
BOARD_URL: Final = "http://127.0.0.1:8080"
CUSTOMER_URL: Final = f"{BOARD}/customers/${{__data.fields.customer_id:percentencode}}"
ANSWERS: Final = 'target=~"first_response|next_response"'
"""Of the clocks of a contact, exactly one of these runs while its customer waits for an answer."""

SECONDS: Final = "s"
SHARE: Final = "percentunit"
COUNT: Final = "short"
PER_SECOND: Final = "ops"
YES_OR_NO: Final = "bool_yes_no"
NO_UNIT: Final = "none"

GREEN, YELLOW, RED = "green", "yellow", "red"
WIDTH: Final = 24
_BY_STATE: Final = {"ok": GREEN, "at_risk": YELLOW, "overdue": RED}


class Query(NamedTuple):
    """PromQL, and what its series are called in the legend (labels as `{{tier}}`)."""

    expr: str
    legend: str = ""


Steps = Sequence[tuple[float | None, str]]
"""From which value on what colour; None: from the beginning."""

ANY_IS_BAD: Final[Steps] = ((None, GREEN), (1, RED))
ANY_IS_A_WARNING: Final[Steps] = ((None, GREEN), (1, YELLOW))
PLAIN: Final[Steps] = ((None, "blue"),)


def number(
    title: str, about: str, unit: str, expr: str, *, steps: Steps = PLAIN, runbook: str = "", span: int = 4
) -> Any:
    """One number, as of now."""
    panel = (
        stat.Panel()
        .color_mode(kinds.BigValueColorMode.VALUE)
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .height(4)
    )
    return _furnished(panel, title, about, unit, [Query(expr)], runbook, span, steps, instant=True)


def graph(
    title: str,
    about: str,
    unit: str,
    *queries: Query,
    runbook: str = "",
    span: int = 12,
    stacked: bool = False,
    bars: bool = False,
    steps: Steps = PLAIN,
) -> Any:
    """Numbers over time. `steps` beyond the first are drawn as lines."""
    panel = (
        timeseries.Panel()
        .height(8)
        .fill_opacity(60 if bars else 20 if stacked else 5)
        .line_width(1)
        .axis_soft_min(0)
        .show_points(kinds.VisibilityMode.NEVER)
        .draw_style(kinds.GraphDrawStyle.BARS if bars else kinds.GraphDrawStyle.LINE)
        .stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL if stacked else kinds.StackingMode.NONE))
        .legend(common.VizLegendOptions().show_legend(True).placement(kinds.LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
    )
    if len(steps) > 1:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED))
    for state, colour in _BY_STATE.items():
        panel.override_by_regexp(f"/(^| ){state}$/", [_fixed(colour)])
    return _furnished(panel, title, about, unit, queries, runbook, span, steps)


def ranking(
    title: str,
    about: str,
    unit: str,
    expr: str,
    legend: str,
    *,
    steps: Steps = PLAIN,
    runbook: str = "",
    span: int = 8,
    most: float | None = None,
) -> Any:
    """One bar for each series, as of now. `most`: where a full bar ends."""
    panel = (
        bargauge.Panel()
        .height(8)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .min(0)
    )
    if most is not None:
        panel.max(most)
    return _furnished(panel, title, about, unit, [Query(expr, legend)], runbook, span, steps, instant=True)


def listing(
    title: str,
    about: str,
    unit: str,
    columns: dict[str, str],
    *,
    runbook: str = "",
    span: int = 12,
    units: dict[str, str] | None = None,
    sorted_by: str = "",
    links: dict[str, str] | None = None,
) -> Any:
    """A table: one row for each set of labels, `columns` by their heading. `units` and `links` are by heading, or
    by label."""
    names = [chr(ord("A") + at) for at in range(len(columns))]
    # A single query comes without its name behind `Value`.
    renamed = {f"Value #{name}": heading for name, heading in zip(names, columns, strict=True)}
    if len(columns) == 1:
        renamed["Value"] = next(iter(columns))
    panel = (
        table.Panel()
        .height(9)
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize", options={"excludeByName": {"Time": True}, "renameByName": renamed}
            )
        )
    )
    for heading, other in (units or {}).items():
        panel.override_by_name(heading, [models.DynamicConfigValue("unit", other)])
    for label, url in (links or {}).items():
        link = {"title": "Their journey, on the board", "url": url, "targetBlank": True}
        panel.override_by_name(label, [models.DynamicConfigValue("links", [link])])
    if sorted_by:
        panel.sort_by([common.TableSortByFieldState().display_name(sorted_by).desc(True)])
    return _furnished(
        panel, title, about, unit, [Query(expr) for expr in columns.values()], runbook, span, PLAIN,
        instant=True, rows=True,
    )  # fmt: skip


def board(title: str, uid: str, about: str, *rows: tuple[str, Sequence[Any]], filters: Sequence[Any] = ()) -> Any:
    """A dashboard of rows of panels, with the variables that all have and its own `filters`."""
    found = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["heardback"])
        .editable()
        .time("now-24h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables([*_variables(), *filters])
    )
    found.links(
        [
            dashboard.DashboardLink("heardback")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["heardback"])
            .as_dropdown(False)
            .keep_time(True)
            .include_vars(True)
            .icon("external link"),
            _link("The live board", f"{BOARD}/"),
            _link("Runbooks", f"{RUNBOOKS}/"),
        ]
    )
    numbers = count(1)
    for heading, panels in rows:
        found.with_row(dashboard.Row(heading).id(next(numbers)))
        for panel in panels:
            found.with_panel(panel.id(next(numbers)))
    return found.build()


def picked(label: str, of_metric: str) -> Any:
    """A filter by the values that a label of a metric has."""
    return (
        dashboard.QueryVariable(label)
        .label(label.capitalize())
        .description(f"Only these values of {label}.")
        .datasource(DATA_SOURCE)
        .query({"query": f"label_values({of_metric}, {label})", "refId": label})
        .definition(f"label_values({of_metric}, {label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _variables() -> list[Any]:
    return [
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes heardback.")
        .type("prometheus")
        .current(models.VariableOption(selected=True, text="Prometheus", value="prometheus")),
        dashboard.TextBoxVariable("board")
        .label("Board")
        .description("Where heardback's own pages are, as a browser reaches them.")
        .default_value(BOARD_URL),
        dashboard.TextBoxVariable("runbooks")
        .label("Runbooks")
        .description("Where the runbooks are: heardback serves them, or any other place with deploy/runbooks.")
        .default_value(f"{BOARD_URL}/runbooks"),
    ]


def _furnished(
    panel: Any, title: str, about: str, unit: str, queries: Sequence[Query], runbook: str, span: int, steps: Steps,
    *, instant: bool = False, rows: bool = False,
) -> Any:  # fmt: skip
    """What every panel has."""
    links = [_link("The live board", f"{BOARD}/")]
    if runbook:
        links.append(_link(f"Runbook: {runbook}", f"{RUNBOOKS}/{runbook}"))
    panel.title(title).description(about).unit(unit).span(span).datasource(DATA_SOURCE).links(links)
    panel.thresholds(
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in steps])
    )
    for at, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + at)).datasource(DATA_SOURCE)
        if query.legend:
            target.legend_format(query.legend)
        if instant:
            target.instant()
        else:
            target.range()
        if rows:
            target.format(PromQueryFormat.TABLE)
        panel.with_target(target)
    return panel


def _link(title: str, url: str) -> Any:
    return (
        dashboard.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .url(url)
        .target_blank(True)
        .icon("external link")
    )


def _fixed(colour: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
