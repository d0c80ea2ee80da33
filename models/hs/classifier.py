"""Which HS subheading are these goods? From text, photo or both, over the whole nomenclature.

Text is read by experts that know every code (`models.hs.text_experts`). Photos are known of fewer
codes: there the fusion network names the codes that it was trained on, and past goods show codes
that came later. For all others the words for what a photo shows are compared with the
nomenclature's texts, and joined with what the text says. A gate weighs the trained against the
general answer by how near the goods lie to goods that were seen: a network that never saw a laptop
must not judge one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.encoding.backends import Backend
from models.encoding.text import NGRAMS
from models.hs import conformal
from models.hs.embedded_nomenclature import Nomenclature
from models.hs.exemplars import ExemplarIndex, Neighbours, share_of_others
from models.hs.text_experts import TextExperts
from models.vectors import Array, blocks, products, softmax

FLOOR: Final = 1e-7
"""Least probability of a code: no evidence rules a code out."""
MODALITIES: Final = ("text", "image", "both")
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Posterior:
    """The probability of each code, by text, photo or both."""

    probabilities: Array  # (C,)
    gate_weight: float
    """Gate weight of the trained experts, 0 to 1."""


class Posteriors(NamedTuple):
    """Those of several goods."""

    probabilities: Array  # (N, C)
    gate_weights: NDArray[np.float64]  # (N,)

    def mean(self, rows: slice) -> Posterior:
        """Return the mean of neighbouring ones, as of the photos of one goods item."""
        shares = self.probabilities[rows].mean(axis=0)
        return Posterior(shares, float(self.gate_weights[rows].mean()))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Parameters chosen on held-out goods, for one modality or both."""

    temperature: float
    """Divides the network's scores."""
    gate: tuple[float, float, float]
    """Two slopes and an offset: similarity to past goods, and the network's own certainty →
    log-odds that the goods are familiar."""
    least: tuple[float, ...]
    """Least probability of a member of the 95 % set at each level of `conformal.DIGITS`."""


class CodeEvidence(NamedTuple):
    """What the goods text and the photo's words say of every code."""

    text: Array | None  # (..., C): log-probabilities by the text experts
    photo: Array | None  # (..., C): similarity of the photo's words to the nomenclature's texts

    def of(self, name: str) -> Self:
        """Keep only what one of MODALITIES gives."""
        return type(self)(*chosen(name, *self))


