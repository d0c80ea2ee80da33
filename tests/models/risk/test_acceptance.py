"""Declared acceptance times: believed within bounds, told beyond them."""

from datetime import UTC, datetime, timedelta

import pytest

from models.risk.acceptance import AHEAD, BEHIND, accepted, is_plausible
from models.risk.likelihoods import WRONG_TIME, LikelihoodRatio, acceptance_time
from schemas.records import EPOCH

ARRIVED = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("declared", [ARRIVED, ARRIVED - BEHIND, ARRIVED + AHEAD])
def test_a_plausible_time_is_believed_and_tells_nothing(declared):
    """A supplementary declaration comes weeks after its acceptance, a clock may be wrong."""
    assert accepted(declared, ARRIVED) == declared
    assert acceptance_time(declared, ARRIVED) is None


@pytest.mark.parametrize(
    ("declared", "ratio", "words"),
    [
        (EPOCH, 0.0, "no acceptance time declared, arrived 2026-11-02T09:30Z"),
        (
            datetime(1, 1, 1, tzinfo=UTC),
            WRONG_TIME,
            "accepted 0001-01-01T00:00Z, arrived 2026-11-02T09:30Z",
        ),
        (
            ARRIVED - BEHIND - SECOND,
            WRONG_TIME,
            "accepted 2026-09-03T09:29Z, arrived 2026-11-02T09:30Z",
        ),
        (
            ARRIVED + AHEAD + SECOND,
            WRONG_TIME,
            "accepted 2026-11-03T09:30Z, arrived 2026-11-02T09:30Z",
        ),
        (
            datetime(9999, 12, 31, 23, 59, tzinfo=UTC),
            WRONG_TIME,
            "accepted 9999-12-31T23:59Z, arrived 2026-11-02T09:30Z",
        ),
    ],
)
def test_an_implausible_time_is_told_and_the_arrival_taken(declared, ratio, words):
    """The schema's default is told, but is no sign of fraud: many senders leave it there."""
    assert accepted(declared, ARRIVED) == ARRIVED
    assert acceptance_time(declared, ARRIVED) == LikelihoodRatio(ratio, words)


def test_without_an_arrival_every_time_is_believed():
    """As in training and evaluation, whose declarations never came over Kafka."""
    assert accepted(EPOCH, None) == EPOCH
    assert acceptance_time(EPOCH, None) is None


@pytest.mark.parametrize(
    "arrived", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
)
def test_a_calendar_that_ends_is_no_fault(arrived):
    """A time of arrival may come from a store, where anything may stand."""
    assert is_plausible(arrived, arrived)
    assert not is_plausible(EPOCH, arrived)
