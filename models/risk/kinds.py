"""The kinds of irregularity: how frequent each is assumed to be, and what evidence shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way in which goods are irregular."""

    name: str
    share: float
    """Assumed share among goods items: no public data with photos gives it. Fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedKind(Kind):
    """A kind whose odds a logistic regression learns, from what text and photos say."""

    features: Mapping[str, Reason | None]
    """Feature → the reason that it speaks for; None where it only sets the level."""
    reuse_weight: float = 0.0
    """Share of the reuse log-ratio that also counts for this kind: of those who used the photo
    before, some may have erred."""

    def has_evidence(self, features: Mapping[str, float]) -> bool:
        """Return whether the features of a goods item include any that speaks for a reason."""
        return any(name in features for name, reason in self.features.items() if reason is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalKind(Kind):
    """A kind whose likelihood ratio is computed elsewhere, from one piece of evidence."""

    evidence: str
    """Name of that evidence in an assessment."""
    reason: Reason
    always_named: bool = False
    """Whether an assessment names the reason whatever it weighs, if the evidence has words."""


WRONG_CODE: Final = LearnedKind(
    name="wrong_code",
    share=0.02,
    features={
        "text_heading": Reason.CODE_NOT_IN_TEXT,
        "photo_heading": Reason.CODE_NOT_IN_PHOTO,
        "both_heading": Reason.CODE_UNLIKELY,
        "text_missing": None,
        "photo_missing": None,
    },
    reuse_weight=0.5,
)
WRONG_SUBHEADING: Final = LearnedKind(
    name="wrong_subheading",
    share=0.008,
    features={
        "text_subheading": Reason.CODE_NOT_IN_TEXT,
        "photo_subheading": Reason.CODE_NOT_IN_PHOTO,
        "both_subheading": Reason.CODE_UNLIKELY,
    },
)
"""A false code of the right heading. What distinguishes subheadings (material, weight, use) is
often in neither text nor photo; then all are as probable, and nothing counts."""
WRONG_PHOTO: Final = LearnedKind(
    name="wrong_photo",
    share=0.02,
    features={
        "agreement": Reason.TEXT_PHOTO_DISAGREE,
        "overlap": Reason.TEXT_PHOTO_DISAGREE,
        "unfamiliar": None,
    },
    reuse_weight=0.5,
)
VAGUE_TEXT: Final = LearnedKind(
    name="vague_text",
    share=0.008,
    features={"text_certainty": Reason.TEXT_VAGUE, "text_heading": Reason.TEXT_VAGUE},
)
UNDERVALUATION: Final = ExternalKind(
    name="undervaluation", share=0.012, evidence="price", reason=Reason.UNIT_PRICE_LOW
)
PHOTO_REUSE: Final = ExternalKind(
    name="photo_reuse", share=0.012, evidence="photo_use", reason=Reason.PHOTO_REUSED
)
SPLITTING: Final = ExternalKind(
    name="splitting", share=0.012, evidence="consignments", reason=Reason.CONSIGNMENT_SPLIT
)
HISTORY: Final = ExternalKind(
    name="history", share=0.02, evidence="history", reason=Reason.LIKE_PAST_IRREGULARITIES
)
"""Whatever past inspections found where the attributes were alike."""
UNKNOWN_CODE: Final = ExternalKind(
    name="unknown_code",
    share=0.0005,
    evidence="code",
    reason=Reason.CODE_UNKNOWN,
    always_named=True,
)
"""A code that is none, as good as a wrong one."""
WRONG_TIME: Final = ExternalKind(
    name="wrong_time",
    share=0.0005,
    evidence="acceptance_time",
    reason=Reason.ACCEPTANCE_TIME_IMPLAUSIBLE,
    always_named=True,
)
"""An acceptance time far from when the declaration arrived."""

NO_GOODS_NAMED: Final = ExternalKind(
    name="no_goods_named",
    share=0.001,
    evidence="wording",
    reason=Reason.TEXT_VAGUE,
    always_named=True,
)
"""A text such as "gift": what vague_text cannot have learned of each such word and language."""
OTHER_TITLE: Final = ExternalKind(
    name="other_title",
    share=0.002,
    evidence="title",
    reason=Reason.TEXT_TITLE_DISAGREE,
    always_named=True,
)
"""The seller calls the goods by another name than the declarant."""
IMPLAUSIBLE_MASSES: Final = ExternalKind(
    name="implausible_masses",
    share=0.0002,
    evidence="masses",
    reason=Reason.MASSES_IMPLAUSIBLE,
    always_named=True,
)
IMPLAUSIBLE_AMOUNT: Final = ExternalKind(
    name="implausible_amount",
    share=0.0002,
    evidence="amount",
    reason=Reason.AMOUNT_IMPLAUSIBLE,
    always_named=True,
)
UNKNOWN_ORIGIN: Final = ExternalKind(
    name="unknown_origin",
    share=0.0002,
    evidence="origin",
    reason=Reason.ORIGIN_UNKNOWN,
    always_named=True,
)
UNKNOWN_CURRENCY: Final = ExternalKind(
    name="unknown_currency",
    share=0.0002,
    evidence="currency",
    reason=Reason.CURRENCY_UNKNOWN,
    always_named=True,
)

LEARNED: Final = (WRONG_CODE, WRONG_SUBHEADING, WRONG_PHOTO, VAGUE_TEXT)
EXTERNAL: Final = (
    UNDERVALUATION,
    PHOTO_REUSE,
    SPLITTING,
    HISTORY,
    UNKNOWN_CODE,
    WRONG_TIME,
    NO_GOODS_NAMED,
    OTHER_TITLE,
    IMPLAUSIBLE_MASSES,
    IMPLAUSIBLE_AMOUNT,
    UNKNOWN_ORIGIN,
    UNKNOWN_CURRENCY,
)
KINDS: Final[tuple[Kind, ...]] = (*LEARNED, *EXTERNAL)
IRREGULAR_SHARE: Final = sum(kind.share for kind in KINDS)
"""Assumed share of irregular goods items."""


def prior_odds(kind: Kind) -> float:
    """Return the odds of a kind against regular goods, before any evidence."""
    return kind.share / (1 - IRREGULAR_SHARE)