@dataclass(frozen=True, slots=True)
class ExpertOutputs:
    """What each expert says of one or several (...) goods with photos."""

    general: Array  # (..., C): probabilities by what is known of every code
    neighbours: Neighbours
    others: Array  # (..., K): probabilities of the neighbours' codes without training
    scores: Array  # (..., K): the network's

    @property
    def familiarity(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Similarity to the nearest past goods, and the network's certainty of its best code."""
        return self.neighbours.nearest, softmax(self.scores).max(axis=-1).astype(np.float64)


@dataclass(frozen=True)
class HsModel:
    """The experts and how they are joined; embeddings in, probabilities out."""

    nomenclature: Nomenclature
    network: Backend
    """Embeddings of text and photo, and which are present → scores (K,)."""
    trained_codes: NDArray[np.int64]  # (K,): the network's codes, as places in the nomenclature
    index: ExemplarIndex
    text_experts: TextExperts
    sharpness: tuple[float, float]
    """Factors on similarities in the softmax: of text to the image classifier's words, and of the
    photo's words to nomenclature texts."""
    photo_weight: float
    """Weight of the photo words' log-probabilities beside the text's."""
    neighbour_sharpness: float
    """Factor on the similarity to past goods in the softmax."""
    calibration: Mapping[str, Calibration]
    """Of each of MODALITIES."""

    @classmethod
    def of(
        cls,
        nomenclature: Nomenclature,
        trained_codes: Sequence[str],
        index: ExemplarIndex,
        **rest: Any,
    ) -> Self:
        """Take the parts; see the fields.

        Args:
            nomenclature: of all codes.
            trained_codes: the network's codes, sorted.
            index: of past goods.
            rest: the other fields.
        """
        return cls(
            nomenclature=nomenclature,
            trained_codes=np.searchsorted(nomenclature.codes, trained_codes),
            index=index,
            **rest,
        )

    @property
    def codes(self) -> tuple[str, ...]:
        """The nomenclature's HS6 codes (C,), sorted."""
        return self.nomenclature.codes

    def posterior(self, text: Array | None, photo: Array | None) -> Posterior:
        """Return the codes' probabilities by an embedded text, an embedded photo or both.

        Args:
            text: (D,), or None.
            photo: (I,), or None. One of the two must be given.

        Raises:
            ValueError: neither is given.
        """
        rows = (None if vector is None else vector[np.newaxis] for vector in (text, photo))
        return self.posteriors(*rows).mean(slice(1))

    def posteriors(
        self,
        text: Array | None,
        photo: Array | None,
        *,
        gate_weights: NDArray[np.float64] | None = None,
        evidence: CodeEvidence | None = None,
    ) -> Posteriors:
        """Return the codes' probabilities for several goods, each as it would be alone.

        Args:
            text: (N, D), or None.
            photo: (N, I), or None. One of the two must be given.
            gate_weights: (N,), instead of this evidence's own, where more is known of the goods.
            evidence: what `code_evidence` returns, if already computed: it takes most of the time.

        Raises:
            ValueError: neither is given.
        """
        name = modality(text=text is not None, photo=photo is not None)
        known = self.code_evidence(text, photo) if evidence is None else evidence
        if photo is None:
            general = _normalised(self.general_probabilities(known))
            return Posteriors(
                general, np.zeros(len(general)) if gate_weights is None else gate_weights
            )
        outputs = self.run_experts(text, photo, known)
        return self.combine(outputs, self.calibration[name], gate_weights)

    def run_experts(
        self, text: Array | None, photo: Array, evidence: CodeEvidence | None = None
    ) -> ExpertOutputs:
        """Ask each expert about one or several (...) goods; see `posterior`."""
        meaning = None if text is None else text[..., NGRAMS:]
        neighbours = self.index.neighbours(meaning, photo)
        others = share_of_others(neighbours, self.trained_codes, self.neighbour_sharpness)
        known = self.code_evidence(text, photo) if evidence is None else evidence
        return ExpertOutputs(
            self.general_probabilities(known), neighbours, others, self.scores(meaning, photo)
        )

    def combine(
        self,
        outputs: ExpertOutputs,
        calibration: Calibration,
        gate_weights: NDArray[np.float64] | None = None,
    ) -> Posteriors:
        """Mix the experts' outputs for several goods; see `posteriors`."""
        if gate_weights is None:
            gate_weights = self.gate_weights(outputs, calibration.gate)
        return Posteriors(self._mixed(outputs, calibration, gate_weights), gate_weights)

    def _mixed(
        self, outputs: ExpertOutputs, calibration: Calibration, gate_weights: NDArray[np.float64]
    ) -> Array:
        """Mix the trained with the general answer, by the gate weights."""
        weights = gate_weights.astype(np.float32)[..., np.newaxis]
        trained = np.zeros_like(outputs.general)
        trained[..., self.trained_codes] = softmax(outputs.scores / calibration.temperature)
        trained *= 1 - outputs.others.sum(axis=-1, keepdims=True)
        trained[..., outputs.neighbours.places] += outputs.others
        return _normalised(weights * trained + (1 - weights) * outputs.general)

    def hs_set(self, modality: str, posterior: Posterior) -> tuple[str, ...]:
        """Return the codes, headings or chapters that hold the right code in 95 of 100 cases.

        Empty where nothing can be promised.
        """
        least = self.calibration[modality].least
        return conformal.prediction_set(self.codes, posterior.probabilities, least)

    def scores(self, text: Array | None, photo: Array | None) -> Array:
        """Return the fusion network's scores of its codes (..., K); of a text, by its meaning."""
        shape = next(vectors.shape[:-1] for vectors in (text, photo) if vectors is not None)
        size = self.index.text_projection.centre.size, self.index.photo_projection.centre.size
        present = np.array([text is not None, photo is not None], np.float32)
        inputs = {
            "text": np.zeros((*shape, size[0]), np.float32) if text is None else text,
            "photo": np.zeros((*shape, size[1]), np.float32) if photo is None else photo,
            "there": np.broadcast_to(present, (*shape, 2)),
        }
        parts = [
            self.network.run(dict(zip(inputs, block, strict=True)))
            for block in zip(*map(blocks, inputs.values()), strict=True)
        ]
        rows = math.prod(shape)
        return np.concatenate(parts)[:rows].reshape(*shape, -1)

    def code_evidence(self, text: Array | None, photo: Array | None) -> CodeEvidence:
        """Compare an embedded text and photo with every code."""
        n = self.nomenclature
        return CodeEvidence(
            None if text is None else self.text_experts.log_probabilities(text),
            None if photo is None else n.similarities_of_photo(photo),
        )

    def general_probabilities(self, evidence: CodeEvidence) -> Array:
        """Return the codes' probabilities (..., C) without the experts of trained codes."""
        logits = []
        if evidence.text is not None:
            logits.append(evidence.text)
        if evidence.photo is not None:
            weight = 1.0 if evidence.text is None else self.photo_weight
            logits.append(np.float32(weight * self.sharpness[1]) * evidence.photo)
        return softmax(np.sum(logits, axis=0))

    def gate_weights(
        self, outputs: ExpertOutputs, gate: tuple[float, float, float]
    ) -> NDArray[np.float64]:
        """Return the weights of the trained experts (...), 0 to 1.

        0 below even odds: the trained experts are sure of one code where the nomenclature's texts
        are spread over many, so even a small weight would outvote the texts.
        """
        by_similarity, by_certainty, offset = gate
        similarity, certainty = outputs.familiarity
        log_odds = by_similarity * similarity + by_certainty * certainty + offset
        odds: NDArray[np.float64] = np.maximum(0.0, 2 / (1 + np.exp(-log_odds)) - 1)
        return odds

    def consistency(self, text: Posterior, photo: Posterior) -> float:
        """Return how much likelier text and photo are of goods of one code than of any two.

        A log-likelihood ratio in nats, from what each alone says of the code; every code is as
        probable beforehand.
        """
        prior = np.float32(1 / len(self.codes))
        return float(np.log((text.probabilities * photo.probabilities / prior).sum()))

    def same_goods(self, text: Array, photo: Array) -> float:
        """Return the probability that text and photo are of goods of one code, at even odds."""
        log_ratio = self.consistency(self.posterior(text, None), self.posterior(None, photo))
        return 1 / (1 + float(np.exp(-log_ratio)))

    def agreement(self, text: Array, photo: Array) -> NDArray[np.float64]:
        """Return how much likelier texts and photos agree on one word than any two would.

        (..., D) and (..., I) → (...), in nats. Like `consistency`, but by the image classifier's
        words, for goods of unfamiliar kinds. A word that many texts of the nomenclature are near to
        counts less.
        """
        n = self.nomenclature
        read = softmax(self.sharpness[0] * products(n.centred(text), n.words))
        shared = (read * n.word_probabilities(photo) / self.usual_words).sum(axis=-1)
        return np.asarray(np.log(shared), np.float64)

    @cached_property
    def usual_words(self) -> Array:
        """Mean probability of each word of the image classifier, by the nomenclature (W,)."""
        n = self.nomenclature
        usual: Array = softmax(self.sharpness[0] * (n.lines @ n.words.T)).mean(axis=0)
        return usual


def _normalised(mixed: Array) -> Array:
    """Return probabilities (..., C) of which none is below about FLOOR."""
    shares: Array = ((mixed + FLOOR) / (mixed + FLOOR).sum(axis=-1, keepdims=True)).astype(
        np.float32
    )
    return shares


def chosen(name: str, text: Part, photo: Part) -> tuple[Part | None, Part | None]:
    """Keep only what one of MODALITIES uses."""
    return (None if name == "image" else text), (None if name == "text" else photo)


def modality(*, text: bool, photo: bool) -> str:
    """Return the one of MODALITIES that is present.

    Raises:
        ValueError: none is.
    """
    if not text and not photo:
        raise ValueError("Neither text nor photo.")
    return "both" if text and photo else "text" if text else "image"
