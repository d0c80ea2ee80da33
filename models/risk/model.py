"""Is this goods item irregular? One small model for each kind of irregularity, on named evidence.

Irregular goods are of one kind or another, so their odds add up: evidence against the code and
evidence against the photo are no two halves of one proof. A kind whose evidence is missing keeps
the odds that it has among all goods: the risk falls back to them, never to "clean".
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.hs.classifier import HsModel, Posterior, Similar, modality
from models.risk.likelihoods import LikelihoodRatio
from models.risk.signals import Peers
from models.vectors import Array
from schemas.reasons import Reason
from schemas.records import Signal

EVIDENCE: Final[Mapping[str, Mapping[str, Reason | None]]] = {
    "wrong_code": {
        "text_heading": Reason.CODE_NOT_IN_TEXT,
        "photo_heading": Reason.CODE_NOT_IN_PHOTO,
        "both_heading": Reason.CODE_UNLIKELY,
        "text_missing": None,
        "photo_missing": None,
    },
    "wrong_photo": {
        "agreement": Reason.TEXT_PHOTO_DISAGREE,
        "overlap": Reason.TEXT_PHOTO_DISAGREE,
        "unfamiliar": None,
    },
    "vague_text": {
        "text_certainty": Reason.TEXT_VAGUE,
        "text_heading": Reason.TEXT_VAGUE,
    },
}
"""Kind → the features that tell it → the reason they speak for; None where one sets the level."""
SHARES: Final[Mapping[str, float]] = {
    "wrong_code": 0.02,
    "wrong_photo": 0.02,
    "vague_text": 0.008,
    "undervaluation": 0.012,
    "photo_reuse": 0.012,
    "splitting": 0.012,
    "history": 0.02,
}
"""Assumed share of each kind among goods items; no public data with photos tells it."""
EXTERNAL_KINDS: Final[Mapping[str, Reason]] = {
    "undervaluation": Reason.UNIT_PRICE_LOW,
    "photo_reuse": Reason.PHOTO_REUSED,
    "splitting": Reason.CONSIGNMENT_SPLIT,
    "history": Reason.LIKE_PAST_IRREGULARITIES,
}
"""Kinds whose likelihood ratio is told as it is → their reason. `history` is what past inspections
say of such attributes; the others are closed forms."""
REUSE_WEIGHT: Final[Mapping[str, float]] = {"wrong_code": 0.5, "wrong_photo": 0.5}
"""Kinds that earlier uses of the photo tell of as they tell of reuse, but by this share: those who
used it before may have erred."""
EVIDENCE_KINDS: Final[Mapping[str, str]] = {
    "price": "undervaluation",
    "photo_use": "photo_reuse",
    "consignments": "splitting",
    "history": "history",
}
"""Evidence beside text and photo, as an assessment names it → the kind that it tells of."""
WRONG: Final = -6.0
"""Log-ratio at which a code is plainly wrong. Unit: nats."""
FIRES: Final = 0.3
"""Least weight of a reason that is told. Unit: nats."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The risk of one goods item."""

    risk: float
    signals: tuple[Signal, ...]
    modalities: tuple[str, ...]
    probabilities: Array | None
    """Of every code (C,), from all evidence present; None without any."""
    hs_set: tuple[str, ...]
    """Codes, headings or chapters that hold the right code in 95 of 100 cases."""


class ModalityPosteriors(NamedTuple):
    """What the evidence of one goods item says, alone and together."""

    text: Posterior | None
    photo: Posterior | None
    both: Posterior | None
    agreement: float | None
    """As `HsModel.agreement` gives it."""


def modality_posteriors(
    hs: HsModel,
    text: Array | None,
    photos: Sequence[Array],
    similar: Sequence[Similar] = (),
) -> ModalityPosteriors:
    """Ask the model for text alone, photos alone and both; of several photos the mean.

    Whether it knows such goods is told best by all evidence, so that decides for each alone too.

    Args:
        hs: the model.
        text: embedding (D,).
        photos: embeddings (I,).
        similar: what `HsModel.similar` says of the text and each photo, where it was asked already.
    """
    if not photos:
        near_text = similar[0].of("text") if similar else None
        by_text = None if text is None else hs.posterior(text, None, similar=near_text)
        return ModalityPosteriors(by_text, None, None, None)
    asked = similar or [hs.similar(text, photo) for photo in photos]
    near = list(zip(photos, asked, strict=True))
    if text is None:
        by_photo = _mean([hs.posterior(None, photo, similar=similar) for photo, similar in near])
        return ModalityPosteriors(None, by_photo, None, None)
    both = _mean([hs.posterior(text, photo, similar=similar) for photo, similar in near])
    known = both.gate_weight
    by_text = hs.posterior(text, None, gate_weight=known, similar=near[0][1].of("text"))
    by_photo = _mean(
        [
            hs.posterior(None, photo, gate_weight=known, similar=similar.of("image"))
            for photo, similar in near
        ]
    )
    agreement = float(np.mean([hs.agreement(text, photo) for photo in photos]))
    return ModalityPosteriors(by_text, by_photo, both, agreement)


