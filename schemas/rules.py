"""The rules of the contract that Avro cannot say: what makes a declaration valid."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.records import Declaration, InspectionOutcome

MAX_GOODS_ITEMS: Final = 999
"""Goods items of one declaration; UCC Annex B, cardinality of the goods item level."""
COMMODITY_CODE: Final = re.compile(r"\d{6}(\d{2}(\d{2})?)?", re.ASCII)
DECLARED_CODE: Final = re.compile(
    rf"{COMMODITY_CODE.pattern}|\d{{10}}\d?([0-9A-Z]{{4}}){{0,3}}", re.ASCII
)
"""A commodity code; or one of ten digits, an eleventh of a national line, and additional codes of
four characters each (UCC D.E. 18 09 059 and 060)."""
SEPARATORS: Final = re.compile(r"[.\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]+")
"""Dots, blanks and characters without a width, as in 8471.30 or 8471 30 00."""
MAX_CODE: Final = 40
"""A text of so many characters is no code."""

RESULTS: Final = ("conforming", "irregular")
"""Of an inspection."""


def check(declaration: Declaration, key: bytes | None) -> Declaration:
    """Check a declaration against the rules, and against the key of its event.

    Returns:
        the declaration, its commodity codes as `bare_code` returns them.

    Raises:
        Undecodable: with DECLARATION_INVALID and the first rule that is broken.
    """
    codes = [bare_code(item.commodity_code) for item in declaration.goods_items]
    broken = _broken_rule(declaration, key, codes)
    if broken:
        raise Undecodable(Reason.DECLARATION_INVALID, broken)
    return replace(
        declaration,
        goods_items=tuple(
            replace(item, commodity_code=code)
            for item, code in zip(declaration.goods_items, codes, strict=True)
        ),
    )


def bare_code(text: str) -> str:
    """Return a commodity code without the dots and blanks in it; empty for none.

    A text of MAX_CODE characters or more is returned as it is.
    """
    return text if len(text) >= MAX_CODE else SEPARATORS.sub("", text)


def check_outcome(outcome: InspectionOutcome, key: bytes | None) -> None:
    """Check an inspection outcome.

    Raises:
        Undecodable: with OUTCOME_INVALID and the rule that is broken.
    """
    if key != outcome.declaration_id.encode() or not key:
        raise Undecodable(Reason.OUTCOME_INVALID, "the event's key is not the declaration_id")
    if outcome.result not in RESULTS:
        raise Undecodable(Reason.OUTCOME_INVALID, f"result is none of {', '.join(RESULTS)}")


def _broken_rule(declaration: Declaration, key: bytes | None, codes: Sequence[str]) -> str | None:
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
        *(
            # The code itself is not repeated: it may be anything, even a name.
            (
                code == "" or DECLARED_CODE.fullmatch(code) is not None,
                f"goods item {number}: its commodity_code is not 6, 8 or 10 digits",
            )
            for number, code in zip(numbers, codes, strict=True)
        ),
    )
    return next((broken for holds, broken in rules if not holds), None)
