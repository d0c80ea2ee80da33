"""The one door to the model: `Scorer.embed_texts`, `embed_photos` and `score`.

Equal input and bundle give equal bits, alone or in a batch, cached or fresh: each datum goes
through the encoders alone, and every sum is taken over arrays of one shape.
"""

import copy
import csv
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models.encoding.backends import OnnxBackend
from models.encoding.encoders import Encoders, Vector
from models.encoding.text import GENERAL
from models.hs import embedded_nomenclature
from models.hs.classifier import Calibration, HsModel, Nomenclature
from models.hs.conformal import COVERAGE
from models.hs.exemplars import ExemplarIndex
from models.risk import likelihoods
from models.risk.attributes import Attributes
from models.risk.likelihoods import LikelihoodRatio
from models.risk.model import (
    FIRES,
    Groups,
    Judgement,
    Kind,
    ModalityPosteriors,
    RiskModel,
    modality_posteriors,
    prior_odds,
)
from models.risk.signals import ItemSignals, LiveSignals, Peers, Rate
from models.risk.tabular import TabularModel, features
from models.risk.tariff import Tariff, expected_revenue
from models.scoring import bundle
from models.selection.policy import Thresholds
from models.vectors import best
from schemas.records import Declaration, GoodsItem, HsCandidate, ItemAssessment

CANDIDATES: Final = 5
DIGITS: Final = 6
"""Decimals that are published."""


@dataclass(frozen=True, slots=True)
class ItemEvidence:
    """A goods item with the embeddings of its text and its photos."""

    item: GoodsItem
    text: Vector | None
    photos: tuple[Vector, ...]