def _mean(posteriors: Sequence[Posterior]) -> Posterior:
    probabilities = np.mean([posterior.probabilities for posterior in posteriors], axis=0)
    gate_weight = float(np.mean([posterior.gate_weight for posterior in posteriors]))
    return Posterior(probabilities.astype(np.float32), gate_weight)


def log_ratio(probabilities: Array, groups: NDArray[np.int64], place: int) -> float:
    """Return how much less probable a group's best code is than the best of all. Unit: nats, ≤ 0.

    The best code of a heading, not their sum, which would favour headings of many codes. Not below
    WRONG: a code is no more wrong than that, and the near misses are what is hard.
    """
    if place < 0:
        return WRONG
    best = probabilities[groups == place].max()
    return max(float(np.log(best) - np.log(probabilities.max())), WRONG)


@dataclass(frozen=True, slots=True)
class Groups:
    """Where the codes and their headings stand among the probabilities."""

    code: Mapping[str, int]
    heading: Mapping[str, int]
    headings: NDArray[np.int64]  # (C,): each code's heading

    @classmethod
    def of(cls, codes: tuple[str, ...]) -> Self:
        """Group the nomenclature's codes by heading."""
        names = sorted({code[:4] for code in codes})
        heading = {name: place for place, name in enumerate(names)}
        places = np.array([heading[code[:4]] for code in codes])
        return cls({code: place for place, code in enumerate(codes)}, heading, places)


def features(groups: Groups, declared: str, posteriors: ModalityPosteriors) -> dict[str, float]:
    """Return the features of one goods item.

    The declared heading is judged, not the subheading: what tells subheadings apart (material,
    weight, use) is seldom in a goods text, so regular goods would be flagged for it.

    Args:
        groups: of the nomenclature.
        declared: HS6 code.
        posteriors: what its evidence says.
    """
    text, photo, both, agreement = posteriors
    heading = groups.heading.get(declared[:4], -1)
    found = {"text_missing": float(text is None), "photo_missing": float(photo is None)}
    for name, posterior in (("text", text), ("photo", photo), ("both", both)):
        if posterior is not None:
            found[f"{name}_heading"] = log_ratio(posterior.probabilities, groups.headings, heading)
    if text is not None:
        found["text_certainty"] = float(np.log(text.probabilities.max()))
    if text is not None and photo is not None and agreement is not None:
        # Of familiar goods the codes that both name tell most; of others the words do.
        gate_weight = text.gate_weight * photo.gate_weight
        sums = [np.bincount(groups.headings, one.probabilities) for one in (text, photo)]
        overlap = float(np.log(np.sqrt(sums[0] * sums[1]).sum()))
        found["overlap"] = gate_weight * overlap
        found["agreement"] = (1 - gate_weight) * agreement
        found["unfamiliar"] = 1 - gate_weight
    return found


def tells(kind: str, found: Mapping[str, float]) -> bool:
    """Return whether any evidence is there that tells this kind."""
    return any(name in found for name, reason in EVIDENCE[kind].items() if reason is not None)


def prior_odds(kind: str) -> float:
    """Return the odds of this kind against regular goods, before any evidence."""
    return SHARES[kind] / (1 - sum(SHARES.values()))


@dataclass(frozen=True, slots=True)
class Kind:
    """A logistic regression: is it this kind of irregularity, or are the goods regular?"""

    base: float
    """Log-odds of goods with the usual evidence."""
    weights: Mapping[str, float]
    """Of the features in EVIDENCE."""


