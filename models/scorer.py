"""The one door to the model: `Scorer.embed_texts`, `embed_photos` and `score`.

Equal input and bundle give equal bits, alone or in a batch, cached or fresh: each datum goes
through the encoders alone, and every sum is taken over arrays of one shape.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models import bundle
from models.backends import OnnxBackend
from models.conformal import COVERAGE
from models.encoders import Encoders, Vector
from models.exemplars import ExemplarIndex
from models.hs import Calibration, HsModel, Nomenclature
from models.policy import Policy
from models.risk import Groups, Judgement, Kind, Peers, RiskModel
from models.text import GENERAL
from models.vectors import best
from schemas.records import Declaration, GoodsItem, HsCandidate, ItemAssessment, Selection

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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the model says of a declaration."""

    lane: str
    risk: float
    expected_revenue_at_risk: float
    selection: Selection
    items: tuple[ItemAssessment, ...]


class Scorer:
    """A loaded bundle. Thread safe."""

    def __init__(
        self, *, bundle_id: str, encoders: Encoders, hs: HsModel, risk: RiskModel, policy: Policy
    ) -> None:
        self.bundle_id = bundle_id
        self.text_encoder_id = bundle_id[:16]
        self.image_encoder_id = bundle_id[:16]
        self.text_dimension = GENERAL + len(hs.index.text_projection.centre)
        self.image_dimension = len(hs.index.photo_projection.centre)
        self._encoders = encoders
        self._hs = hs
        self._risk = risk
        self._policy = policy
        self._groups = Groups.of(hs.codes)

    @classmethod
    def load(cls, directory: Path, *, threads: int | None = None) -> Self:
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
            policy=Policy(**model["policy"]),
        )

    def embed_texts(self, texts: Sequence[str]) -> list[Vector]:
        """Embed goods texts → each (text_dimension,)."""
        return self._encoders.embed_texts(texts)

    def embed_photos(self, photos: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        """Embed photos as `models.image.decode` returns them → each (image_dimension,)."""
        return self._encoders.embed_photos(photos)

    def score(self, evidence: Sequence[DeclarationEvidence]) -> list[Verdict]:
        """Judge declarations, in order."""
        return [self._verdict(one) for one in evidence]

    def _verdict(self, evidence: DeclarationEvidence) -> Verdict:
        items = tuple(self._assess(one) for one in evidence.items)
        # The riskiest item speaks for all: items of one declaration share their trader, so their
        # risks do not multiply as independent ones would.
        risk = max(item.risk for item in items)
        return Verdict(
            lane=self._policy.lane(risk),
            risk=risk,
            expected_revenue_at_risk=0.0,  # no tariff measure is known to the bundle
            selection=Selection(basis="risk", probability=1.0),
            items=items,
        )

    def _assess(self, one: ItemEvidence) -> ItemAssessment:
        judged = self._risk.judge(self._hs, self._groups, one.item, one.text, one.photos)
        return ItemAssessment(
            sequence_number=one.item.sequence_number,
            commodity_code=one.item.commodity_code,
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


def load_hs(directory: Path, *, threads: int | None = None) -> HsModel:
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
    arrays = load_file(directory / "nomenclature.safetensors")
    return Nomenclature.of(
        names["cn8"],
        arrays["lines"],
        names["words"],
        arrays["words"],
        (arrays["classifier.weights"], arrays["classifier.biases"]),
    )


def _peers(table: Path) -> dict[str, Peers]:
    with table.open(newline="") as file:
        return {
            row["hs6"]: Peers(int(row["count"]), float(row["median"]), float(row["spread"]))
            for row in csv.DictReader(file)
        }
