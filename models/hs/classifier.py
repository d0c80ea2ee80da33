"""Which HS subheading are these goods? From text, photo or both, over the whole nomenclature.

Three experts. The fusion network knows some codes well. Past goods tell of codes that came after
it was trained. The nomenclature's texts know every code, from the goods text and from the words
for what the photo shows; they alone hear the general text encoder beside the tuned one. How far the
first two are heard depends on how near the goods lie to what they have seen: a network that never
saw a laptop must not judge one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.encoding.backends import Backend
from models.encoding.text import GENERAL
from models.hs import conformal
from models.hs.exemplars import ExemplarIndex, Neighbours, share_of_others
from models.vectors import Array, best, softmax, unit

FLOOR: Final = 1e-7
"""Least probability of a code: no evidence rules a code out."""
MODALITIES: Final = ("text", "image", "both")
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Posterior:
    """What text, photo or both say of the code."""

    probabilities: Array  # (C,)
    gate_weight: float
    """How far the experts were heard that know such goods, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was chosen on goods held out, for one modality or both."""

    temperature: float
    """Divides the network's scores."""
    gate: tuple[float, float, float]
    """Two slopes and an offset: similarity to past goods, and the network's own certainty →
    log-odds that the goods are of a kind seen before."""
    threshold: float
    """Least probability of a code in the 95 % set."""


@dataclass(frozen=True, slots=True)
class Nomenclature:
    """The HS subheadings, as embeddings of their texts."""

    codes: tuple[str, ...]  # (C,), sorted
    line_starts: NDArray[np.int64]  # (C,): each code's first line
    line_codes: NDArray[np.str_]  # (L,): each line's code, sorted
    lines: Array  # (L, D): mean embedding of each line's languages, centred, of length 1
    centre: Array  # (D,): mean embedding of the lines
    words: Array  # (W, D): the image classifier's words, centred by their mean, of length 1
    word_names: tuple[str, ...]  # (W,)
    classifier: tuple[Array, Array]  # (W, I), (W,): pretrained photo features → words

    @classmethod
    def of(
        cls,
        cn8: Sequence[str],
        lines: Array,
        word_names: Sequence[str],
        words: Array,
        classifier: tuple[Array, Array],
    ) -> Self:
        """Take the embeddings of lines (L, D), sorted by their codes, and of words (W, D)."""
        centre, words_centre = lines.mean(axis=0), words.mean(axis=0)
        hs6 = np.array([code[:6] for code in cn8])
        return cls(
            *_starts(hs6),
            line_codes=hs6,
            lines=unit(lines - centre),
            centre=centre,
            words=unit(words - words_centre),
            word_names=tuple(word_names),
            classifier=classifier,
        )

    def without(self, lines: Sequence[int]) -> Self:
        """Return the nomenclature without some lines; each code keeps one at least."""
        kept = np.ones(len(self.lines), bool)
        kept[list(lines)] = False
        codes, starts = _starts(self.line_codes[kept])
        return replace(
            self,
            codes=codes,
            line_starts=starts,
            line_codes=self.line_codes[kept],
            lines=self.lines[kept],
        )

    def meant(self, text: Array) -> Array:
        """Centre a goods text's embedding: (..., D) → (..., D), of length 1."""
        return unit(text - self.centre)

    def says(self, photo: Array) -> Array:
        """Return the probability of each word of the image classifier: (..., I) → (..., W)."""
        weights, biases = self.classifier
        return softmax(photo[..., : weights.shape[1]] @ weights.T + biases)

    def words_of(self, photo: Array, count: int) -> list[str]:
        """Return the words that the photo says most, the strongest first."""
        return [self.word_names[place] for place in best(self.says(photo), count)]

    def shown(self, photo: Array) -> Array:
        """Translate a photo into the text space by its words: (..., I) → (..., D)."""
        return unit(self.says(photo) @ self.words)

    def similarities(self, vector: Array) -> Array:
        """Return each code's similarity to what is `shown` or `meant`: (..., D) → (..., C)."""
        nearest: Array = np.maximum.reduceat(vector @ self.lines.T, self.line_starts, axis=-1)
        return nearest