@dataclass(frozen=True, slots=True)
class RiskModel:
    """What each kind of irregularity is told by, and unit prices of peers."""

    kinds: Mapping[str, Kind]
    """For each of EVIDENCE."""
    usual: Mapping[str, float]
    """Mean of each feature over regular goods that have it."""
    peers: Mapping[str, Peers]
    """HS6 code → prices to compare with, where the stream has none yet."""

    def judge(
        self,
        hs: HsModel,
        groups: Groups,
        declared: str,
        evidence: ModalityPosteriors,
        told: Mapping[str, LikelihoodRatio],
    ) -> Judgement:
        """Judge one goods item.

        Args:
            hs: says what code goods are of.
            groups: of its nomenclature.
            declared: commodity code.
            evidence: what its text and photos say.
            told: kinds of EXTERNAL_KINDS → what is told of them; what cannot be told is left out.
        """
        found = features(groups, declared[:6], evidence)
        best = evidence.both or evidence.photo or evidence.text
        there = {"text": evidence.text is not None, "photo": evidence.photo is not None}
        odds, weights = self._odds(found, {kind: one.log_ratio for kind, one in told.items()})
        words = {EXTERNAL_KINDS[kind]: one.words for kind, one in told.items()}
        present = {
            "text": there["text"],
            "image": there["photo"],
            **{name: kind in told for name, kind in EVIDENCE_KINDS.items()},
        }
        return Judgement(
            risk=odds / (1 + odds),
            signals=tuple(
                Signal(code=reason, weight=round(weight, 6), detail=words.get(reason, ""))
                for reason, weight in sorted(weights.items(), key=lambda pair: -pair[1])
                if weight >= FIRES
            ),
            modalities=tuple(name for name, here in present.items() if here),
            probabilities=None if best is None else best.probabilities,
            hs_set=() if best is None else hs.hs_set(modality(**there), best),
        )

    def risk(self, found: Mapping[str, float], told: Mapping[str, float] | None = None) -> float:
        """Return the probability that goods with this evidence are irregular.

        Args:
            found: features.
            told: kinds of EXTERNAL_KINDS → log-likelihood ratio. Unit: nats.
        """
        odds, _ = self._odds(found, told or {})
        return odds / (1 + odds)

    def log_odds(
        self,
        groups: Groups,
        declared: str,
        posteriors: ModalityPosteriors,
        told: Mapping[str, float],
        usual: Collection[str] = (),
    ) -> float:
        """Return the log-odds of one goods item's risk. Unit: nats.

        Args:
            groups: of the nomenclature.
            declared: commodity code.
            posteriors: what its text and photos say.
            told: kinds of EXTERNAL_KINDS → log-likelihood ratio. Unit: nats.
            usual: features that are taken to be as they usually are.
        """
        found = features(groups, declared[:6], posteriors)
        found |= {name: self.usual[name] for name in usual if name in found}
        odds, _ = self._odds(found, told)
        return math.log(odds)

    def _odds(
        self, found: Mapping[str, float], told: Mapping[str, float]
    ) -> tuple[float, dict[Reason, float]]:
        """Return the odds of any irregularity, and what each reason weighs.

        A reason weighs what the log-odds would fall by if its evidence were as usual. Unit: nats.
        """
        odds, spoken = dict[str, float](), dict[Reason, dict[str, float]]()
        for kind, reason in EXTERNAL_KINDS.items():
            odds[kind] = prior_odds(kind) * math.exp(told.get(kind, 0.0))
            spoken[reason] = {kind: told.get(kind, 0.0)}
        for kind, evidence in EVIDENCE.items():
            odds[kind] = prior_odds(kind)
            if tells(kind, found):
                log_odds = self.kinds[kind].base
                for name, reason_or_none in evidence.items():
                    if name not in found:
                        continue
                    added = self.kinds[kind].weights[name] * (found[name] - self.usual[name])
                    log_odds += added
                    if reason_or_none is not None:
                        by_kind = spoken.setdefault(reason_or_none, {})
                        by_kind[kind] = by_kind.get(kind, 0.0) + added
                odds[kind] = math.exp(log_odds)
            use = REUSE_WEIGHT.get(kind, 0.0) * told.get("photo_reuse", 0.0)
            odds[kind] *= math.exp(use)
            spoken[Reason.PHOTO_REUSED][kind] = use
        total = sum(odds.values())
        weights = {}
        for reason, by_kind in spoken.items():
            usual = sum(one * math.exp(-by_kind.get(kind, 0.0)) for kind, one in odds.items())
            weights[reason] = math.log(total / usual)
        return total, weights
