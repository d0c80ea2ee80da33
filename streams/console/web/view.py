"""A case's alert, assessment and explanation → what its page shows, in one lang."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from schemas import reasons
from schemas.records import (
    AlertItem,
    Assessment,
    Contribution,
    Degradation,
    Explanation,
    ItemAssessment,
    ItemExplanation,
    PricePeers,
    SimilarGoods,
    TraderHistory,
)
from streams.console.state.queries import Detail
from streams.console.web.charts import Peers, Waterfall, log_odds, peers, waterfall
from streams.console.web.translations import Language

CANDIDATES: Final = 6
ATTRIBUTES: Final = 12
"""Most rows of a waterfall; the smallest are added up in the last."""
SIMILAR: Final = 6
LEVELS: Final = 4
"""Shades of marked words."""
PHOTO_URI: Final = re.compile(r"s3://\S+")
FIXED: Final = {text for texts in reasons.TEXTS_IN.values() for text in texts.values()}
"""Texts of reasons that say nothing of the case itself."""
SIGNALS: Final = (
    reasons.Reason.CODE_NOT_IN_TEXT,
    reasons.Reason.CODE_NOT_IN_PHOTO,
    reasons.Reason.CODE_UNLIKELY,
    reasons.Reason.TEXT_PHOTO_DISAGREE,
    reasons.Reason.UNIT_PRICE_LOW,
    reasons.Reason.TEXT_VAGUE,
    reasons.Reason.PHOTO_REUSED,
    reasons.Reason.CONSIGNMENT_SPLIT,
    reasons.Reason.LIKE_PAST_IRREGULARITIES,
)
"""Codes of reasons that say why the risk was raised, in the order of the queue's filter."""
BRIEF: Final = reasons.Reason.EXPLAINED_BRIEFLY
NO_SIGNAL: Final = set(reasons.Reason) - set(SIGNALS)
"""Codes of an explanation's reasons that do not tell why the risk was raised."""
MISSING: Final = NO_SIGNAL - {BRIEF}
"""And those that tell of missing evidence."""
REST: Final = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A piece of the goods text."""

    text: str
    weight: float = 0.0
    level: int = 0
    """1 to LEVELS where it raises the risk, below 0 where it lowers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A code with its probability."""

    code: str
    name: str
    probability: float
    declared: bool
    in_set: bool
    known: bool = True
    """Whether it is among the candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A declared photo."""

    place: int
    heat_map: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why the risk was raised."""

    code: str
    text: str
    detail: str
    weight: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """Past goods."""

    place: int
    reference: str
    hs6: str
    name: str
    similarity: float
    photo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A goods item."""

    alerted: AlertItem
    words: tuple[Word, ...]
    codes: tuple[Code, ...]
    hs_set: tuple[str, ...]
    coverage: float
    photos: tuple[Photo, ...]
    reasons: tuple[Reason, ...]
    changes: tuple[Reason, ...]
    """Single changes that would have made the declaration green."""
    evidence: Waterfall | None
    attributes: Waterfall | None
    peers: Peers | None
    similar: tuple[Similar, ...]
    explained: ItemExplanation | None

    @property
    def brief(self) -> bool:
        """Whether its explanation has no words and heat maps, on purpose."""
        return self.explained is not None and any(
            one.code == BRIEF for one in self.explained.reasons
        )

    @property
    def unit_price(self) -> float | None:
        """Price for a kilogram, in the item's currency."""
        amount, mass = self.alerted.item_amount, self.alerted.net_mass
        return float(amount / mass) if amount and mass else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One alert on one screen."""

    detail: Detail
    items: tuple[Item, ...]
    missing: tuple[Degradation, ...]
    """Evidence that the alert or its explanation lacks."""
    traders: tuple[TraderHistory, ...]


def page(detail: Detail, lang: Language) -> Page:
    """Put together what the page shows; whatever is not known yet is left out."""
    assessed = _by_number(detail.assessment)
    explained = _explained(detail.explanation)
    return Page(
        detail=detail,
        items=tuple(
            _item(
                item,
                assessed.get(item.sequence_number),
                explained.get(item.sequence_number),
                lang,
            )
            for item in detail.alert.items
        ),
        missing=_missing(detail),
        traders=detail.explanation.traders if detail.explanation else (),
    )


def photo_of(similar: SimilarGoods) -> str:
    """Return the reference of similar goods' photo; empty where there is none."""
    found = PHOTO_URI.search(similar.reference)
    return found[0] if found else ""


def _item(
    item: AlertItem,
    assessed: ItemAssessment | None,
    explained: ItemExplanation | None,
    lang: Language,
) -> Item:
    maps = explained.heat_maps if explained else ()
    return Item(
        alerted=item,
        words=_words(item.description, explained.words if explained else ()),
        codes=_codes(item, assessed, lang),
        hs_set=assessed.hs_set if assessed else (),
        coverage=assessed.hs_set_coverage if assessed else 0.0,
        photos=tuple(
            Photo(place=place, heat_map=place < len(maps) and bool(maps[place]))
            for place in range(len(item.images))
        ),
        reasons=_reasons(item, assessed, explained, lang),
        changes=tuple(
            Reason(code=one.code, text=lang.reason(one.code), detail=one.detail, weight=one.weight)
            for one in (explained.changes if explained else ())
        ),
        evidence=_evidence(item, explained),
        attributes=_attributes(explained, lang),
        peers=_peers(explained),
        similar=_similar(explained, lang),
        explained=explained,
    )


