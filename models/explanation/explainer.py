"""Why this risk? A declaration's evidence → what each part of it adds, and what would change it.

There are two questions. How much of the risk comes from text, photos and each other piece of
evidence: shares of the risk's log-odds, exact. And which words and regions of a photo speak against
the declared heading: log-odds against it, by the text or the photo alone. The risk itself is flat
where goods fit, so it would not show the one word or region that does not fit
(docs/decisions/0011-explanations.md).

Equal evidence, pixels and bundle give an equal explanation.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.encoding.text import normalise
from models.explanation import heat_map
from models.explanation.attribution import Attribution
from models.explanation.counterfactuals import Counterfactuals
from models.explanation.details import detail, price_peers
from models.explanation.duty import duty_difference
from models.explanation.heat_map import GRID, Regions
from models.explanation.similar_goods import similar_goods
from models.hs.editions import current
from models.hs.modalities import ModalityPosteriors
from models.risk.attributes import identified
from models.risk.kinds import EXTERNAL
from models.risk.signals import Rate
from models.risk.vagueness import texts_to_read
from models.scoring.evidence import DeclarationEvidence, ItemEvidence, Verdict
from models.scoring.scorer import DIGITS, Scorer
from models.vectors import Array, best
from schemas.reasons import Reason
from schemas.records import (
    Contribution,
    GoodsItem,
    ItemExplanation,
    Signal,
    TraderHistory,
)

DETAILED: Final = 3
"""Most goods items of a declaration that are explained in detail: the riskiest, and those others
that would be yellow by themselves."""
PARTS: Final = 32
"""Most parts of a description; in longer ones neighbouring words form one part."""
WORDS_KEPT: Final = 4096
"""Words whose embeddings are kept, some 4 kB each."""
NO_WORD: Final = -1
WORD: Final = re.compile(r"(?:<[a-zA-Z/!?][^<>]*>|\S)+")
"""A word with its markup, which may contain blanks."""
LEAST: Final = 1e-9
"""Least distance of a probability from 0 and 1, so that its log-odds are finite."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ItemExplained:
    """The explanation of one goods item."""

    explanation: ItemExplanation
    """Without references to heat maps: the caller adds them."""
    heat_maps: tuple[bytes | None, ...]
    """PNG for each photo; None for one that is missing or not explained in detail, and where no
    heading is declared that a photo could fit."""


