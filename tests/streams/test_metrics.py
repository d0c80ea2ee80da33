"""What the stages count, as operators and the model's owner read it."""

import pytest
from prometheus_client import REGISTRY

from streams import metrics
from tests.fakes import inbound
from tests.streams.following import Following, delivered, named, outcome
from tests.streams.stages.test_screen import risky


class Counts(dict):
    """How much each sample has grown since it was made."""

    def __init__(self):
        super().__init__(self._now())

    def _now(self):
        return {
            (sample.name, *sample.labels.values()): sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if sample.name.startswith("redlane_")
        }

    def grown(self, name):
        """Labels → growth of a metric's samples that grew."""
        growth = {
            key[1:]: value - self.get(key, 0.0)
            for key, value in self._now().items()
            if key[0] == name
        }
        return {labels: value for labels, value in growth.items() if value}


async def test_verdicts_are_counted_by_risk_and_what_was_missing():
    """By tenths of the risk, by the level of the sets, by the evidence."""
    counts = Counts()
    await Following().screened(risky(0.35, 1, images=()), inbound(risky(0.97, 2), offset=6))
    assert counts.grown("redlane_risks_total") == {("0.3-0.4",): 1, ("0.9-1.0",): 1}
    assert counts.grown("redlane_hs_sets_total") == {("none",): 2}
    assert counts.grown("redlane_degradations_total")["image", "photo_absent"] == 1
    assert counts.grown("redlane_degraded_declarations_total")[()] >= 1
    assert counts.grown("redlane_batch_events_count") == {(): 1}
    assert counts.grown("redlane_batch_events_sum") == {(): 2}
    assert counts.grown("redlane_events_total") == {("screen",): 2}


async def test_outcomes_are_compared_with_the_risk_that_was_assessed():
    """Once each, and only of declarations that were selected here."""
    following, counts = Following(), Counts()
    await following.screened(risky(0.9, 1), inbound(risky(0.6, 2), offset=6))
    await following.through(
        "learn",
        outcome("D1", outcome_id="a"),
        outcome("D1", outcome_id="a"),
        outcome("D2", outcome_id="b", result="conforming"),
        outcome("D3", outcome_id="c"),
    )
    assert counts.grown("redlane_inspected_total") == {
        ("0.9-1.0", "irregular"): 1,
        ("0.6-0.7", "conforming"): 1,
    }
    assert counts.grown("redlane_inspected_risk_total") == pytest.approx(
        {("0.9-1.0",): 0.9, ("0.6-0.7",): 0.6}
    )


async def test_dead_letters_are_counted_by_stage_and_reason():
    following, counts = Following(), Counts()
    await following.through("screen", inbound(value=b"nonsense", offset=1))
    alert = named(await following.screened(risky(0.9, description="BUG RISK 0.9")), "alerts")
    await following.through("explain", delivered(alert))
    await following.through("learn", inbound(value=b"", offset=2))
    assert counts.grown("redlane_dead_letters_total") == {
        ("screen", "value_not_avro"): 1,
        ("explain", "screening_failed"): 1,
        ("learn", "value_empty"): 1,
    }


def test_the_lag_of_partitions_that_were_given_back_is_no_longer_told():
    """Another worker has them: both would count."""
    for lags in ({("topic-a", 0): 7, ("topic-a", 1): 0}, {("topic-a", 1): 3}, {}):
        metrics.set_lag(lags)
        told = {
            (sample.labels["topic"], int(sample.labels["partition"])): sample.value
            for sample in next(iter(metrics.LAG.collect())).samples
        }
        assert told == lags


@pytest.mark.parametrize(
    ("risk", "band"), [(0.0, "0.0-0.1"), (0.1, "0.1-0.2"), (0.999, "0.9-1.0"), (1.0, "0.9-1.0")]
)
def test_a_risk_lies_in_one_band(risk, band):
    assert metrics.risk_band(risk) == band
