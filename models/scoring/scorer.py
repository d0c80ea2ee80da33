"""The one door to the model: `Scorer.embed_texts`, `embed_photos` and `score`.

Equal input and bundle give equal bits, alone or in a batch, cached or fresh: each datum goes
through the encoders alone, and every sum is taken over arrays of one shape.
"""

import copy
import json
import math
import threading
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Self

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from models.encoding.encoders import IMAGE_FILES, TEXT_FILES, Encoders, Vector, encoder_id
from models.encoding.text import NGRAMS
from models.hs.classifier import HsModel
from models.hs.conformal import COVERAGE
from models.hs.editions import SUBHEADING, current
from models.hs.modalities import ModalityPosteriors, modality_posteriors
from models.risk import likelihoods, plausibility
from models.risk.attributes import Attributes
from models.risk.kinds import (
    HISTORY,
    NO_GOODS_NAMED,
    OTHER_TITLE,
    PHOTO_REUSE,
    SPLITTING,
    UNDERVALUATION,
    UNKNOWN_CODE,
    WRONG_TIME,
    prior_odds,
)
from models.risk.likelihoods import LikelihoodRatio
from models.risk.model import Groups, Judgement, KindRegression, RiskModel
from models.risk.signals import ItemSignals, Peers
from models.risk.tabular import TabularModel
from models.risk.tariff import Goods, expected_revenue
from models.risk.vagueness import vague
from models.scoring import bundle
from models.scoring.evidence import DeclarationEvidence, ItemContext, ItemEvidence, Verdict
from models.scoring.loading import load_hs, load_peers
from models.selection.policy import Thresholds
from models.vectors import best
from schemas.records import GoodsItem, HsCandidate, ItemAssessment

CANDIDATES: Final = 5
DIGITS: Final = 6
"""Decimals that are published."""
ANSWERS: Final = 512
"""Of the model that are kept for goods items of equal evidence; some 70 kB each."""


