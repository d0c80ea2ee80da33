"""Why this risk? A declaration's evidence → what each part of it adds, and what would change it.

Two questions are asked. How much of the risk comes of text, photos and each other piece of
evidence: shares of the risk's log-odds, exact. And which words and regions of a photo speak against
the declared heading: log-odds against it, by the text or the photo alone. The risk itself is flat
where goods fit, so it would not show the one word or region that does not
(docs/decisions/0011-explanations.md).

Equal evidence, pixels and bundle give an equal explanation.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.encoding.text import normalise
from models.explanation import heat_map
from models.explanation.counterfactuals import Counterfactuals
from models.explanation.heat_map import GRID, Regions
from models.risk.attributes import identified
from models.risk.model import EVIDENCE_KINDS, ModalityPosteriors
from models.risk.signals import Rate
from models.scoring.scorer import DIGITS, DeclarationEvidence, ItemEvidence, Scorer, Verdict
from models.vectors import Array, best
from schemas.reasons import Reason
from schemas.records import Contribution, ItemExplanation, Signal, SimilarGoods, TraderHistory

DETAILED: Final = 3
"""Most goods items of a declaration whose words and photos are looked at: the riskiest, and those
others that would be yellow by themselves."""
PARTS: Final = 32
"""Most parts of a description; of longer ones neighbouring words are taken together."""
SIMILAR: Final = 5
WORDS_KEPT: Final = 4096
"""Words whose embeddings are kept, some 4 kB each."""
NO_WORD: Final = -1
WORD: Final = re.compile(r"\S+")
LEAST: Final = 1e-9
"""Probabilities are kept so far from 0 and 1 in log-odds."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ItemExplained:
    """The explanation of one goods item."""

    explanation: ItemExplanation
    """Without references to heat maps: those are for the caller to give."""
    heat_maps: tuple[bytes | None, ...]
    """PNG of each photo; None where it was not looked at."""


