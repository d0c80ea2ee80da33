"""A case's alert, assessment and explanation → what its page shows, in one language."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from models.hs.editions import SUBHEADING, current
from schemas.reasons import TEXTS_IN, Reason
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
from streams.console.state.queries import CaseDetail
from streams.console.web.charts import Peers, Waterfall, log_odds, peers, waterfall
from streams.console.web.translations import Language

CANDIDATES: Final = 6
ATTRIBUTES: Final = 12
"""Most attributes in a waterfall; its last row adds up the rest."""
SIMILAR: Final = 6
LEVELS: Final = 4
"""Shades of marked words."""
PHOTO_URI: Final = re.compile(r"s3://\S+")
FIXED: Final = {text for texts in TEXTS_IN.values() for text in texts.values()}
"""Fixed texts of reasons, which say nothing about the case itself."""
SIGNALS: Final = (
    Reason.CODE_NOT_IN_TEXT,
    Reason.CODE_NOT_IN_PHOTO,
    Reason.CODE_UNLIKELY,
    Reason.CODE_UNKNOWN,
    Reason.TEXT_PHOTO_DISAGREE,
    Reason.UNIT_PRICE_LOW,
    Reason.TEXT_VAGUE,
    Reason.PHOTO_REUSED,
    Reason.CONSIGNMENT_SPLIT,
    Reason.LIKE_PAST_IRREGULARITIES,
    Reason.ACCEPTANCE_TIME_IMPLAUSIBLE,
)
"""Codes of reasons that say why the risk was raised, in the order of the queue's filter."""
BRIEF: Final = Reason.EXPLAINED_BRIEFLY
NO_SIGNAL: Final = set(Reason) - set(SIGNALS)
"""Codes of the other reasons, which do not say why the risk was raised."""
MISSING: Final = NO_SIGNAL - {BRIEF}
"""Codes of reasons for missing evidence."""
REST: Final = "other"
"""Name of a waterfall's row for the remaining attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A piece of the goods text."""

    text: str
    weight: float = 0.0
    level: int = 0
    """1 to LEVELS if it raises the risk, -1 to -LEVELS if it lowers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A code with its probability."""

    code: str
    name: str
    probability: float
    declared: bool
    in_set: bool
    is_candidate: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A declared photo."""

    index: int
    heat_map: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonLine:
    """Why the risk was raised, or what would have lowered it."""

    code: str
    text: str
    detail: str
    weight: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """Similar past goods."""

    index: int
    reference: str
    hs6: str
    name: str
    similarity: float
    photo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A goods item."""

    alerted: AlertItem
    assessed: bool
    words: tuple[Word, ...]
    codes: tuple[Code, ...]
    hs_set: tuple[str, ...]
    coverage: float
    photos: tuple[Photo, ...]
    reasons: tuple[ReasonLine, ...]
    changes: tuple[ReasonLine, ...]
    """Single changes that would each have made the declaration green."""
    evidence: Waterfall | None
    attributes: Waterfall | None
    peers: Peers | None
    similar: tuple[Similar, ...]
    explained: ItemExplanation | None

    @property
    def brief(self) -> bool:
        """Whether its explanation deliberately has no words and heat maps."""
        return self.explained is not None and any(
            reason.code == BRIEF for reason in self.explained.reasons
        )

    @property
    def unit_price(self) -> float | None:
        """Price per kilogram, in the item's currency; None if it is not known."""
        amount, mass = self.alerted.item_amount, self.alerted.net_mass
        return float(amount / mass) if amount and mass else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One alert on one screen."""

    detail: CaseDetail
    items: tuple[Item, ...]
    missing: tuple[Degradation, ...]
    """Evidence missing from the alert or its explanation."""
    traders: tuple[TraderHistory, ...]


def page(detail: CaseDetail, lang: Language) -> Page:
    """Put together what the page shows; what is not known yet is left out."""
    assessed = _assessed_items(detail.assessment)
    explained = _explained_items(detail.explanation)
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
    match = PHOTO_URI.search(similar.reference)
    return match[0] if match else ""


def _item(
    item: AlertItem,
    assessed: ItemAssessment | None,
    explained: ItemExplanation | None,
    lang: Language,
) -> Item:
    maps = explained.heat_maps if explained else ()
    return Item(
        alerted=item,
        assessed=assessed is not None,
        words=_words(item.description, explained.words if explained else ()),
        codes=_codes(item, assessed, lang),
        hs_set=assessed.hs_set if assessed else (),
        coverage=assessed.hs_set_coverage if assessed else 0.0,
        photos=tuple(
            Photo(index=index, heat_map=index < len(maps) and bool(maps[index]))
            for index in range(len(item.images))
        ),
        reasons=_reasons(item, assessed, explained, lang),
        changes=tuple(
            ReasonLine(
                code=change.code,
                text=lang.reason(change.code),
                detail=change.detail,
                weight=change.weight,
            )
            for change in (explained.changes if explained else ())
        ),
        evidence=_evidence(item, explained),
        attributes=_attributes(explained, lang),
        peers=_peers(explained),
        similar=_similar(explained, lang),
        explained=explained,
    )


def _words(text: str, weights: Sequence[Contribution]) -> tuple[Word, ...]:
    """Split a goods text at its weighted words; words that do not match the text are left out."""
    highest = max((abs(word.weight) for word in weights), default=0.0)
    pieces, end = list[Word](), 0
    for word in sorted(weights, key=lambda word: word.start):
        stop = word.start + len(word.part)
        if word.start < end or not word.part or text[word.start : stop] != word.part:
            continue
        if word.start > end:
            pieces.append(Word(text=text[end : word.start]))
        level = round(abs(word.weight) / highest * LEVELS) if highest else 0
        signed = level if word.weight >= 0 else -level
        pieces.append(Word(text=word.part, weight=word.weight, level=signed))
        end = stop
    if end < len(text):
        pieces.append(Word(text=text[end:]))
    return tuple(pieces)


def _codes(item: AlertItem, assessed: ItemAssessment | None, lang: Language) -> tuple[Code, ...]:
    if assessed is None:
        return ()
    declared = current(item.commodity_code)[:SUBHEADING]
    probabilities = {candidate.hs6: candidate.probability for candidate in assessed.candidates}
    likely = (candidate.hs6 for candidate in assessed.candidates[:CANDIDATES])
    return tuple(
        Code(
            code=code,
            name=lang.code_name(code),
            probability=probabilities.get(code, 0.0),
            declared=code == declared,
            in_set=any(code.startswith(prefix) for prefix in assessed.hs_set),
            is_candidate=code in probabilities,
        )
        for code in dict.fromkeys((*likely, declared))
        if code
    )


def _reasons(
    item: AlertItem,
    assessed: ItemAssessment | None,
    explained: ItemExplanation | None,
    lang: Language,
) -> tuple[ReasonLine, ...]:
    """Return the alert's reasons, with weights and details of assessment and explanation."""
    explained_reasons = explained.reasons if explained else ()
    signals = {signal.code: signal for signal in (assessed.signals if assessed else ())}
    signals |= {reason.code: reason for reason in explained_reasons}
    raised = [reason.code for reason in explained_reasons if reason.code not in NO_SIGNAL]
    texts = {reason.code: reason.text for reason in item.reasons}
    price = _price(explained.peers if explained else None, lang)
    return tuple(
        ReasonLine(
            code=code,
            text=lang.reason(code),
            detail=_detail(
                price if code == Reason.UNIT_PRICE_LOW else "",
                signals[code].detail if code in signals else "",
                texts.get(code, ""),
            ),
            weight=signals[code].weight if code in signals else None,
        )
        for code in dict.fromkeys((*texts, *raised))
    )


