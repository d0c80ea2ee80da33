"""Is this goods item irregular? One small model for each kind of irregularity, on named evidence.

Irregular goods are of one kind or another, so the odds of the kinds add up: evidence against the
code and evidence against the photo are not two halves of one proof. A kind whose evidence is
missing keeps the odds that it has among all goods: the risk falls back to them, never to "clean".
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from models.hs.classifier import HsModel, modality
from models.hs.editions import NATIONAL, current
from models.hs.modalities import ModalityPosteriors
from models.risk.kinds import EXTERNAL, LEARNED, PHOTO_REUSE, prior_odds
from models.risk.likelihoods import LikelihoodRatio
from models.risk.signals import Peers
from models.vectors import Array
from schemas.reasons import Reason
from schemas.records import Signal

WRONG: Final = -10.0
"""Log-ratio at which a code is plainly wrong. Unit: nats."""
FIRES: Final = 0.3
"""Least weight of a reason that an assessment names. Unit: nats."""


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


def log_ratio(probabilities: Array, groups: NDArray[np.int64], group: int) -> float:
    """Return the log-ratio of a group's best code to the best of all codes. Unit: nats, ≤ 0.

    The best code of a heading, not the sum of its codes, which would favour headings of many codes.
    Not below WRONG: no code is more wrong than that, and the near misses are what matters.

    Args:
        probabilities: of each code (C,).
        groups: each code's group (C,).
        group: number of the group.
    """
    best = probabilities[groups == group].max()
    return max(float(np.log(best) - np.log(probabilities.max())), WRONG)


def log_ratio_in_heading(probabilities: Array, headings: NDArray[np.int64], place: int) -> float:
    """Return the log-ratio of a code to the best code of its heading. Unit: nats, ≤ 0, ≥ WRONG.

    Args:
        probabilities: of each code (C,).
        headings: number of each code's heading (C,).
        place: of the code.
    """
    best = probabilities[headings == headings[place]].max()
    return max(float(np.log(probabilities[place]) - np.log(best)), WRONG)


@dataclass(frozen=True, slots=True)
class Groups:
    """The nomenclature's codes, grouped by heading."""

    codes: Mapping[str, int]
    """Codes → places."""
    heading: Mapping[str, int]
    """Headings → numbers."""
    headings: NDArray[np.int64]  # (C,): number of each code's heading

    @classmethod
    def of(cls, codes: tuple[str, ...]) -> Self:
        """Group the codes by heading."""
        heading = {name: n for n, name in enumerate(sorted({code[:4] for code in codes}))}
        places = {code: place for place, code in enumerate(codes)}
        return cls(places, heading, np.array([heading[code[:4]] for code in codes]))

    def of_code(self, declared: str) -> int | None:
        """Return the number of a declared code's heading; None where no text could fit it.

        That is where no code is declared, where the nomenclature lacks its heading, and where its
        chapter is for national use: such a code names a procedure, not goods.
        """
        code = current(declared)
        return None if code.startswith(NATIONAL) else self.heading.get(code[:4])

    def place(self, declared: str) -> int | None:
        """Return the place of a declared code's subheading; None where no other one is to choose.

        That is where the heading cannot be judged, where the nomenclature lacks the subheading, and
        where its heading has no other.
        """
        place = self.codes.get(current(declared)[:6])
        if place is None or self.of_code(declared) is None:
            return None
        return place if (self.headings == self.headings[place]).sum() > 1 else None


def features(groups: Groups, declared: str, posteriors: ModalityPosteriors) -> dict[str, float]:
    """Return the features of one goods item, by the names in LEARNED.

    They judge the declared heading against all, and the subheading against those of its heading.
    Where no code is declared, there is nothing to judge.

    Args:
        groups: of the nomenclature.
        declared: commodity code; empty for none.
        posteriors: of the codes, by its text and photos.
    """
    text, photo, both, agreement, _ = posteriors
    heading, place = groups.of_code(declared), groups.place(declared)
    values = {"text_missing": float(text is None), "photo_missing": float(photo is None)}
    for name, posterior in (("text", text), ("photo", photo), ("both", both)):
        if posterior is not None and heading is not None:
            values[f"{name}_heading"] = log_ratio(posterior.probabilities, groups.headings, heading)
        if posterior is not None and place is not None:
            values[f"{name}_subheading"] = log_ratio_in_heading(
                posterior.probabilities, groups.headings, place
            )
    if text is not None:
        values["text_certainty"] = float(np.log(text.probabilities.max()))
    if text is not None and photo is not None and agreement is not None:
        # For familiar goods the codes are the best evidence of agreement, for others the words.
        gate_weight = text.gate_weight * photo.gate_weight
        text_shares, photo_shares = (
            np.bincount(groups.headings, posterior.probabilities) for posterior in (text, photo)
        )
        overlap = float(np.log(np.sqrt(text_shares * photo_shares).sum()))
        values["overlap"] = gate_weight * overlap
        values["agreement"] = (1 - gate_weight) * agreement
        values["unfamiliar"] = 1 - gate_weight
    return values


@dataclass(frozen=True, slots=True)
class KindRegression:
    """A logistic regression: are the goods irregular in one of LEARNED's ways, or regular?"""

    base: float
    """Log-odds of goods with the usual evidence."""
    weights: Mapping[str, float]
    """Of the kind's features."""