@dataclass(frozen=True, slots=True)
class DeclarationEvidence:
    """A declaration with the evidence of each goods item, in the order declared."""

    declaration: Declaration
    items: tuple[ItemEvidence, ...]
    live: LiveSignals | None = None
    """None where they could not be had."""
    tariff: Tariff = field(default_factory=Tariff)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the model says of a declaration."""

    risk: float
    expected_revenue_at_risk: float
    """Unit: EUR."""
    items: tuple[ItemAssessment, ...]


class Scorer:
    """A loaded bundle. Thread safe."""

    def __init__(
        self,
        *,
        bundle_id: str,
        encoders: Encoders,
        hs: HsModel,
        risk: RiskModel,
        tabular: TabularModel,
        thresholds: Thresholds,
    ) -> None:
        self.bundle_id = bundle_id
        self.arithmetic = encoders.arithmetic
        self.text_encoder_id = self.image_encoder_id = f"{bundle_id[:16]}:{self.arithmetic}"
        self.text_dimension = GENERAL + len(hs.index.text_projection.centre)
        self.image_dimension = len(hs.index.photo_projection.centre)
        self._encoders = encoders
        self._hs = hs
        self._risk = risk
        self._tabular = tabular
        self.thresholds = thresholds
        self._groups = Groups.of(hs.codes)

    @classmethod
    def load(cls, directory: Path, *, threads: int = 1) -> Self:
        """Verify and load a bundle.

        Raises:
            BadBundle: it is incomplete or was changed.
        """
        bundle_id = bundle.verify(directory)
        model = json.loads((directory / "model.json").read_text())
        risk = model["risk"]
        kinds = {name: Kind(**one) for name, one in risk["kinds"].items()}
        return cls(
            bundle_id=bundle_id,
            encoders=Encoders(directory, threads=threads),
            hs=load_hs(directory, threads=threads),
            risk=RiskModel(kinds, risk["usual"], _peers(directory / "peers.csv")),
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
    def hs(self) -> HsModel:
        """Which says what code goods are of."""
        return self._hs

    def with_hs(self, hs: HsModel) -> Self:
        """Return the scorer with another model of codes."""
        other = copy.copy(self)
        other._hs = hs  # noqa: SLF001 - it is of this class
        return other

    def log_odds(
        self,
        code: str,
        posteriors: ModalityPosteriors,
        told: Mapping[str, float],
        usual: Collection[str] = (),
    ) -> float:
        """Return the log-odds of a goods item's risk; see `RiskModel.log_odds`. Unit: nats."""
        return self._risk.log_odds(self._groups, code, posteriors, told, usual)

    def score(self, evidence: Sequence[DeclarationEvidence]) -> list[Verdict]:
        """Judge declarations, in order."""
        return [
            self.verdict(
                one, [modality_posteriors(self._hs, item.text, item.photos) for item in one.items]
            )
            for one in evidence
        ]

    def verdict(
        self, evidence: DeclarationEvidence, posteriors: Sequence[ModalityPosteriors]
    ) -> Verdict:
        """Judge a declaration, of whose goods items it is known what text and photos say."""
        items = tuple(
            self._assess(one.item, said, self.told(evidence, place))
            for place, (one, said) in enumerate(zip(evidence.items, posteriors, strict=True))
        )
        return Verdict(
            # The riskiest item speaks for all: items of one declaration share their trader, so
            # their risks do not multiply as independent ones would.
            risk=max(item.risk for item in items),
            expected_revenue_at_risk=round(
                sum(self._revenue(evidence, place, item) for place, item in enumerate(items)), 2
            ),
            items=items,
        )

    def told(self, evidence: DeclarationEvidence, place: int) -> dict[str, LikelihoodRatio]:
        """Return an item's likelihood ratio for each of EXTERNAL_KINDS that can be computed."""
        item, live = evidence.items[place].item, evidence.live
        peers = self.peers(evidence, place)
        told = {
            "undervaluation": likelihoods.price(item, peers),
            "photo_reuse": likelihoods.photo_reuse(live.items[place].photo) if live else None,
            "splitting": likelihoods.splitting(evidence.declaration, live) if live else None,
            "history": self._history(evidence, place, peers),
        }
        return {kind: one for kind, one in told.items() if one is not None}

    def _history(
        self, evidence: DeclarationEvidence, place: int, peers: Peers | None
    ) -> LikelihoodRatio | None:
        """Return what past inspections say; None before the first one."""
        rates = evidence.live.items[place].rates if evidence.live else {}
        if "all" not in rates:
            return None
        attributes = self.attributes(evidence, place)

        def ratio(known: Mapping[str, Rate]) -> float:
            return self._tabular.judge(features(attributes, known, peers)).log_ratio

        found, words = ratio(rates), ""
        if found >= FIRES:
            # Told is what raises it most: without which of the rates would it be least?
            without = {
                name: ratio({other: rate for other, rate in rates.items() if other != name})
                for name in rates
                if name != "all"
            }
            most = min(without, key=lambda name: without[name], default="")
            if most and without[most] < found:
                past = rates[most]
                words = f"{past.irregular} of {past.inspected} inspected items irregular: "
                words += f"same {most.replace('_', ' and ')}"
        return LikelihoodRatio(max(-likelihoods.CAP, min(found, likelihoods.CAP)), words)

    def attributes(self, evidence: DeclarationEvidence, place: int) -> Attributes:
        """Return what is declared of a goods item."""
        declaration, item = evidence.declaration, evidence.items[place].item
        duty = evidence.tariff.duty(
            item.commodity_code, item.country_of_origin, declaration.acceptance_time
        )
        return Attributes.of(declaration, item, duty)

    def _revenue(
        self, evidence: DeclarationEvidence, place: int, assessed: ItemAssessment
    ) -> float:
        """Return the duty and VAT that an item is expected to lose. Unit: EUR."""
        item, usual = evidence.items[place].item, None
        peers = self.peers(evidence, place)
        told = likelihoods.price(item, peers)
        if told is not None and peers is not None:
            odds = prior_odds("undervaluation") * math.exp(told.log_ratio)
            usual = odds / (1 + odds), math.exp(peers.median) * float(item.net_mass or 0)
        candidates = [(one.hs6, one.probability) for one in assessed.candidates]
        at = evidence.declaration.acceptance_time
        return expected_revenue(evidence.tariff, item, candidates, usual, at)

    def peers(self, evidence: DeclarationEvidence, place: int) -> Peers | None:
        """Return the prices to compare with: of the same photo, of the stream, of the bundle."""
        live = evidence.live.items[place] if evidence.live else ItemSignals()
        seen = (live.photo.price if live.photo else None) or live.price
        return seen or self._risk.peers.get(evidence.items[place].item.commodity_code[:6])

    def _assess(
        self, item: GoodsItem, posteriors: ModalityPosteriors, told: Mapping[str, LikelihoodRatio]
    ) -> ItemAssessment:
        judged = self._risk.judge(self._hs, self._groups, item.commodity_code, posteriors, told)
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


def load_hs(directory: Path, *, threads: int = 1) -> HsModel:
    """Load the HS model of a verified bundle."""
    hs = json.loads((directory / "model.json").read_text())["hs"]
    nomenclature = load_nomenclature(directory)
    index = ExemplarIndex.load(directory / "exemplars.safetensors")
    return HsModel.of(
        nomenclature=nomenclature,
        network=OnnxBackend(directory / "fusion.onnx", threads=threads),
        known=hs["known"],
        index=index,
        sharpness=tuple(hs["sharpness"]),
        photo_weight=hs["photo_weight"],
        neighbour_sharpness=hs["neighbour_sharpness"],
        calibration={
            name: Calibration(one["temperature"], tuple(one["gate"]), one["threshold"])
            for name, one in hs["calibration"].items()
        },
    )


def load_nomenclature(directory: Path) -> Nomenclature:
    """Load the nomenclature of a verified bundle."""
    names = json.loads((directory / "nomenclature.json").read_text())
    lines, words = embedded_nomenclature.load(directory)
    classifier = load_file(directory / "classifier.safetensors")
    return Nomenclature.of(
        names["cn8"],
        lines,
        names["words"],
        words,
        (classifier["weights"], classifier["biases"]),
    )


def _peers(table: Path) -> dict[str, Peers]:
    with table.open(newline="") as file:
        return {
            row["hs6"]: Peers(int(row["count"]), float(row["median"]), float(row["spread"]))
            for row in csv.DictReader(file)
        }