class Explainer:
    """Explains what a scorer says. Thread safe."""

    def __init__(self, scorer: Scorer, bundle: Path, *, threads: int = 1) -> None:
        """Take a scorer, and the bundle that it was loaded from."""
        self._scorer = scorer
        self._regions = Regions(bundle / "image.onnx", threads=threads)
        # Words come again and again.
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
            evidence: that it was scored with.
            photos: of each goods item, as `models.encoding.image.decode` returns them; None for
                one that is missing.
        """
        cases = [
            Counterfactuals(self._scorer, evidence, place) for place in range(len(evidence.items))
        ]
        posteriors = [case.posteriors for case in cases]
        verdict = self._scorer.verdict(evidence, posteriors)
        risks = np.array([item.risk for item in verdict.items])
        riskiest, *others = best(risks, DETAILED).tolist()
        yellow = self._scorer.thresholds.yellow
        detailed = {riskiest, *(place for place in others if risks[place] >= yellow)}
        return tuple(
            self._item(case, verdict, posteriors, pixels, detailed=case.place in detailed)
            for case, pixels in zip(cases, photos, strict=True)
        )

    def words(self, item: ItemEvidence) -> tuple[Contribution, ...]:
        """Return what each word adds against the declared heading, by the text alone. Unit: nats.

        The mean of what it adds to no other word and to all others: the first and the last of the
        orders that a Shapley value goes through. Nothing where the encoder does not read so far.
        """
        text, heading = item.item.description, item.item.commodity_code[:4]
        spans = [(start, end) for start, end in parts(text) if normalise(text[start:end])]
        if not spans:
            return ()
        alone = [text[start:end] for start, end in spans]
        without = [" ".join((*alone[:n], *alone[n + 1 :])) for n in range(len(alone))]
        vectors = self._scorer.embed_texts([" ".join(alone), *without])
        vectors[1:1] = map(self._embedded_word, alone)
        found = self._against(heading, self._scorer.hs.probabilities(np.stack(vectors), None))
        usual = _log_odds_against(self._of_heading(heading).mean())
        first, last = found[1 : 1 + len(alone)], found[1 + len(alone) :]
        if len(alone) == 1:
            last = usual  # the encoder has an answer to an empty text, but no ground for it
        # Each text is embedded alone, so equal bits are told for what the encoder cut off.
        read = [bool((vector != vectors[0]).any()) for vector in vectors[1 + len(alone) :]]
        weights = np.where(read, ((first - usual) + (found[0] - last)) / 2, 0.0)
        return tuple(
            Contribution(part=word, start=start, weight=round(float(weight), DIGITS))
            for word, (start, _), weight in zip(alone, spans, weights, strict=True)
        )

    def regions(self, heading: str, photo: Pixels) -> NDArray[np.float64]:
        """Return what each cell of a photo adds against a heading (GRID, GRID). Unit: nats."""
        posteriors = self._scorer.hs.probabilities(None, self._regions.left_out(photo))
        found = self._against(heading, posteriors)
        added: NDArray[np.float64] = found[0] - found[1:]
        return added.reshape(GRID, GRID)

    def _item(
        self,
        case: Counterfactuals,
        verdict: Verdict,
        posteriors: Sequence[ModalityPosteriors],
        photos: Sequence[Pixels | None],
        *,
        detailed: bool,
    ) -> ItemExplained:
        item, assessed = case.one.item, verdict.items[case.place]
        suggested = assessed.candidates[0].hs6 if assessed.candidates else ""
        shares = case.shares
        reasons = list(assessed.signals)
        if not detailed:
            reasons.append(Signal(code=Reason.EXPLAINED_BRIEFLY))
        explanation = ItemExplanation(
            sequence_number=item.sequence_number,
            modality_shares=tuple(
                Contribution(
                    part=name,
                    start=NO_WORD,
                    weight=round(sum(shares[one] for one in players), DIGITS),
                )
                for name, players in case.groups.items()
            ),
            words=self.words(case.one) if detailed and case.one.text is not None else (),
            attributes=tuple(
                Contribution(
                    part=name,
                    start=NO_WORD,
                    weight=round(shares[name], DIGITS),
                    detail=case.detail(name),
                )
                for name in EVIDENCE_KINDS
                if name in shares
            ),
            peers=case.price_peers,
            similar_goods=tuple(self._similar(case.one)),
            suggested_hs6=suggested,
            duty_difference=case.duty_difference(suggested),
            reasons=tuple(reasons),
            changes=tuple(case.changes(verdict, posteriors, suggested)) if detailed else (),
        )
        maps = tuple(
            None
            if photo is None or not detailed
            else heat_map.overlay(self.regions(item.commodity_code[:4], photo))
            for photo in photos
        )
        return ItemExplained(explanation, maps)

    def _similar(self, one: ItemEvidence) -> Iterator[SimilarGoods]:
        """Yield the most similar past goods; of several photos the mean counts."""
        hs = self._scorer.hs
        tuned = None if one.text is None else one.text[-hs.index.text_projection.centre.size :]
        if tuned is None and not one.photos:
            return
        near = np.mean([hs.index.similarities(tuned, p) for p in one.photos or (None,)], axis=0)
        for place in best(near, SIMILAR):
            code = int(hs.index.codes[place])
            number = int(place - np.searchsorted(hs.index.codes, code)) + 1
            yield SimilarGoods(
                reference=f"{hs.codes[code]}/{number}",
                hs6=hs.codes[code],
                similarity=round(float(near[place]), DIGITS),
            )

    def _against(self, heading: str, posteriors: Array) -> NDArray[np.float64]:
        """Return the log-odds that goods are not of a heading, by probabilities (N, C): (N,)."""
        return _log_odds_against(
            posteriors[:, self._of_heading(heading)].sum(axis=1, dtype=np.float64)
        )

    def _of_heading(self, heading: str) -> NDArray[np.bool_]:
        """Return which codes are of a heading (C,)."""
        return np.char.startswith(self._codes, heading)

    @cached_property
    def _codes(self) -> NDArray[np.str_]:
        return np.array(self._scorer.hs.codes)


def traders(evidence: DeclarationEvidence) -> tuple[TraderHistory, ...]:
    """Return what is known of each party that is identified; nothing without recorded signals."""
    live = evidence.live
    if live is None:
        return ()
    rates = live.items[0].rates  # of a party they are the same for all items
    of_day = {"importer": live.importer_day, "seller": live.seller_day, "declarant": None}
    found = []
    for role, declarations in of_day.items():
        if identified(getattr(evidence.declaration, role)):
            past = rates.get(role, Rate(0, 0))
            found.append(
                TraderHistory(
                    role=role,
                    inspected=past.inspected,
                    irregular=past.irregular,
                    declarations_day=declarations,
                )
            )
    return tuple(found)


def _log_odds_against(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = probability.clip(LEAST, 1 - LEAST)
    log_odds: NDArray[np.float64] = np.log((1 - kept) / kept)
    return log_odds


def parts(text: str) -> list[tuple[int, int]]:
    """Return where each word of a text begins and ends; at most PARTS, else runs of words."""
    words = [match.span() for match in WORD.finditer(text)]
    run = math.ceil(len(words) / PARTS) or 1
    return [
        (some[0][0], some[-1][1])
        for some in (words[start : start + run] for start in range(0, len(words), run))
    ]
