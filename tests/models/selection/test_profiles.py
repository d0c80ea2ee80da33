"""Risk profiles: which declarations they select, and which are ignored."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from models.selection.profiles import Matcher, matching, problem, state
from schemas.records import EPOCH, Condition, Declaration, GoodsItem, Party, RiskProfile

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PARTS = Condition(field="commodity_code", operator="starts_with", values=("6406",))
CHINA = Condition(field="country_of_origin", operator="equals", values=("CN",))
WATCHED = Condition(
    field="importer.identification", operator="one_of", values=("BE0123456789", "BE0999999999")
)
DECLARATION = Declaration(
    declaration_id="26BE1",
    acceptance_time=NOW,
    declaration_office="BEANR000",
    mode_of_transport="4",
    importer=Party(identification="BE0123456789", country="BE"),
    goods_items=(
        GoodsItem(sequence_number=1, commodity_code="64062010", country_of_origin="VN"),
        GoodsItem(
            sequence_number=2,
            commodity_code="640411",
            country_of_origin="CN",
            description="Running  SHOES, textile",
        ),
    ),
)


def profile(*conditions, **fields):
    """A profile that is in force."""
    usual = {
        "profile_id": "BE-1",
        "lane": "red",
        "valid_from": NOW - DAY,
        "valid_until": NOW + DAY,
        "author": "a",
        "approver": "b",
    }
    return RiskProfile(conditions=conditions, **usual | fields)


def condition(field, operator, *values):
    return Condition(field=field, operator=operator, values=values)


@pytest.mark.parametrize(
    ("conditions", "selects"),
    [
        ((), False),
        ((PARTS,), True),
        ((CHINA,), True),
        ((WATCHED,), True),
        ((PARTS, WATCHED), True),
        ((PARTS, CHINA), False),  # each holds, but on different goods items
        ((condition("commodity_code", "equals", "640411"), CHINA, WATCHED), True),
        ((condition("commodity_code", "equals", "6404.11"),), True),
        ((condition("commodity_code", "starts_with", "6406 20"),), True),
        ((condition("commodity_code", "equals", "6404"),), False),
        ((condition("commodity_code", "starts_with", "95", "6404"),), True),
        ((condition("commodity_code", "one_of", "950300", "640411"),), True),
        ((condition("declaration_office", "starts_with", "BE"), condition("mode_of_transport", "equals", "5")), False),
        ((condition("importer.country", "equals", "BE"),), True),
        ((condition("seller.identification", "equals", "X1"),), False),  # there is no seller
        ((condition("description", "starts_with", "running shoes"),), True),
        ((condition("description", "starts_with", "shoes"),), False),
    ],
)  # fmt: skip
def test_all_conditions_must_hold(conditions, selects):
    """Those on goods on one and the same goods item; no conditions select nothing."""
    one = profile(*conditions)
    assert matching([one], DECLARATION, NOW) == ([one] if selects else [])


def test_an_undeclared_code_is_no_code_of_a_condition():
    """No profile on a code selects goods without one."""
    items = tuple(replace(item, commodity_code="") for item in DECLARATION.goods_items)
    declaration = replace(DECLARATION, goods_items=items)
    assert not matching([profile(PARTS)], declaration, NOW)
    assert matching([profile(CHINA)], declaration, NOW)


@pytest.mark.parametrize(
    "written", ["be0123456789", "BE 0123 456 789", "ＢＥ0123456789", "BE0123\u200b456789 "]
)
def test_a_trader_does_not_leave_a_watch_list_by_spelling(written):
    """Case, blanks, wide and invisible characters do not count."""
    declaration = replace(DECLARATION, importer=Party(identification=written))
    assert matching([profile(WATCHED)], declaration, NOW)
    other = replace(DECLARATION, importer=Party(identification="BE0123456780"))
    assert not matching([profile(WATCHED)], other, NOW)


@pytest.mark.parametrize(
    ("fields", "at", "expected"),
    [
        ({}, NOW - DAY, "in force"),
        ({}, NOW - 2 * DAY, "not yet"),
        ({}, NOW + DAY, "expired"),
        ({"valid_from": EPOCH}, EPOCH, "in force"),
        ({"approver": "a"}, NOW, "ignored"),
        ({"approver": "a"}, NOW + DAY, "expired"),
        ({"valid_until": EPOCH}, NOW, "ignored"),
    ],
)
def test_the_time_of_arrival_decides_whether_a_profile_holds(fields, at, expected):
    """From valid_from, until before valid_until; whatever acceptance time is declared."""
    one = profile(PARTS, **fields)
    assert state(one, at) == expected
    found = matching([one], DECLARATION, at)
    assert found == ([one] if expected == "in force" else [])


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (profile(PARTS), None),
        (profile(PARTS, profile_id=""), "no profile_id"),
        (profile(PARTS, approver="a"), "second person"),
        (profile(PARTS, approver=" a "), "second person"),
        (profile(PARTS, approver=""), "second person"),
        (profile(PARTS, author="", approver=""), "second person"),
        (profile(PARTS, lane="green"), "lane"),
        (profile(), "no conditions"),
        (profile(PARTS, valid_until=EPOCH), "no end"),
        (profile(PARTS, valid_until=NOW - DAY), "before it begins"),
        (profile(PARTS, condition("colour", "equals", "SECRET")), "condition 2: there is no such field"),
        (profile(condition("importer.name", "equals", "SECRET")), "there is no such field"),
        (profile(condition("procedure", "like", "SECRET")), "there is no such operator"),
        (profile(condition("procedure", "equals")), "no values"),
        (profile(condition("procedure", "equals", "SECRET", "OTHER")), "equals takes one value"),
        (profile(condition("procedure", "starts_with", "SECRET", " ")), "a value is empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_profile_is_told_and_it_selects_nothing(one, reason):
    """Without any of its values, which may be personal data."""
    found = problem(one)
    assert (found is None) == (reason is None)
    if found:
        assert reason in found
        assert "SECRET" not in found
        assert matching([one], DECLARATION, NOW) == []


def test_red_comes_first_then_the_id():
    """Whatever order they came in."""
    a, b, c = (profile(PARTS, profile_id=i, lane=lane) for i, lane in (("a", "yellow"), ("b", "red"), ("c", "red")))  # fmt: skip
    assert matching([a, c, b], DECLARATION, NOW) == [b, c, a]


def test_a_matcher_serves_many_declarations():
    """And a declaration without goods or parties harms nobody."""
    matcher = Matcher([profile(PARTS), profile(WATCHED, profile_id="BE-2")])
    assert [p.profile_id for p in matcher.matching(DECLARATION, NOW)] == ["BE-1", "BE-2"]
    assert matcher.matching(Declaration(), NOW) == []


def test_a_megabyte_of_combining_characters_is_compared_at_once():
    """Their order is found in a time that grows with the square of a run; nobody waits for that."""
    accented = replace(
        DECLARATION.goods_items[0], description="Pi\u0301 " + "\u0301\u0316" * 250_000
    )
    declaration = replace(DECLARATION, goods_items=(accented,))
    watched = Matcher([profile(condition("description", "starts_with", "pí"))])
    start = time.process_time()
    assert watched.matching(declaration, NOW)
    assert time.process_time() - start < 2
