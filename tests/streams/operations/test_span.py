"""Which records belong to the declarations of a time span, also of those no longer kept."""

from datetime import timedelta

import pytest

from schemas.records import ScreeningRecord
from streams.operations.span import _is_of
from tests.fakes import NOW

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("place", "read_at", "partitions", "is_of"),
    [
        ("declarations/2/7", NOW, (), True),
        ("declarations/2/7", NOW + HOUR, (), False),
        ("declarations/2/7", NOW - HOUR, (), False),
        ("declarations/2/7", NOW, (2, 3), True),
        ("declarations/2/7", NOW, (3,), False),
        ("nonsense", NOW, (), False),
    ],
)
def test_a_record_tells_of_a_declaration_that_is_of(place, read_at, partitions, is_of):
    """By when it arrived, and in which partition."""
    record = ScreeningRecord(declaration_event=place, read_at=read_at.timestamp())
    assert _is_of(record, NOW, NOW + HOUR, partitions) is is_of
