"""The dashboard of the model's owner: do scores drift, are they right, what are they made of."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from streams.operations.dashboards.panels import Bars, Graph, Number, Query, Shown, made

LATELY: Final = "1d"
BEFORE: Final = "28d"
LEAST: Final = 0.0001
"""Share that an empty band is taken to have: the index has no finite value at 0."""
PERIOD: Final = "28d"
"""Of outcomes: there are few."""


def stability_index(metric: str, by: str) -> str:
    """Return the population stability index of the last day against the 28 days before it.

    Σ (p − q) · ln(p / q) over the shares of all bands (Siddiqi, Credit Risk Scorecards, 2006).

    Args:
        metric: a counter.
        by: its label with the bands.
    """

    def shares(window: str) -> str:
        growth = f"increase({metric}{window})"
        return f"clamp_min(sum by ({by}) ({growth}) / scalar(sum({growth})), {LEAST})"

    now, then = shares(f"[{LATELY}]"), shares(f"[{BEFORE}] offset {LATELY}")
    return f"sum(({now} - {then}) * ln({now} / {then}))"


SCORES: Final[tuple[Shown, ...]] = (
    Graph(
        title="Risk",
        about="Share of declarations in each tenth of the risk, over an hour.",
        unit="percentunit",
        stacked=True,
        queries=[
            Query(
                "sum by (band) (rate(redlane_risks_total[1h])) "
                "/ scalar(sum(rate(redlane_risks_total[1h])))",
                "{{band}}",
            )
        ],
    ),
    Graph(
        title="Drift",
        about="Population stability index of the last day against the 28 days before it. Below "
        "0.1: none; above 0.25: other declarations than before, or another model. Prometheus must "
        "keep 29 days.",
        unit="short",
        queries=[
            Query(stability_index("redlane_risks_total", "band"), "risk"),
            Query(stability_index("redlane_hs_sets_total", "level"), "sets of codes"),
            Query(stability_index("redlane_degradations_total", "evidence"), "missing evidence"),
        ],
    ),
)
OUTCOMES: Final[tuple[Shown, ...]] = (
    Bars(
        title="Risk that was assessed",
        about="Mean of the inspected declarations of each tenth, over 28 days.",
        unit="percentunit",
        queries=[
            Query(
                f"sum by (band) (increase(redlane_inspected_risk_total[{PERIOD}])) "
                f"/ sum by (band) (increase(redlane_inspected_total[{PERIOD}])) > 0",
                "{{band}}",
            )
        ],
    ),
    Bars(
        title="Share that was irregular",
        about="Of the same. Calibrated: each bar is as long as the one beside it. Few outcomes "
        "tell little, and inspectors who look harder at red find more.",
        unit="percentunit",
        queries=[
            Query(
                "sum by (band) "
                f'(increase(redlane_inspected_total{{result="irregular"}}[{PERIOD}])) '
                f"/ sum by (band) (increase(redlane_inspected_total[{PERIOD}])) > 0",
                "{{band}}",
            )
        ],
    ),
    Graph(
        title="Hits",
        about="Share of the inspected declarations that were irregular, and the mean of the risks "
        "that they were assessed with, over a week.",
        unit="percentunit",
        queries=[
            Query(
                'sum(increase(redlane_inspected_total{result="irregular"}[7d])) '
                "/ sum(increase(redlane_inspected_total[7d]))",
                "irregular",
            ),
            Query(
                "sum(increase(redlane_inspected_risk_total[7d])) "
                "/ sum(increase(redlane_inspected_total[7d]))",
                "assessed",
            ),
        ],
    ),
    Number(
        title="Outcomes",
        about="Inspected declarations that the figures beside rest on, over 28 days.",
        unit="short",
        queries=[Query(f"sum(increase(redlane_inspected_total[{PERIOD}]))", "outcomes")],
    ),
)
EVIDENCE: Final[tuple[Shown, ...]] = (
    Graph(
        title="Missing evidence",
        about="Pieces of each kind for each declaration, over an hour; item by item, so one "
        "declaration may miss many.",
        unit="short",
        queries=[
            Query(
                "sum by (evidence) (rate(redlane_degradations_total[1h])) "
                '/ scalar(sum(rate(redlane_declarations_total{fate!="dead_letter"}[1h])))',
                "{{evidence}}",
            )
        ],
    ),
    Graph(
        title="Codes that cannot be told",
        about="Share of goods items whose set of codes is empty, or no finer than chapters, over "
        "an hour.",
        unit="percentunit",
        queries=[
            Query(
                'sum by (level) (rate(redlane_hs_sets_total{level=~"none|chapter"}[1h])) '
                "/ scalar(sum(rate(redlane_hs_sets_total[1h])))",
                "{{level}}",
            )
        ],
    ),
    Graph(
        title="Sets of codes, by level",
        about="Share of goods items, over an hour.",
        unit="percentunit",
        stacked=True,
        queries=[
            Query(
                "sum by (level) (rate(redlane_hs_sets_total[1h])) "
                "/ scalar(sum(rate(redlane_hs_sets_total[1h])))",
                "{{level}}",
            )
        ],
    ),
    Bars(
        title="Reasons",
        about="The most frequent ones of a day, for each 100 declarations.",
        unit="short",
        queries=[
            Query(
                "topk(15, 100 * sum by (code) (increase(redlane_reasons_total[1d])) "
                '/ scalar(sum(increase(redlane_declarations_total{fate!="dead_letter"}[1d]))))',
                "{{code}}",
            )
        ],
    ),
)


def model_owner() -> Dashboard:
    """Return the dashboard."""
    return made(
        "redlane-model-owner",
        "Redlane: model owner",
        "Whether scores drift, whether outcomes confirm them, and what evidence they rest on.",
        "now-7d",
        (("Scores", SCORES), ("Outcomes", OUTCOMES), ("Evidence", EVIDENCE)),
    )
