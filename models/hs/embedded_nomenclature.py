"""The nomenclature's lines and the image classifier's words, as the text encoders embed them.

40,000 texts take minutes, so the embeddings are kept with what was learned, in 8 bits. They belong
to the very encoders and texts that they were made by and of; for any others they are made anew.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from models.encoding.encoders import TEXT_FILES, Encoders
from models.encoding.text import NGRAMS
from models.progress import Say
from models.vectors import Array, best, dequantised, products, softmax, unit

FILE: Final = "nomenclature.safetensors"
LEVELS: Final = 127
MADE_BY: Final = "made_by"
"""Key of the file's metadata with the hash of the encoders and the texts."""


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
        """Return the nomenclature without some lines, and without codes of which none is left."""
        remaining = np.ones(len(self.lines), bool)
        remaining[list(lines)] = False
        codes, starts = _starts(self.line_codes[remaining])
        return replace(
            self,
            codes=codes,
            line_starts=starts,
            line_codes=self.line_codes[remaining],
            lines=self.lines[remaining],
        )

    def centred(self, text: Array) -> Array:
        """Centre a goods text's meaning: (..., NGRAMS + D) → (..., D), of length 1."""
        return unit(text[..., NGRAMS:] - self.centre)

    def word_probabilities(self, photo: Array) -> Array:
        """Return the probability of each word of the image classifier: (..., I) → (..., W)."""
        weights, biases = self.classifier
        return softmax(products(photo[..., : weights.shape[1]], weights) + biases)

    def words_of(self, photo: Array, count: int) -> list[str]:
        """Return the most probable words for a photo, the most probable first."""
        return [self.word_names[place] for place in best(self.word_probabilities(photo), count)]

    def shown(self, photo: Array) -> Array:
        """Translate a photo into the text space by its words: (..., I) → (..., D)."""
        return unit(products(self.word_probabilities(photo), self.words.T))

    def similarities(self, vector: Array) -> Array:
        """Return each code's similarity to a vector `shown` or `centred`: (..., D) → (..., C)."""
        nearest: Array = np.maximum.reduceat(
            products(vector, self.lines), self.line_starts, axis=-1
        )
        return nearest

    def similarities_of_photo(self, photo: Array) -> Array:
        """Return each code's similarity to what a photo shows: (..., I) → (..., C)."""
        return self.similarities(self.shown(photo))


def write(
    directory: Path,
    lines: Sequence[Sequence[str]],
    words: Sequence[str],
    kept: Path,
    say: Say,
) -> None:
    """Write the embeddings beside the text encoders of a bundle: those kept, or made anew.

    Args:
        directory: of the bundle.
        lines: of the nomenclature, each in several languages; embedded is their mean.
        words: of the image classifier.
        kept: an earlier file, which may be missing or of other encoders.
        say: called with the progress.
    """
    made_by = _made_by(directory, [*lines, words])
    if kept.exists():
        with safe_open(kept, "numpy") as file:
            if file.metadata()[MADE_BY] == made_by:
                shutil.copy(kept, directory / FILE)
                return
    encoders = Encoders(directory)
    means = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mean in pool.map(lambda texts: _meaning(encoders, texts).mean(axis=0), lines):
            means.append(mean)
            if len(means) % 100 == 0:
                say("Embedding the nomenclature", len(means), len(lines))
    arrays: dict[str, NDArray[Any]] = {}
    for name, vectors in (("lines", means), ("words", _meaning(encoders, words))):
        rows = np.stack(list(vectors))
        scale = (np.abs(rows).max(axis=1, keepdims=True) / LEVELS).astype(np.float16)
        whole = np.round(rows / scale.astype(np.float32))
        arrays |= {name: np.clip(whole, -LEVELS, LEVELS).astype(np.int8), f"{name}.scale": scale}
    save_file(arrays, directory / FILE, metadata={MADE_BY: made_by})


def _meaning(encoders: Encoders, texts: Sequence[str]) -> Array:
    """Embed texts without their n-grams, which of official wording say little: (N, D)."""
    return np.stack(encoders.embed_texts(texts))[:, NGRAMS:]


def load(directory: Path) -> tuple[Array, Array]:
    """Return the embeddings of the lines (L, D) and of the words (W, D) of a bundle."""
    arrays = load_file(directory / FILE)
    lines, words = (
        dequantised(arrays[name], arrays[f"{name}.scale"]) for name in ("lines", "words")
    )
    return lines, words


def _made_by(directory: Path, texts: Sequence[Sequence[str]]) -> str:
    digest = hashlib.sha256(repr(texts).encode())
    for file in TEXT_FILES:
        digest.update((directory / file).read_bytes())
    return digest.hexdigest()


def _starts(line_codes: NDArray[np.str_]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the codes of sorted lines, and the place of each code's first line."""
    codes, starts = np.unique(line_codes, return_index=True)
    return tuple(map(str, codes)), starts