def _detail(*texts: str) -> str:
    """Return the first text that is not a reason's fixed one, which events may repeat."""
    return next((text for text in texts if text and text not in FIXED), "")


def _missing(detail: CaseDetail) -> tuple[Degradation, ...]:
    """Return the evidence missing from the alert, then what else its explanation lacked.

    What every goods item lacks is returned once, for the whole declaration.
    """
    items = detail.explanation.items if detail.explanation else ()
    lacking = [
        Degradation(sequence_number=item.sequence_number, code=reason.code, detail=reason.detail)
        for item in items
        for reason in item.reasons
        if reason.code in MISSING
    ]
    counts = Counter((gap.code, gap.detail) for gap in lacking)
    if len(items) > 1:
        lacking = [
            replace(gap, sequence_number=0) if counts[gap.code, gap.detail] == len(items) else gap
            for gap in lacking
        ]
    alerted = {(gap.sequence_number, gap.code) for gap in detail.alert.degraded}
    added = (
        gap
        for gap in lacking
        if alerted.isdisjoint({(gap.sequence_number, gap.code), (0, gap.code)})
    )
    return (*detail.alert.degraded, *dict.fromkeys(added))


def _evidence(item: AlertItem, explained: ItemExplanation | None) -> Waterfall | None:
    if explained is None or not explained.modality_shares:
        return None
    parts = [(share.part, share.weight, share.detail) for share in explained.modality_shares]
    end = log_odds(item.risk)
    return waterfall(parts, start=end - sum(weight for _, weight, _ in parts))


def _attributes(explained: ItemExplanation | None, lang: Language) -> Waterfall | None:
    if explained is None or not explained.attributes:
        return None
    ranked = sorted(explained.attributes, key=lambda attribute: -abs(attribute.weight))
    price = _price(explained.peers, lang)
    parts = [
        (
            attribute.part,
            attribute.weight,
            price if attribute.part == "price" and price else attribute.detail,
        )
        for attribute in ranked[:ATTRIBUTES]
    ]
    if rest := ranked[ATTRIBUTES:]:
        parts.append((REST, sum(attribute.weight for attribute in rest), ""))
    return waterfall(parts, start=0.0, total=False)


def _price(price_peers: PricePeers | None, lang: Language) -> str:
    """Return in the user's language what the event's detail says in English."""
    if price_peers is None:
        return ""
    return lang.t(
        "price_detail",
        price=lang.money(price_peers.unit_price),
        count=price_peers.count,
        low=lang.money(price_peers.low),
        high=lang.money(price_peers.high),
    )


def _peers(explained: ItemExplanation | None) -> Peers | None:
    if explained is None or explained.peers is None:
        return None
    return peers(explained.peers.unit_price, explained.peers.low, explained.peers.high)


def _similar(explained: ItemExplanation | None, lang: Language) -> tuple[Similar, ...]:
    if explained is None:
        return ()
    return tuple(
        Similar(
            index=index,
            reference=PHOTO_URI.sub("", goods.reference).strip(),
            hs6=goods.hs6,
            name=lang.code_name(goods.hs6),
            similarity=goods.similarity,
            photo=bool(photo_of(goods)),
        )
        for index, goods in enumerate(explained.similar_goods[:SIMILAR])
    )


def _assessed_items(assessment: Assessment | None) -> Mapping[int, ItemAssessment]:
    return {item.sequence_number: item for item in (assessment.items if assessment else ())}


def _explained_items(explanation: Explanation | None) -> Mapping[int, ItemExplanation]:
    return {item.sequence_number: item for item in (explanation.items if explanation else ())}