class Explainer:
    """Explains a scorer's verdicts. Thread safe."""

    def __init__(self, scorer: Scorer, bundle: Path, *, threads: int = 1) -> None:
        """Take a scorer, and the directory of the bundle that it was loaded from."""
        self._scorer = scorer
        self._regions = Regions(bundle / "image.onnx", threads=threads)
        # The same words occur again and again.
        self._embedded_word = lru_cache(WORDS_KEPT)(lambda word: scorer.embed_texts([word])[0])

    @property
    def bundle_id(self) -> str:
        """Of the model bundle."""
        return self._scorer.bundle_id

    def explain(
        self, evidence: DeclarationEvidence, photos: Sequence[Sequence[Pixels | None]]
    ) -> tuple[ItemExplained, ...]:
        """Explain a declaration's risk.

        Args:
            evidence: the evidence that it was scored with; of the riskiest goods items, if not of
                all: two at least, because a change of one may leave another yellow.
            photos: of each goods item, as `models.encoding.image.decode` returns them; None for
                one that is missing.
        """
        attributions = [
            Attribution(self._scorer, evidence, place) for place in range(len(evidence.items))
        ]
        contexts = [attribution.context for attribution in attributions]
        posteriors = [attribution.posteriors for attribution in attributions]
        verdict = self._scorer.verdict(evidence, contexts, posteriors)
        risks = np.array([item.risk for item in verdict.items])
        riskiest, *others = best(risks, DETAILED).tolist()
        yellow = self._scorer.thresholds.yellow
        detailed = {riskiest, *(place for place in others if risks[place] >= yellow)}
        return tuple(
            self._item(
                evidence,
                attribution,
                verdict,
                posteriors,
                pixels,
                detailed=attribution.place in detailed,
            )
            for attribution, pixels in zip(attributions, photos, strict=True)
        )

    def words(self, item: ItemEvidence) -> tuple[Contribution, ...]:
        """Return what each word adds against the declared heading, by the text alone. Unit: nats.

        The mean of what it adds to no other word and to all others: the first and the last of the
        orders that a Shapley value averages. 0 for a word beyond those that the encoder reads.
        None where no heading is declared that a text could fit, or the title was read instead.
        """
        text, heading = texts_to_read(item.item).description, self._heading(item.item)
        spans = [(start, end) for start, end in parts(text) if normalise(text[start:end])]
        if not spans or not heading:
            return ()
        alone = [text[start:end] for start, end in spans]
        without = [" ".join((*alone[:n], *alone[n + 1 :])) for n in range(len(alone))]
        vectors = self._scorer.embed_texts([" ".join(alone), *without])
        vectors[1:1] = map(self._embedded_word, alone)
        posteriors = self._scorer.hs.posteriors(np.stack(vectors), None).probabilities
        against = self._against(heading, posteriors)
        usual = _log_odds_against(self._of_heading(heading).mean())
        first, last = against[1 : 1 + len(alone)], against[1 + len(alone) :]
        if len(alone) == 1:
            last = usual  # the encoder's answer to an empty text has no meaning
        # Each text is embedded alone, so equal bits show that the encoder cut the word off.
        read = [bool((vector != vectors[0]).any()) for vector in vectors[1 + len(alone) :]]
        weights = np.where(read, ((first - usual) + (against[0] - last)) / 2, 0.0)
        return tuple(
            Contribution(part=word, start=start, weight=round(float(weight), DIGITS))
            for word, (start, _), weight in zip(alone, spans, weights, strict=True)
        )

    def regions(self, heading: str, photo: Pixels) -> NDArray[np.float64]:
        """Return what each cell of a photo adds against a heading (GRID, GRID). Unit: nats."""
        posteriors = self._scorer.hs.posteriors(None, self._regions.left_out(photo)).probabilities
        against = self._against(heading, posteriors)
        added: NDArray[np.float64] = against[0] - against[1:]
        return added.reshape(GRID, GRID)

    def _item(
        self,
        evidence: DeclarationEvidence,
        attribution: Attribution,
        verdict: Verdict,
        posteriors: Sequence[ModalityPosteriors],
        photos: Sequence[Pixels | None],
        *,
        detailed: bool,
    ) -> ItemExplained:
        item, context = attribution.evidence.item, attribution.context
        assessed = verdict.items[attribution.place]
        suggested = assessed.candidates[0].hs6 if assessed.candidates else ""
        shares = attribution.shares
        reasons = list(assessed.signals)
        if not detailed:
            reasons.append(Signal(code=Reason.EXPLAINED_BRIEFLY))
        counterfactuals = Counterfactuals(self._scorer, evidence, attribution)
        explanation = ItemExplanation(
            sequence_number=item.sequence_number,
            modality_shares=tuple(
                _contribution(name, sum(shares[player] for player in players))
                for name, players in attribution.groups.items()
            ),
            words=self.words(attribution.evidence)
            if detailed and attribution.evidence.text is not None
            else (),
            attributes=tuple(
                _contribution(
                    kind.evidence, shares[kind.evidence], detail(kind.evidence, item, context)
                )
                for kind in EXTERNAL
                if kind.evidence in shares
            ),
            peers=price_peers(item, context),
            similar_goods=tuple(
                similar_goods(
                    self._scorer.hs, attribution.evidence.text, attribution.evidence.photos
                )
            ),
            suggested_hs6=suggested,
            duty_difference=duty_difference(
                evidence.tariff,
                item,
                suggested,
                evidence.accepted,
                declared_duty=context.attributes.duty_rate,
            ),
            reasons=tuple(reasons),
            changes=tuple(counterfactuals.changes(verdict, posteriors, suggested))
            if detailed
            else (),
        )
        heading = self._heading(item)
        maps = tuple(
            None
            if photo is None or not detailed or not heading
            else heat_map.overlay(self.regions(heading, photo))
            for photo in photos
        )
        return ItemExplained(explanation, maps)

    def _against(self, heading: str, posteriors: Array) -> NDArray[np.float64]:
        """Return the log-odds that goods are not of a heading, by probabilities (N, C): (N,)."""
        return _log_odds_against(
            posteriors[:, self._of_heading(heading)].sum(axis=1, dtype=np.float64)
        )

    def _heading(self, item: GoodsItem) -> str:
        """Return the declared heading; empty where there is none that goods could fit."""
        code = current(item.commodity_code)
        return code[:4] if self._scorer.groups.of_code(code) is not None else ""

    def _of_heading(self, heading: str) -> NDArray[np.bool_]:
        """Return which codes are of a heading (C,)."""
        return np.char.startswith(self._codes, heading)

    @cached_property
    def _codes(self) -> NDArray[np.str_]:
        return np.array(self._scorer.hs.codes)


def traders(evidence: DeclarationEvidence) -> tuple[TraderHistory, ...]:
    """Return the record of each party that is identified; nothing without recorded signals."""
    live = evidence.live
    if live is None:
        return ()
    rates = live.items[0].rates  # a party's are the same for all items
    of_day = {"importer": live.importer_day, "seller": live.seller_day, "declarant": None}
    histories = []
    for role, declarations in of_day.items():
        if identified(getattr(evidence.declaration, role)):
            past = rates.get(role, Rate(0, 0))
            histories.append(
                TraderHistory(
                    role=role,
                    inspected=past.inspected,
                    irregular=past.irregular,
                    declarations_day=declarations,
                )
            )
    return tuple(histories)


def _contribution(part: str, weight: float, words: str = "") -> Contribution:
    return Contribution(part=part, start=NO_WORD, weight=round(weight, DIGITS), detail=words)


def _log_odds_against(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = probability.clip(LEAST, 1 - LEAST)
    log_odds: NDArray[np.float64] = np.log((1 - clipped) / clipped)
    return log_odds


def parts(text: str) -> list[tuple[int, int]]:
    """Return where each word of a text begins and ends; at most PARTS, else runs of words."""
    words = [match.span() for match in WORD.finditer(text)]
    run = math.ceil(len(words) / PARTS) or 1
    return [
        (some[0][0], some[-1][1])
        for some in (words[start : start + run] for start in range(0, len(words), run))
    ]
