"""Panels and dashboards as this project uses them, on top of Grafana's own builders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import common, prometheus, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from compose.observability.queries import quantile

PROMETHEUS = models.DataSourceRef(type_val="prometheus", uid="prometheus")
TAG = "rendezvous"
HEIGHT = 8
_RANGE = "lookback=custom&limit=50&start=${__from}000&end=${__to}000"  # Jaeger counts microseconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One expression and the name of its series."""

    expr: str
    """PromQL."""
    legend: str
    """Grafana's template of the name, from the series' labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One graph over time."""

    title: str
    """What is drawn."""
    says: str
    """What it means, shown at the panel's corner."""
    queries: Sequence[Query]
    """What is asked."""
    unit: str = "short"
    """Grafana's name of the unit."""
    width: int = 8
    """Of 24."""
    stacked: bool = False
    """Whether the series add up to something."""
    limit: float | None = None
    """A line to stay below."""
    most: float | None = None
    """The top of the axis; None: as needed."""
    traces: Literal["endpoint", "model", "none"] = "endpoint"
    """Whose spans in Jaeger a click on a series leads to, by the labels that the series have."""


Variable = Builder[models.VariableModel]
"""A variable of a dashboard, being built."""

ENDPOINT: Variable = (
    build.QueryVariable("endpoint")
    .label("Endpoint")
    .datasource(PROMETHEUS)
    .query("label_values(rendezvous_endpoint_revision, rendezvous_endpoint)")
    .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    .multi(True)
    .include_all(True)
    .all_value(".*")
)
MODEL: Variable = (
    build.QueryVariable("model")
    .label("Model")
    .datasource(PROMETHEUS)
    .query('label_values(rendezvous_model_replicas{rendezvous_endpoint=~"$endpoint"}, rendezvous_model)')
    .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    .multi(True)
    .include_all(True)
    .all_value(".*")
)
JAEGER: Variable = (
    build.TextBoxVariable("jaeger")
    .label("Jaeger")
    .description("Address of Jaeger's pages as your browser sees it; the links lead there.")
    .default_value("http://localhost:16686")
)


def quantiles(histogram: str, by: str, where: str, name: str) -> list[Query]:
    """Returns median, 95th and 99th percentile of a histogram; *name* is the legend's beginning."""
    return [
        Query(expr=quantile(q, histogram, by, where), legend=f"{name} {label}")
        for q, label in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
    ]


def dashboard(
    *, uid: str, title: str, says: str, variables: Sequence[Variable], rows: Sequence[tuple[str, Sequence[Panel]]]
) -> models.Dashboard:
    """Returns a dashboard of the given rows of panels."""
    board = (
        build.Dashboard(title)
        .uid(uid)
        .description(says)
        .tags([TAG])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .refresh("10s")
        .time("now-30m", "now")
        .timezone("browser")
        .link(_link("Traces in Jaeger", f"${{jaeger}}/search?service=rendezvous-router&{_RANGE}"))
        .link(build.DashboardLink("Rendezvous").type(models.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True))
    )
    for variable in (*variables, JAEGER):
        board = board.with_variable(variable)
    number = 0
    for row, panels in rows:
        board = board.with_row(build.Row(row))
        for panel in panels:
            number += 1
            board = board.with_panel(_graph(panel).id(number))
    return board.build()


def _graph(panel: Panel) -> timeseries.Panel:
    graph = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.says)
        .datasource(PROMETHEUS)
        .unit(panel.unit)
        .min(0)
        .span(panel.width)
        .height(HEIGHT)
        .fill_opacity(25 if panel.stacked else 5)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(common.VizLegendOptions().show_legend(True).placement(common_models.LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
        .data_links(_traces(panel))
    )
    if panel.stacked:
        graph = graph.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if panel.most is not None:
        graph = graph.max(panel.most)
    if panel.limit is not None:
        steps = [models.Threshold(value=None, color="green"), models.Threshold(value=panel.limit, color="red")]
        style = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.LINE)
        graph = graph.thresholds(build.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
        graph = graph.thresholds_style(style)
    for index, query in enumerate(panel.queries):
        graph = graph.with_target(
            prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + index))
        )
    return graph


def _traces(panel: Panel) -> list[Builder[models.DashboardLink]]:
    """Returns the links behind a panel's series: the traces of its endpoint, and of its model."""
    if panel.traces == "none":
        return []
    service = "${__field.labels.rendezvous_model}" if panel.traces == "model" else "rendezvous-router"
    tags = "%7B%22rendezvous.endpoint%22%3A%22${__field.labels.rendezvous_endpoint}%22%7D"
    return [_link("Traces in Jaeger", f"${{jaeger}}/search?service={service}&tags={tags}&{_RANGE}")]


def _link(title: str, url: str) -> build.DashboardLink:
    return build.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url).target_blank(True)
