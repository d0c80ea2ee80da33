"""Codes of earlier editions: mapped where one code of HS 2022 answers, named where several do."""

import pytest

from models.hs.editions import MOVED, current, successors
from models.hs.nomenclature import lines

CODES = frozenset(line.hs6 for line in lines())


def test_the_nomenclature_agrees():
    """What moved is gone, and where it went there is something."""
    assert not MOVED.keys() & CODES
    assert {code for now in MOVED.values() for code in now} <= CODES


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("620293", "620240"),
        ("62029300", "620240"),
        ("620113", "620140"),
        ("620119", "620190"),
        ("340220", "340250"),
        ("8803300000", "880730"),
        ("852851", "852852"),
        ("340211", "340211"),  # one of two
        ("640411", "640411"),
        ("6404110010", "6404110010"),
        ("000000", "000000"),
        ("", ""),
    ],
)
def test_a_code_is_mapped_where_one_code_answers(declared, expected):
    """Others stay as they are."""
    assert current(declared) == expected


@pytest.mark.parametrize(
    ("hs6", "expected"),
    [
        ("940510", ("940511", "940519")),
        ("970300", ("970310", "970390")),
        ("340211", ("340231", "340239")),
        ("970190", ("970122", "970129", "970192", "970199")),
        ("640499", ()),
        ("000000", ()),
        ("123450", ()),
    ],
)
def test_a_divided_subheading_names_its_parts(hs6, expected):
    """By the nomenclature itself, or by the table."""
    assert successors(hs6, CODES) == expected