class Scorer:
    """A loaded bundle. Thread safe."""

    def __init__(
        self,
        *,
        bundle_id: str,
        file_hashes: Mapping[str, str],
        encoders: Encoders,
        hs: HsModel,
        risk: RiskModel,
        tabular: TabularModel,
        thresholds: Thresholds,
    ) -> None:
        self.bundle_id = bundle_id
        self.text_dimension = NGRAMS + len(hs.index.text_projection.centre)
        self.image_dimension = len(hs.index.photo_projection.centre)
        self._encoders = encoders
        self._file_hashes = file_hashes
        self._hs = hs
        self._risk = risk
        self._tabular = tabular
        self.thresholds = thresholds
        self.groups = Groups.of(hs.codes)
        self._chapters = np.array([int(code[:2]) for code in hs.codes])
        self._answers = LRUCache[bytes, ModalityPosteriors](ANSWERS)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, directory: Path, *, threads: int = 1) -> Self:
        """Verify and load a bundle.

        Raises:
            BadBundle: it is incomplete or was changed.
        """
        bundle_id = bundle.verify(directory)
        model = json.loads((directory / "model.json").read_text())
        risk = model["risk"]
        regressions = {name: KindRegression(**fitted) for name, fitted in risk["kinds"].items()}
        return cls(
            bundle_id=bundle_id,
            file_hashes=bundle.file_hashes(directory),
            encoders=Encoders(directory, threads=threads),
            hs=load_hs(directory, threads=threads),
            risk=RiskModel(regressions, risk["usual"], load_peers(directory)),
            tabular=TabularModel.load(directory, threads=threads),
            thresholds=Thresholds(**model["policy"]),
        )

    def embed_texts(self, texts: Sequence[str]) -> list[Vector]:
        """Embed goods texts → each (text_dimension,)."""
        return self._encoders.embed_texts(texts)

    def embed_photos(self, photos: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        """Embed photos as `models.encoding.image.decode` returns them → each (image_dimension,)."""
        return self._encoders.embed_photos(photos)

    @property
    def arithmetic(self) -> str:
        """Of this machine, see `Encoders.arithmetic`."""
        return self._encoders.arithmetic

    @property
    def text_encoder_id(self) -> str:
        """See `encoder_id`."""
        return encoder_id(self._file_hashes, TEXT_FILES, self.arithmetic)

    @property
    def image_encoder_id(self) -> str:
        """See `encoder_id`."""
        return encoder_id(self._file_hashes, IMAGE_FILES, self.arithmetic)

    @property
    def hs(self) -> HsModel:
        """The model of HS codes."""
        return self._hs

    def with_hs(self, hs: HsModel) -> Self:
        """Return a copy of the scorer with another model of codes."""
        other = copy.copy(self)
        other._hs = hs  # noqa: SLF001 - it is of this class
        other._answers = LRUCache(ANSWERS)  # noqa: SLF001
        return other

    def log_odds(
        self,
        code: str,
        posteriors: ModalityPosteriors,
        external_log_ratios: Mapping[str, float],
        usual: Collection[str] = (),
    ) -> float:
        """Return the log-odds of a goods item's risk; see `RiskModel.log_odds`. Unit: nats."""
        return self._risk.log_odds(self.groups, code, posteriors, external_log_ratios, usual)

    def score(self, evidence: Sequence[DeclarationEvidence]) -> list[Verdict]:
        """Judge declarations, in order.

        The model is asked together about all goods items, and once about those of equal evidence.
        """
        answers = iter(self._posteriors([item for each in evidence for item in each.items]))
        verdicts = []
        for declared in evidence:
            posteriors = list(islice(answers, len(declared.items)))
            verdicts.append(self.verdict(declared, self.contexts(declared, posteriors), posteriors))
        return verdicts

    def _posteriors(self, items: Sequence[ItemEvidence]) -> list[ModalityPosteriors]:
        contents = [item.content for item in items]
        with self._lock:
            answers = {each: self._answers[each] for each in contents if each in self._answers}
        new = {
            content: item.embeddings
            for content, item in zip(contents, items, strict=True)
            if content not in answers
        }
        answers |= zip(new, modality_posteriors(self._hs, list(new.values())), strict=True)
        with self._lock:
            self._answers.update(answers)
        return [answers[content] for content in contents]

    def verdict(
        self,
        evidence: DeclarationEvidence,
        contexts: Sequence[ItemContext],
        posteriors: Sequence[ModalityPosteriors],
    ) -> Verdict:
        """Judge a declaration.

        Args:
            evidence: of the declaration.
            contexts: of each goods item, as `contexts` returns them.
            posteriors: of the codes of each goods item.
        """
        judged = list(zip(evidence.items, contexts, posteriors, strict=True))
        items = [self._assess(*item) for item in judged]
        revenue = [
            _expected_revenue(evidence, declared.item, context, assessed)
            for (declared, context, _), assessed in zip(judged, items, strict=True)
        ]
        return Verdict.of(items, revenue)

    def contexts(
        self, evidence: DeclarationEvidence, posteriors: Sequence[ModalityPosteriors]
    ) -> list[ItemContext]:
        """Return the context of each goods item; see `context`."""
        live = evidence.live
        splitting = None if live is None else likelihoods.splitting(evidence.declaration, live)
        return [
            self._context(evidence, place, of_item, splitting)
            for place, of_item in enumerate(posteriors)
        ]

    def context(
        self, evidence: DeclarationEvidence, place: int, posteriors: ModalityPosteriors
    ) -> ItemContext:
        """Return the context of the goods item at a place.

        Args:
            evidence: of the declaration.
            place: of the goods item.
            posteriors: of its codes.
        """
        return self.contexts(evidence.part([place]), [posteriors])[0]

    def _context(
        self,
        evidence: DeclarationEvidence,
        place: int,
        posteriors: ModalityPosteriors,
        splitting: LikelihoodRatio | None,
    ) -> ItemContext:
        attributes, peers = self.attributes(evidence, place), self.peers(evidence, place)
        item, live = evidence.items[place].item, evidence.live
        by_text = None if posteriors.text is None else posteriors.text.probabilities
        ratios = {
            UNDERVALUATION.name: likelihoods.price(item, peers),
            UNKNOWN_CODE.name: likelihoods.unknown_code(item.commodity_code, self.groups.codes),
            NO_GOODS_NAMED.name: vague(item.description, by_text, self._chapters),
            OTHER_TITLE.name: self._title(posteriors),
            **plausibility.likelihood_ratios(item, peers),
            WRONG_TIME.name: likelihoods.acceptance_time(
                evidence.declaration.acceptance_time, evidence.arrived
            ),
        }
        if live is not None:
            signals = live.items[place]
            ratios |= {
                PHOTO_REUSE.name: likelihoods.photo_reuse(signals.photo),
                SPLITTING.name: splitting,
                HISTORY.name: self._tabular.likelihood_ratio(attributes, signals.rates, peers),
            }
        present = {kind: ratio for kind, ratio in ratios.items() if ratio is not None}
        return ItemContext(attributes, peers, present)

    def _title(self, posteriors: ModalityPosteriors) -> LikelihoodRatio | None:
        if posteriors.title is None or posteriors.text is None:
            return None
        return likelihoods.title(
            posteriors.text.probabilities,
            posteriors.title.probabilities,
            self._hs.codes,
            self.groups.headings,
        )

    def attributes(self, evidence: DeclarationEvidence, place: int) -> Attributes:
        """Return the declared attributes of a goods item."""
        declaration, item = evidence.declaration, evidence.items[place].item
        duty = evidence.tariff.duty(
            current(item.commodity_code), item.country_of_origin, evidence.accepted, Goods.of(item)
        )
        return Attributes.of(declaration, item, duty)

    def peers(self, evidence: DeclarationEvidence, place: int) -> Peers | None:
        """Return the prices to compare with: of the same photo, of the stream, of the bundle."""
        live = evidence.live.items[place] if evidence.live else ItemSignals()
        streamed = (live.photo.price if live.photo else None) or live.price
        code = current(evidence.items[place].item.commodity_code)
        return streamed or self._risk.peers.get(code[:SUBHEADING])

    def _assess(
        self, declared: ItemEvidence, context: ItemContext, posteriors: ModalityPosteriors
    ) -> ItemAssessment:
        item = declared.item
        judged = self._risk.judge(
            self._hs, self.groups, item.commodity_code, posteriors, context.likelihood_ratios
        )
        return ItemAssessment(
            sequence_number=item.sequence_number,
            commodity_code=item.commodity_code,
            risk=round(judged.risk, DIGITS),
            candidates=self._candidates(judged),
            hs_set=judged.hs_set,
            hs_set_coverage=COVERAGE if judged.hs_set else 0.0,
            modalities=judged.modalities,
            signals=judged.signals,
        )

    def _candidates(self, judged: Judgement) -> tuple[HsCandidate, ...]:
        if judged.probabilities is None:
            return ()
        places = best(judged.probabilities, CANDIDATES)
        return tuple(
            HsCandidate(
                hs6=self._hs.codes[place],
                probability=round(float(judged.probabilities[place]), DIGITS),
            )
            for place in places
        )


def _expected_revenue(
    evidence: DeclarationEvidence, item: GoodsItem, context: ItemContext, assessed: ItemAssessment
) -> float:
    """Return the duty and VAT that an item is expected to lose. Unit: EUR."""
    undervaluation, peers = None, context.peers
    ratio = context.likelihood_ratios.get(UNDERVALUATION.name)
    if ratio is not None and peers is not None:
        odds = prior_odds(UNDERVALUATION) * math.exp(ratio.log_ratio)
        undervaluation = odds / (1 + odds), math.exp(peers.median) * float(item.net_mass or 0)
    return expected_revenue(
        evidence.tariff,
        item,
        [(candidate.hs6, candidate.probability) for candidate in assessed.candidates],
        undervaluation,
        evidence.accepted,
        declared_duty=context.attributes.duty_rate,
    )