class Similar(NamedTuple):
    """How near each code's nomenclature text is to the goods text and to what the photo shows."""

    text: Array | None  # (..., C)
    photo: Array | None  # (..., C)

    def of(self, name: str) -> Self:
        """Leave only what is of one of MODALITIES."""
        return type(self)(*chosen(name, *self))


@dataclass(frozen=True, slots=True)
class ExpertOutputs:
    """What each expert says of some goods, or of several at once."""

    nomenclature_probabilities: Array  # (..., C): probabilities by the nomenclature's texts
    neighbours: Neighbours
    others: Array  # (..., K): probabilities of the neighbours' codes that the network knows not
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
    """Embeddings of text and photo, and which are there → scores (K,)."""
    known: NDArray[np.int64]  # (K,): the network's codes, as places in the nomenclature
    index: ExemplarIndex
    sharpness: tuple[float, float]
    """Factors on the similarity to nomenclature texts in the softmax: of text, of photo words."""
    photo_weight: float
    """Weight of the photo words' log-probabilities beside the text's."""
    neighbour_sharpness: float
    """Factor on the similarity to past goods in the softmax."""
    calibration: Mapping[str, Calibration]
    """Of each of MODALITIES."""

    @classmethod
    def of(
        cls, nomenclature: Nomenclature, known: Sequence[str], index: ExemplarIndex, **rest: Any
    ) -> Self:
        """Take the parts; see the fields.

        Args:
            nomenclature: of all codes.
            known: the network's codes, sorted.
            index: of past goods.
            rest: the other fields.
        """
        return cls(
            nomenclature=nomenclature,
            known=np.searchsorted(nomenclature.codes, known),
            index=index,
            **rest,
        )

    @property
    def codes(self) -> tuple[str, ...]:
        """The nomenclature's HS6 codes (C,), sorted."""
        return self.nomenclature.codes

    def posterior(
        self,
        text: Array | None,
        photo: Array | None,
        *,
        gate_weight: float | None = None,
        similar: Similar | None = None,
    ) -> Posterior:
        """Return what an embedded text, an embedded photo or both say; one must be there.

        Args:
            text: (D,).
            photo: (I,).
            gate_weight: how far the experts are heard that know such goods, where more is known of
                the goods than this evidence.
            similar: what `similar` says of the evidence, where it was asked already: most of the
                time goes there.
        """
        name = modality(text=text is not None, photo=photo is not None)
        return self.combine(
            self.run_experts(text, photo, similar), self.calibration[name], gate_weight
        )

    def run_experts(
        self, text: Array | None, photo: Array | None, similar: Similar | None = None
    ) -> ExpertOutputs:
        """Ask each expert of one or several (...) goods; see `posterior`."""
        tuned = None if text is None else text[..., GENERAL:]
        neighbours = self.index.neighbours(tuned, photo)
        others = share_of_others(neighbours, self.known, self.neighbour_sharpness)
        nomenclature_probabilities = self.nomenclature_probabilities(
            self.similar(text, photo) if similar is None else similar
        )
        return ExpertOutputs(
            nomenclature_probabilities, neighbours, others, self.scores(tuned, photo)
        )

    def combine(
        self, outputs: ExpertOutputs, calibration: Calibration, gate_weight: float | None = None
    ) -> Posterior:
        """Join what the experts say; see `posterior`."""
        gate_weights = (
            float(self.gate_weights(outputs, calibration.gate))
            if gate_weight is None
            else gate_weight
        )
        return Posterior(self._mixed(outputs, calibration, np.float32(gate_weights)), gate_weights)

    def probabilities(self, text: Array | None, photo: Array | None) -> Array:
        """Return the codes' probabilities for several goods at once (N, C).

        Args:
            text: (N, D).
            photo: (N, I).
        """
        outputs = self.run_experts(text, photo)
        calibration = self.calibration[modality(text=text is not None, photo=photo is not None)]
        gate_weights = self.gate_weights(outputs, calibration.gate).astype(np.float32)
        return self._mixed(outputs, calibration, gate_weights[..., np.newaxis])

    def _mixed(
        self, outputs: ExpertOutputs, calibration: Calibration, gate_weights: np.float32 | Array
    ) -> Array:
        """Mix what the experts say by the trust in those that know such goods."""
        seen = np.zeros_like(outputs.nomenclature_probabilities)
        seen[..., self.known] = softmax(outputs.scores / calibration.temperature)
        seen *= 1 - outputs.others.sum(axis=-1, keepdims=True)
        seen[..., outputs.neighbours.places] += outputs.others
        mixed = (
            gate_weights * seen + (1 - gate_weights) * outputs.nomenclature_probabilities + FLOOR
        )
        shares: Array = (mixed / mixed.sum(axis=-1, keepdims=True)).astype(np.float32)
        return shares

    def hs_set(self, modality: str, posterior: Posterior) -> tuple[str, ...]:
        """Return the codes, headings or chapters that hold the right code in 95 of 100 cases."""
        least = self.calibration[modality].threshold
        places = conformal.members(posterior.probabilities, least)
        return conformal.told([self.codes[place] for place in places])

    def scores(self, text: Array | None, photo: Array | None) -> Array:
        """Return the fusion network's scores of the codes it knows (..., K)."""
        shape = next(given.shape[:-1] for given in (text, photo) if given is not None)
        size = self.index.text_projection.centre.size, self.index.photo_projection.centre.size
        there = np.array([text is not None, photo is not None], np.float32)
        inputs = {
            "text": np.zeros((*shape, size[0]), np.float32) if text is None else text,
            "photo": np.zeros((*shape, size[1]), np.float32) if photo is None else photo,
            "there": np.broadcast_to(there, (*shape, 2)),
        }
        found = self.network.run({name: np.atleast_2d(given) for name, given in inputs.items()})
        return found.reshape(*shape, -1)

    def similar(self, text: Array | None, photo: Array | None) -> Similar:
        """Compare an embedded text and photo with every code's nomenclature texts."""
        n = self.nomenclature
        return Similar(
            None if text is None else n.similarities(n.meant(text)),
            None if photo is None else n.similarities(n.shown(photo)),
        )

    def nomenclature_probabilities(self, similar: Similar) -> Array:
        """Return the probabilities (..., C) by the nomenclature's texts alone."""
        said = []
        if similar.text is not None:
            said.append(self.sharpness[0] * similar.text)
        if similar.photo is not None:
            weight = 1.0 if similar.text is None else self.photo_weight
            said.append(weight * self.sharpness[1] * similar.photo)
        return softmax(np.sum(said, axis=0))

    def gate_weights(
        self, outputs: ExpertOutputs, gate: tuple[float, float, float]
    ) -> NDArray[np.float64]:
        """Return how far the experts that know such goods are heard (...), 0 to 1.

        Below even odds they are silent: sure of one code where the nomenclature's texts are spread
        over many, even a small share would outvote them.
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
        """Return the probability of `consistency` where both are as likely beforehand."""
        found = self.consistency(self.posterior(text, None), self.posterior(None, photo))
        return 1 / (1 + float(np.exp(-found)))

    def agreement(self, text: Array, photo: Array) -> float:
        """Return how much likelier text and photo say one word than any two would.

        As `consistency`, by the image classifier's words, for goods of unfamiliar kinds. Words that
        many texts of the nomenclature are near to count less.
        """
        n = self.nomenclature
        read = softmax(self.sharpness[0] * (n.words @ n.meant(text)))
        return float(np.log((read * n.says(photo) / self.usual_words).sum()))

    @cached_property
    def usual_words(self) -> Array:
        """How often the nomenclature's texts are near each word of the image classifier (W,)."""
        n = self.nomenclature
        usual: Array = softmax(self.sharpness[0] * (n.lines @ n.words.T)).mean(axis=0)
        return usual


def _starts(line_codes: NDArray[np.str_]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the codes of sorted lines, and the place of each code's first line."""
    codes, starts = np.unique(line_codes, return_index=True)
    return tuple(map(str, codes)), starts


def chosen(name: str, text: Part, photo: Part) -> tuple[Part | None, Part | None]:
    """Leave only what is of one of MODALITIES."""
    return (None if name == "image" else text), (None if name == "text" else photo)


def modality(*, text: bool, photo: bool) -> str:
    """Return which of MODALITIES is there.

    Raises:
        ValueError: none is.
    """
    if not text and not photo:
        raise ValueError("Neither text nor photo.")
    return "both" if text and photo else "text" if text else "image"