@dataclass(frozen=True, slots=True)
class RiskModel:
    """A regression for each learned kind of irregularity, and unit prices of peers."""

    regressions: Mapping[str, KindRegression]
    """Names of LEARNED → regressions."""
    usual: Mapping[str, float]
    """Mean of each feature over regular goods that have it."""
    peers: Mapping[str, Peers]
    """HS6 code → prices to compare with, where the stream has none yet."""

    def judge(
        self,
        hs: HsModel,
        groups: Groups,
        declared: str,
        posteriors: ModalityPosteriors,
        ratios: Mapping[str, LikelihoodRatio],
    ) -> Judgement:
        """Judge one goods item.

        Args:
            hs: says what code goods are of.
            groups: of its nomenclature.
            declared: commodity code.
            posteriors: of the codes, by its text and photos.
            ratios: names of EXTERNAL → likelihood ratios; those without evidence are left out.
        """
        item_features = features(groups, declared, posteriors)
        best = posteriors.both or posteriors.photo or posteriors.text
        has_text, has_photo = posteriors.text is not None, posteriors.photo is not None
        odds, weights = self._odds(item_features, log_ratios(ratios))
        details = {
            kind.reason: ratios[kind.name].words
            for kind in EXTERNAL
            if kind.name in ratios and ratios[kind.name].words
        }
        named = {kind.reason for kind in EXTERNAL if kind.always_named} & details.keys()
        present = {
            "text": has_text,
            "image": has_photo,
            **{kind.evidence: kind.name in ratios for kind in EXTERNAL},
        }
        return Judgement(
            risk=odds / (1 + odds),
            signals=tuple(
                Signal(code=reason, weight=round(weight, 6), detail=details.get(reason, ""))
                for reason, weight in sorted(weights.items(), key=lambda pair: -pair[1])
                if weight >= FIRES or reason in named
            ),
            modalities=tuple(name for name, is_present in present.items() if is_present),
            probabilities=None if best is None else best.probabilities,
            hs_set=()
            if best is None
            else hs.hs_set(modality(text=has_text, photo=has_photo), best),
        )

    def risk(
        self,
        item_features: Mapping[str, float],
        external_log_ratios: Mapping[str, float] | None = None,
    ) -> float:
        """Return the probability that goods with this evidence are irregular.

        Args:
            item_features: as `features` returns them.
            external_log_ratios: names of EXTERNAL → log-likelihood ratios. Unit: nats.
        """
        odds, _ = self._odds(item_features, external_log_ratios or {})
        return odds / (1 + odds)

    def log_odds(
        self,
        groups: Groups,
        declared: str,
        posteriors: ModalityPosteriors,
        external_log_ratios: Mapping[str, float],
        usual: Collection[str] = (),
    ) -> float:
        """Return the log-odds of one goods item's risk. Unit: nats.

        Args:
            groups: of the nomenclature.
            declared: commodity code.
            posteriors: of the codes, by its text and photos.
            external_log_ratios: names of EXTERNAL → log-likelihood ratios. Unit: nats.
            usual: features to replace by their usual values.
        """
        item_features = features(groups, declared, posteriors)
        item_features |= {name: self.usual[name] for name in usual if name in item_features}
        odds, _ = self._odds(item_features, external_log_ratios)
        return math.log(odds)

    def _odds(
        self, item_features: Mapping[str, float], external_log_ratios: Mapping[str, float]
    ) -> tuple[float, dict[Reason, float]]:
        """Return the odds of any irregularity, and the weight of each reason.

        A reason weighs what the log-odds would fall by if its evidence were as usual. Unit: nats.
        The kinds are added in one order: sums of floating-point numbers depend on it.
        """
        odds, contributions = dict[str, float](), dict[Reason, dict[str, float]]()
        for external in EXTERNAL:
            log_ratio = external_log_ratios.get(external.name, 0.0)
            odds[external.name] = prior_odds(external) * math.exp(log_ratio)
            contributions[external.reason] = {external.name: log_ratio}
        for kind in LEARNED:
            odds[kind.name] = prior_odds(kind)
            if kind.has_evidence(item_features):
                regression = self.regressions[kind.name]
                log_odds = regression.base
                for name, reason in kind.features.items():
                    if name not in item_features:
                        continue
                    added = regression.weights[name] * (item_features[name] - self.usual[name])
                    log_odds += added
                    if reason is not None:
                        by_kind = contributions.setdefault(reason, {})
                        by_kind[kind.name] = by_kind.get(kind.name, 0.0) + added
                odds[kind.name] = math.exp(log_odds)
            reuse = kind.reuse_weight * external_log_ratios.get(PHOTO_REUSE.name, 0.0)
            odds[kind.name] *= math.exp(reuse)
            contributions[PHOTO_REUSE.reason][kind.name] = reuse
        total = sum(odds.values())
        weights = {}
        for reason, by_kind in contributions.items():
            usual = sum(
                kind_odds * math.exp(-by_kind.get(name, 0.0)) for name, kind_odds in odds.items()
            )
            weights[reason] = math.log(total / usual)
        return total, weights


def log_ratios(ratios: Mapping[str, LikelihoodRatio]) -> dict[str, float]:
    """Return the log-ratios alone. Unit: nats."""
    return {name: ratio.log_ratio for name, ratio in ratios.items()}
