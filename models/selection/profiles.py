"""Risk profiles × a declaration → those profiles that select it. Pure.

Selection by profile is the "risk analysis … criteria" of Art. 46(2) UCC, Regulation (EU) 952/2013.
Watch lists are profiles with `one_of` on a party's identification: personal data, so nothing that
this module reports of a profile repeats a value of it.

Both sides of a comparison are folded: case, compatibility forms (NFKC), invisible characters and
white space do not count (in texts a run of white space is one space). Otherwise a blank in the
EORI number would take a trader off a watch list. In commodity codes dots do not count either.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from models.encoding.text import compatible
from models.selection.policy import RED, YELLOW
from schemas.records import EPOCH, Condition, Declaration, GoodsItem, RiskProfile
from schemas.rules import bare_code

PARTIES: Final = ("declarant", "importer", "exporter", "seller")
PARTY_FIELDS: Final = frozenset(
    f"{party}.{field}" for party in PARTIES for field in ("identification", "country")
)
DECLARATION_FIELDS: Final = PARTY_FIELDS | {
    "data_set",
    "declaration_office",
    "country_of_dispatch",
    "mode_of_transport",
    "procedure",
}
ITEM_FIELDS: Final = frozenset({"commodity_code", "country_of_origin", "description"})
TEXTS: Final = frozenset({"description"})
OPERATORS: Final = ("equals", "starts_with", "one_of")
SECOND_PERSON: Final = "needs a second person"

State = Literal["in force", "not yet", "expired", "ignored"]


def problem(profile: RiskProfile) -> str | None:
    """Return why a profile is ignored, without any value of it; None where it is not.

    A profile must end: the contract gives no meaning to a `valid_until` of 0, and nobody would have
    to review a rule about persons that never ends.
    """
    broken = (
        (not profile.profile_id, "has no profile_id"),
        (not _four_eyes(profile), SECOND_PERSON),
        (profile.lane not in {YELLOW, RED}, "its lane is neither yellow nor red"),
        (not profile.conditions, "has no conditions, so it selects nothing"),
        (profile.valid_until == EPOCH, "has no end (valid_until)"),
        (profile.valid_until <= profile.valid_from, "ends before it begins"),
    )
    if reason := next((text for is_broken, text in broken if is_broken), None):
        return reason
    for number, condition in enumerate(profile.conditions, 1):
        if reason := _condition_problem(condition):
            return f"condition {number}: {reason}"
    return None


def state(profile: RiskProfile, at: datetime) -> State:
    """Return the state of a profile at a time; `problem` returns why it is ignored."""
    if EPOCH < profile.valid_until <= at:
        return "expired"
    if problem(profile):
        return "ignored"
    return "in force" if profile.valid_from <= at else "not yet"


class Matcher:
    """Folded profiles: a watch list of thousands is folded once, not for each declaration."""

    def __init__(self, profiles: Iterable[RiskProfile]) -> None:
        valid = (profile for profile in profiles if problem(profile) is None)
        self._rules = [
            _Rule.of(p) for p in sorted(valid, key=lambda p: (p.lane != RED, p.profile_id))
        ]
        tests = [test for rule in self._rules for test in (*rule.on_declaration, *rule.on_item)]
        self._fields = {test.field for test in tests}

    def matching(self, declaration: Declaration, arrived: datetime) -> list[RiskProfile]:
        """Return the profiles that select a declaration, red before yellow, then by id.

        Those in force when it arrived count, whatever acceptance time it declares: nobody must
        pass by a date of his own. All conditions must hold: those on the goods on one and the same
        goods item.
        """
        header = _values(declaration, self._fields & DECLARATION_FIELDS)
        items = [_values(item, self._fields & ITEM_FIELDS) for item in declaration.goods_items]
        return [
            rule.profile
            for rule in self._rules
            if rule.profile.valid_from <= arrived < rule.profile.valid_until
            and all(test.holds(header) for test in rule.on_declaration)
            and (
                not rule.on_item
                or any(all(test.holds(item) for test in rule.on_item) for item in items)
            )
        ]


def matching(
    profiles: Iterable[RiskProfile], declaration: Declaration, arrived: datetime
) -> list[RiskProfile]:
    """Return the profiles that select a declaration; for many declarations keep a `Matcher`."""
    return Matcher(profiles).matching(declaration, arrived)


@dataclass(frozen=True, slots=True)
class _Test:
    """A condition whose values are folded."""

    field: str
    operator: str
    values: frozenset[str]
    starts: tuple[str, ...]

    @classmethod
    def of(cls, condition: Condition) -> "_Test":
        values = [_folded(value, condition.field) for value in condition.values]
        return cls(condition.field, condition.operator, frozenset(values), tuple(values))

    def holds(self, declared: Mapping[str, str]) -> bool:
        # An undeclared field is empty, and so never equals a value of a condition.
        value = declared[self.field]
        return (
            value.startswith(self.starts)
            if self.operator == "starts_with"
            else value in self.values
        )


@dataclass(frozen=True, slots=True)
class _Rule:
    profile: RiskProfile
    on_declaration: tuple[_Test, ...]
    on_item: tuple[_Test, ...]

    @classmethod
    def of(cls, profile: RiskProfile) -> "_Rule":
        tests = [_Test.of(condition) for condition in profile.conditions]
        return cls(
            profile,
            tuple(test for test in tests if test.field in DECLARATION_FIELDS),
            tuple(test for test in tests if test.field in ITEM_FIELDS),
        )


def _four_eyes(profile: RiskProfile) -> bool:
    author, approver = profile.author.strip(), profile.approver.strip()
    return bool(author and approver) and author != approver


def _condition_problem(condition: Condition) -> str | None:
    if condition.field not in DECLARATION_FIELDS | ITEM_FIELDS:
        fields = ", ".join(sorted(DECLARATION_FIELDS | ITEM_FIELDS))
        return f"there is no such field; there are {fields}"
    if condition.operator not in OPERATORS:
        return f"there is no such operator; there are {', '.join(OPERATORS)}"
    if not condition.values:
        return "it has no values"
    if condition.operator == "equals" and len(condition.values) > 1:
        return "equals takes one value; one_of takes several"
    if not all(_folded(value, condition.field) for value in condition.values):
        return "a value is empty"
    return None


def _values(record: Declaration | GoodsItem, fields: Iterable[str]) -> dict[str, str]:
    values = {}
    for field in fields:
        value: Any = record
        for name in field.split("."):
            value = None if value is None else getattr(value, name)
        values[field] = _folded(value or "", field)
    return values


def _folded(text: str, field: str) -> str:
    words = compatible(text).casefold().split()
    joined = (" " if field in TEXTS else "").join(words)
    if field == "commodity_code":
        joined = bare_code(joined)
    # The remaining white space stands between words; what is not printable is invisible.
    return "".join(c for c in joined if c.isprintable())
