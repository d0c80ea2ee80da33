"""The dashboards: up to date, of metrics that exist, and every metric is on one of them."""

import copy
import json
from itertools import combinations, pairwise
from pathlib import Path
from typing import get_type_hints

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import UnknownDataquery, panelcfg_config
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase
from pydantic import TypeAdapter, ValidationError

from streams import metrics
from streams.operations.dashboards.__main__ import dashboards

FOLDER = Path(__file__).parents[3] / "deploy" / "grafana" / "dashboards"
PAGES = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
PANELS = [
    pytest.param(panel, id=f"{name} {panel['title']}")
    for name, page in PAGES.items()
    for panel in page["panels"]
    if panel["type"] != "row"
]
UNSHOWN: dict[str, str] = {}
"""Metrics on no dashboard, and why."""
TARGET = {"job", "instance"}
"""Labels that Prometheus adds."""
OF_PROCESS = {"process_start_time_seconds": set(), "process_resident_memory_bytes": set()}


def of_redlane():
    """Name of each series as Prometheus stores it → its labels; and the metric that it is of."""
    series, metric_of = {}, {}
    for metric in vars(metrics).values():
        if not isinstance(metric, MetricWrapperBase):
            continue
        labels = set(metric._labelnames)
        name = metric._name
        names = {f"{name}_total": labels} if metric._type == "counter" else {name: labels}
        if isinstance(metric, Histogram):
            names = {f"{name}_{end}": labels for end in ("sum", "count")}
            names[f"{name}_bucket"] = labels | {"le"}
        series |= names
        metric_of |= dict.fromkeys(names, name)
    return series, metric_of


SERIES, METRIC_OF = of_redlane()


def parsed(target):
    """The query, Grafana's own variables in it replaced."""
    return promql_parser.parse(target["expr"].replace("$__rate_interval", "5m"))


def nodes(node):
    """Yield the parts of a query, whatever they are of."""
    yield node
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        below = getattr(node, name, None)
        if below is not None:
            yield from nodes(below)
    for below in getattr(node, "args", ()):
        yield from nodes(below)


def selectors(node):
    return [each for each in nodes(node) if isinstance(each, promql_parser.VectorSelector)]


def test_the_files_are_up_to_date():
    """As `make check` finds."""
    assert dashboards() == PAGES


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_metrics_and_labels_that_exist(panel):
    """A misspelt one would show nothing, for ever."""
    known = SERIES | OF_PROCESS
    for target in panel["targets"]:
        query = parsed(target)
        found = selectors(query)
        assert {each.name for each in found} <= known.keys()
        for each in found:
            assert {matcher.name for matcher in each.matchers.matchers} <= known[each.name] | TARGET
        for each in nodes(query):
            if isinstance(each, promql_parser.AggregateExpr) and each.modifier is not None:
                for selector in selectors(each.expr):
                    assert set(each.modifier.labels) <= known[selector.name] | TARGET
        given = set().union(*(known[each.name] for each in found)) | TARGET
        shown = {part.partition("}}")[0] for part in target["legendFormat"].split("{{")[1:]}
        assert shown <= given


def test_every_metric_is_on_a_dashboard():
    """Or there is a reason why not."""
    asked = {
        METRIC_OF[selector.name]
        for panel in PANELS
        for target in panel.values[0]["targets"]
        for selector in selectors(parsed(target))
        if selector.name in METRIC_OF
    }
    assert asked | UNSHOWN.keys() == set(METRIC_OF.values())
    assert not asked & UNSHOWN.keys()


register_default_plugins()  # else options of panels and queries are read as they come


def refused(page):
    """What Grafana's model, as its own SDK has it, does not know of a dashboard; empty if all is well.

    The SDK drops fields that it does not know and adds those that are missing; it checks no type.
    """
    read = Dashboard.from_json(page)
    found = [] if json.loads(json.dumps(read, cls=JSONEncoder)) == page else ["other fields"]
    kinds = {panel["type"] for panel in page["panels"]} - {"row"}
    found += [f"no panel {kind}" for kind in kinds if panelcfg_config(kind) is None]
    return found + list(of_other_type(read, "dashboard"))


def of_other_type(model, path):
    """Yield the fields at and below an object of the SDK that are not of the type they should be."""
    if isinstance(model, UnknownDataquery):
        yield path
        return
    for name, hint in get_type_hints(type(model)).items():
        value, place = getattr(model, name), f"{path}.{name}"
        members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]  # fmt: skip
        models = [each for each in members if type(each).__module__.startswith("grafana_")]
        kind = TypeAdapter(hint, config={"arbitrary_types_allowed": True, "strict": True})
        try:
            if models:
                kind.validate_python(value)
            else:  # as JSON, where members of enumerations are words
                kind.validate_json(json.dumps(value))
        except ValidationError:
            yield place
        for each in models:
            yield from of_other_type(each, place)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["liveNew"], True),
        (["graphTooltip"], 9),
        (["panels", 1, "type"], "timeserie"),
        (["panels", 1, "title"], 5),
        (["panels", 1, "options", "legend", "displayMode"], "liste"),
        (["panels", 1, "options", "legend", "showLegends"], True),
        (["panels", 1, "fieldConfig", "defaults", "min"], "0"),
        (["panels", 1, "fieldConfig", "defaults", "custom", "stacking", "mode"], "norma"),
        (["panels", 1, "targets", 0, "expr"], 5),
        (["panels", 1, "targets", 0, "legend"], "{{topic}}"),
        (["panels", 1, "repeatDirection"], "d"),
        (["panels", 1, "gridPos"], {"h": 8, "x": 0, "y": 1}),
    ],
    ids=lambda given: given[-1] if isinstance(given, list) else "",
)
def test_a_mistake_in_a_dashboard_is_found(place, value):
    """Wherever it is: a field that is unknown or missing, or a value of another type."""
    page = copy.deepcopy(PAGES["operators.json"])
    assert page["panels"][1]["type"] == "timeseries"
    *path, last = place
    node = page
    for step in path:
        node = node[step]
    node[last] = value
    assert refused(page)


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_dashboard_is_one_of_grafanas(page):
    """Nothing in it that Grafana's model does not know, or that lies upon something else."""
    assert refused(page) == []
    panels = page["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    for panel in panels:
        if panel["type"] == "row":
            continue
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        letters = [target["refId"] for target in panel["targets"]]
        assert letters[0] == "A"
        assert all(ord(after) == ord(before) + 1 for before, after in pairwise(letters))


def test_the_two_have_addresses_of_their_own():
    assert {page["uid"] for page in PAGES.values()} == {"redlane-operators", "redlane-model-owner"}
