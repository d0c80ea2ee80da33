"""JSON in Redis: read as it was written, or refused where another version wrote it."""

import json
from dataclasses import asdict

import pytest

from models.selection.policy import Thresholds
from streams.redis.records import reader

read = reader(Thresholds)


def test_a_record_gives_back_the_same_values():
    """Floats to the bit."""
    thresholds = Thresholds(0.1 + 0.2, 0.9, random=1e-17, yellow_tie=1 / 3)
    assert read(json.dumps(asdict(thresholds))) == thresholds
    assert read(json.dumps(asdict(thresholds)).encode()) == thresholds


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"null",
        b"[]",
        b'{"yellow": 0.5}',
        b'{"yellow": 0.5, "red": "much"}',
        b'{"yellow": 0.5, "red": 0.9, "purple": 1.0}',
        b'{"yellow": 0.9, "red": 0.5}',
    ],
)
def test_a_record_of_another_format_is_refused(record):
    """A field that this version lacks may change what the others mean."""
    with pytest.raises(ValueError, match=r"validation error|null"):
        read(record)