def _words(text: str, weights: Sequence[Contribution]) -> tuple[Word, ...]:
    """Cut a goods text at its weighted words. What does not fit the text is left out."""
    most = max((abs(one.weight) for one in weights), default=0.0)
    found, end = list[Word](), 0
    for one in sorted(weights, key=lambda one: one.start):
        stop = one.start + len(one.part)
        if one.start < end or not one.part or text[one.start : stop] != one.part:
            continue
        if one.start > end:
            found.append(Word(text=text[end : one.start]))
        level = round(abs(one.weight) / most * LEVELS) if most else 0
        signed = level if one.weight >= 0 else -level
        found.append(Word(text=one.part, weight=one.weight, level=signed))
        end = stop
    if end < len(text):
        found.append(Word(text=text[end:]))
    return tuple(found)


def _codes(item: AlertItem, assessed: ItemAssessment | None, lang: Language) -> tuple[Code, ...]:
    if assessed is None:
        return ()
    declared = item.commodity_code[:6]
    likely = assessed.candidates[:CANDIDATES]
    probabilities = {one.hs6: one.probability for one in assessed.candidates}
    shown = list(dict.fromkeys((*(one.hs6 for one in likely), declared)))
    return tuple(
        Code(
            code=code,
            name=lang.code_name(code),
            probability=probabilities.get(code, 0.0),
            declared=code == declared,
            in_set=any(code.startswith(prefix) for prefix in assessed.hs_set),
            known=code in probabilities,
        )
        for code in shown
    )


def _reasons(
    item: AlertItem,
    assessed: ItemAssessment | None,
    explained: ItemExplanation | None,
    lang: Language,
) -> tuple[Reason, ...]:
    """Return the alert's reasons, with what the later events know of them."""
    signals = {one.code: one for one in (assessed.signals if assessed else ())}
    signals |= {one.code: one for one in (explained.reasons if explained else ())}
    told = [one for one in explained.reasons if one.code not in NO_SIGNAL] if explained else []
    texts = {one.code: one.text for one in item.reasons}
    price = _price(explained.peers if explained else None, lang)
    return tuple(
        Reason(
            code=code,
            text=lang.reason(code),
            detail=_detail(
                price if code == reasons.Reason.UNIT_PRICE_LOW else "",
                signals[code].detail if code in signals else "",
                texts.get(code, ""),
            ),
            weight=signals[code].weight if code in signals else None,
        )
        for code in dict.fromkeys((*texts, *(one.code for one in told)))
    )


def _detail(*told: str) -> str:
    """Return what is told of a reason besides its fixed text, which events may repeat."""
    return next((one for one in told if one and one not in FIXED), "")


def _missing(detail: Detail) -> tuple[Degradation, ...]:
    """Return what the alert lacks, and what its explanation lacks besides.

    What is told of every goods item is told once, of the whole declaration.
    """
    items = detail.explanation.items if detail.explanation else ()
    lacks = [
        Degradation(sequence_number=item.sequence_number, code=one.code, detail=one.detail)
        for item in items
        for one in item.reasons
        if one.code in MISSING
    ]
    often = Counter((one.code, one.detail) for one in lacks)
    if len(items) > 1:
        lacks = [
            replace(one, sequence_number=0) if often[one.code, one.detail] == len(items) else one
            for one in lacks
        ]
    known = {(one.sequence_number, one.code) for one in detail.alert.degraded}
    added = (
        one for one in lacks if known.isdisjoint({(one.sequence_number, one.code), (0, one.code)})
    )
    return (*detail.alert.degraded, *dict.fromkeys(added))


def _evidence(item: AlertItem, explained: ItemExplanation | None) -> Waterfall | None:
    if explained is None or not explained.modality_shares:
        return None
    parts = [(one.part, one.weight, one.detail) for one in explained.modality_shares]
    end = log_odds(item.risk)
    return waterfall(parts, start=end - sum(weight for _, weight, _ in parts))


def _attributes(explained: ItemExplanation | None, lang: Language) -> Waterfall | None:
    if explained is None or not explained.attributes:
        return None
    ranked = sorted(explained.attributes, key=lambda one: -abs(one.weight))
    price = _price(explained.peers, lang)
    parts = [
        (one.part, one.weight, price if one.part == "price" and price else one.detail)
        for one in ranked[:ATTRIBUTES]
    ]
    if rest := ranked[ATTRIBUTES:]:
        parts.append((REST, sum(one.weight for one in rest), ""))
    return waterfall(parts, start=0.0, total=False)


def _price(found: PricePeers | None, lang: Language) -> str:
    """Say in the user's language what the event's detail says in English."""
    if found is None:
        return ""
    price, low, high = (lang.money(one) for one in (found.unit_price, found.low, found.high))
    return lang.t("price_detail", price=price, count=found.count, low=low, high=high)


def _peers(explained: ItemExplanation | None) -> Peers | None:
    found = explained.peers if explained else None
    return None if found is None else peers(found.unit_price, found.low, found.high)


def _similar(explained: ItemExplanation | None, lang: Language) -> tuple[Similar, ...]:
    if explained is None:
        return ()
    return tuple(
        Similar(
            place=place,
            reference=PHOTO_URI.sub("", one.reference).strip(),
            hs6=one.hs6,
            name=lang.code_name(one.hs6),
            similarity=one.similarity,
            photo=bool(photo_of(one)),
        )
        for place, one in enumerate(explained.similar_goods[:SIMILAR])
    )


def _by_number(assessment: Assessment | None) -> Mapping[int, ItemAssessment]:
    return {one.sequence_number: one for one in (assessment.items if assessment else ())}


def _explained(explanation: Explanation | None) -> Mapping[int, ItemExplanation]:
    return {one.sequence_number: one for one in (explanation.items if explanation else ())}
