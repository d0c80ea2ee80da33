"""The rules of the contract that Avro cannot say: what makes a declaration valid."""

import re
from typing import Final

from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.records import Declaration, InspectionOutcome

MAX_GOODS_ITEMS: Final = 999
"""Goods items of one declaration; UCC Annex B, cardinality of the goods item level."""
COMMODITY_CODE: Final = re.compile(r"\d{6}(\d{2}(\d{2})?)?", re.ASCII)

RESULTS: Final = ("conforming", "irregular")
"""Of an inspection."""


def check(declaration: Declaration, key: bytes | None) -> None:
    """Check a declaration against the rules, and against the key of its event.

    Raises:
        Undecodable: with DECLARATION_INVALID and the first rule that is broken.
    """
    broken = _broken_rule(declaration, key)
    if broken:
        raise Undecodable(Reason.DECLARATION_INVALID, broken)


def check_outcome(outcome: InspectionOutcome, key: bytes | None) -> None:
    """Check an inspection outcome.

    Raises:
        Undecodable: with OUTCOME_INVALID and the rule that is broken.
    """
    if key != outcome.declaration_id.encode() or not key:
        raise Undecodable(Reason.OUTCOME_INVALID, "the event's key is not the declaration_id")
    if outcome.result not in RESULTS:
        raise Undecodable(Reason.OUTCOME_INVALID, f"result is none of {', '.join(RESULTS)}")


def _broken_rule(declaration: Declaration, key: bytes | None) -> str | None:
    items = declaration.goods_items
    numbers = [item.sequence_number for item in items]
    rules = (
        (declaration.declaration_id != "", "declaration_id is empty"),
        (key == declaration.declaration_id.encode(), "the event's key is not the declaration_id"),
        (declaration.version >= 1, "version is below 1"),
        (
            1 <= len(items) <= MAX_GOODS_ITEMS,
            f"there are {len(items)} goods items, not 1 to {MAX_GOODS_ITEMS}",
        ),
        (
            len(set(numbers)) == len(numbers) and min(numbers, default=1) >= 1,
            "sequence numbers of the goods items are not distinct and from 1",
        ),
        (
            all(COMMODITY_CODE.fullmatch(item.commodity_code) for item in items),
            "a commodity_code is not 6, 8 or 10 digits",
        ),
    )
    return next((broken for holds, broken in rules if not holds), None)
