"""Past goods of known code: what do these goods resemble? New ones need no retraining."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from models.vectors import Array, products, softmax, unit

LEVELS: Final = 127
"""Vectors are stored as whole numbers from -127 to 127."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Embeddings → a few dimensions in which goods are compared: principal components."""

    centre: Array  # (D,)
    axes: Array  # (d, D)

    def __call__(self, vectors: Array) -> Array:
        """Project embeddings (..., D) → (..., d), of length 1."""
        return unit(products(unit(vectors - self.centre), self.axes))

    @classmethod
    def fitted(cls, vectors: Array, dimensions: int) -> Self:
        """Fit the axes along which embeddings (N, D) differ most."""
        centre = vectors.mean(axis=0)
        directions = unit(vectors - centre).astype(np.float64)
        _, axes = np.linalg.eigh(directions.T @ directions)
        stored = axes[:, ::-1][:, :dimensions].T.astype(np.float16)  # as it is saved
        return cls(centre, np.ascontiguousarray(stored, np.float32))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The past goods that are nearest to some goods."""

    nearest: NDArray[np.float64]
    """Cosine with the most similar past goods, the mean over the modalities present (...)."""
    places: NDArray[np.int64]  # (K,): the index's codes in the nomenclature
    best: Array  # (..., K): cosine with the most similar past goods of each code


@dataclass(frozen=True)
class ExemplarIndex:
    """Past goods, sorted by code."""

    codes: NDArray[np.int64]  # (E,): places in the nomenclature, ascending
    texts: Array  # (E, t)
    photos: Array  # (E, p)
    text_projection: Projection
    photo_projection: Projection

    @classmethod
    def of(
        cls,
        codes: NDArray[np.int64],
        texts: Array,
        photos: Array,
        text_projection: Projection,
        photo_projection: Projection,
    ) -> Self:
        """Index goods by the embeddings of their texts (E, D), 0 without one, and photos (E, I)."""
        order = np.argsort(codes, kind="stable")
        described = texts[order].any(axis=1, keepdims=True)
        projected = text_projection(np.where(described, texts[order], np.float32(1)))
        return cls(
            codes[order],
            _rounded(np.where(described, projected, np.float32(0))),
            _rounded(photo_projection(photos[order])),
            text_projection,
            photo_projection,
        )

    def save(self, path: Path) -> None:
        """Write the index as safetensors."""
        arrays: dict[str, NDArray[Any]] = {
            "codes": self.codes.astype(np.int32),
            "texts": whole(self.texts),
            "photos": whole(self.photos),
        }
        for name, projection in (("text", self.text_projection), ("photo", self.photo_projection)):
            arrays[f"{name}.centre"] = projection.centre.astype(np.float32)
            arrays[f"{name}.axes"] = projection.axes.astype(np.float16, order="C")
        save_file(arrays, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        arrays = load_file(path)
        text, photo = (
            Projection(arrays[f"{name}.centre"], arrays[f"{name}.axes"].astype(np.float32))
            for name in ("text", "photo")
        )
        texts, photos = from_whole(arrays["texts"]), from_whole(arrays["photos"])
        return cls(arrays["codes"].astype(np.int64), texts, photos, text, photo)

    def without(self, codes: NDArray[np.int64]) -> Self:
        """Return the index without the goods of some codes."""
        kept = ~np.isin(self.codes, codes)
        return replace(
            self, codes=self.codes[kept], texts=self.texts[kept], photos=self.photos[kept]
        )

    def similarities(self, text: Array | None, photo: Array | None) -> Array:
        """Return the cosine with each of the past goods (..., E), the mean over what is present.

        Args:
            text: embedding (..., D), or None.
            photo: embedding (..., I), or None. One of the two must be given.
        """
        by_photo = None if photo is None else products(self.photo_projection(photo), self.photos)
        if text is None:
            assert by_photo is not None  # noqa: S101 - for the type checker
            return by_photo
        by_text = products(self.text_projection(text), self.texts)
        if by_photo is None:
            return np.where(self.described, by_text, np.float32(-1))
        both: Array = np.where(self.described, (by_text + by_photo) / np.float32(2), by_photo)
        return both

    @cached_property
    def described(self) -> NDArray[np.bool_]:
        """Which past goods have a text (E,); others are compared by their photo alone."""
        return np.asarray(self.texts.any(axis=1))

    @cached_property
    def groups(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The codes of the past goods, and where those of each begin; needed for every goods."""
        places, starts = np.unique(self.codes, return_index=True)
        return places, starts

    def neighbours(self, text: Array | None, photo: Array | None) -> Neighbours:
        """Return the nearest goods of each code; see `similarities`."""
        similar = self.similarities(text, photo)
        places, starts = self.groups
        best = np.maximum.reduceat(similar, starts, axis=-1)
        return Neighbours(best.max(axis=-1).astype(np.float64), places, best)


def share_of_others(
    neighbours: Neighbours, trained_codes: NDArray[np.int64], sharpness: float
) -> Array:
    """Return how far the neighbours speak for codes that a network was not trained on.

    Args:
        neighbours: of the goods.
        trained_codes: the network's codes, as places in the nomenclature.
        sharpness: factor on the cosines in the softmax.

    Returns:
        A probability for each of `neighbours.places` (..., K), 0 for trained codes.
    """
    shares = softmax(sharpness * neighbours.best)
    is_trained = np.isin(neighbours.places, trained_codes, assume_unique=True)
    return np.where(is_trained, np.float32(0), shares)


def whole(vectors: Array) -> NDArray[np.int8]:
    """Return an index's vectors as they are stored."""
    return np.round(vectors * LEVELS).astype(np.int8)


def from_whole(stored: NDArray[np.int8]) -> Array:
    """Return stored vectors as an index takes them."""
    vectors: Array = stored.astype(np.float32) / np.float32(LEVELS)
    return vectors


def _rounded(vectors: Array) -> Array:
    """Round as storing does, so that an index is the same before and after."""
    return from_whole(whole(vectors))
