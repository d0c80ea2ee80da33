"""Panels of both dashboards: one data source, two abreast, a description each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH: Final = 12
"""Of a panel; the page has 24."""
HEIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel shows."""

    expr: str
    """PromQL."""
    legend: str = "__auto"
    """Of each series; labels in double braces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A panel with curves over time, or stacked areas."""

    title: str
    about: str
    """For who reads it: what it shows, and what to think of it."""
    unit: str
    """As Grafana names units."""
    queries: Sequence[Query]
    stacked: bool = False

    def panel(self) -> timeseries.Panel:
        """Return it as Grafana's panel."""
        mode = StackingMode.NORMAL if self.stacked else StackingMode.NONE
        legend = (
            common.VizLegendOptions()
            .show_legend(show_legend=True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
        panel = (
            timeseries.Panel()
            .legend(legend)
            .min(0)
            .fill_opacity(25 if self.stacked else 0)
            .stacking(common.StackingConfig().mode(mode))
        )
        for target in _targets(self.queries):
            panel.with_target(target)
        return panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A panel with one bar for each series, as of now."""

    title: str
    about: str
    unit: str
    queries: Sequence[Query]

    def panel(self) -> bargauge.Panel:
        """Return it as Grafana's panel."""
        panel = (
            bargauge.Panel()
            .orientation(VizOrientation.HORIZONTAL)
            .display_mode(BarGaugeDisplayMode.BASIC)
            .min(0)
            .reduce_options(_last())
        )
        for target in _targets(self.queries):
            panel.with_target(target.instant())
        return panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A panel with one figure for each series, as of now."""

    title: str
    about: str
    unit: str
    queries: Sequence[Query]

    def panel(self) -> stat.Panel:
        """Return it as Grafana's panel."""
        panel = stat.Panel().reduce_options(_last())
        for target in _targets(self.queries):
            panel.with_target(target.instant())
        return panel


Shown = Graph | Bars | Number


def made(
    uid: str, title: str, about: str, since: str, rows: Iterable[tuple[str, Sequence[Shown]]]
) -> Dashboard:
    """Return a dashboard.

    Args:
        uid: part of its address, for ever.
        title: of it.
        about: who it is for.
        since: what it shows at first, such as now-6h.
        rows: title → panels.
    """
    page = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["redlane"])
        .refresh("1m")
        .time(since, "now")
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    number = 0
    for row, panels in rows:
        number += 1
        page.with_row(dashboard.Row(row).id(number))
        for shown in panels:
            number += 1
            panel = shown.panel()
            panel.id(number).title(shown.title).description(shown.about).unit(shown.unit)
            panel.datasource(SOURCE).span(WIDTH).height(HEIGHT)
            page.with_panel(panel)
    return page


def _targets(queries: Sequence[Query]) -> list[Dataquery]:
    return [
        Dataquery().ref_id(letter).expr(query.expr).legend_format(query.legend)
        for letter, query in zip(ascii_uppercase, queries, strict=False)
    ]


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().values(values=False).calcs(["lastNotNull"])
