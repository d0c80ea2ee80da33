"""Goods text → hashed n-grams of its words and characters.

They recognise what an encoder of meaning reads badly: brands, part numbers, abbreviations, words
that are misspelt or cut short. Bojanowski et al., "Enriching Word Vectors with Subword
Information" (2017).
"""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models.vectors import dequantised

BUCKETS: Final = 1 << 17
MOST: Final = 192
"""Most n-grams of a text; those of later words are left out."""
SIZES: Final = (3, 4, 5)
"""Characters of an n-gram."""
WORD: Final = re.compile(r"[^\W_]+")
DIGIT: Final = re.compile(r"\d")
FILE: Final = "ngrams.safetensors"


def hashed(text: str) -> NDArray[np.int32]:
    """Return the distinct n-grams of a normalised text as sorted numbers below BUCKETS (T,).

    Whole words, pairs of neighbouring words, and runs of 3 to 5 characters of a word with its ends
    marked. Digits are all read as 0: numbers seldom tell the goods, how they are written may.
    """
    grams: set[int] = set()
    for gram in _grams(DIGIT.sub("0", text)):
        grams.add(zlib.crc32(gram.encode()) % BUCKETS)
        if len(grams) == MOST:
            break
    return np.array(sorted(grams), np.int32)


def _grams(text: str) -> Iterator[str]:
    before = ""
    for word in WORD.findall(text):
        yield f" {word} "
        yield f"{before} {word}"
        before = word
        marked = f"<{word}>"
        for size in SIZES:
            for start in range(len(marked) - size + 1):
                yield marked[start : start + size]


class NgramTable:
    """The vector of each n-gram: a text is the sum of its n-grams'."""

    def __init__(self, path: Path) -> None:
        """Load what `models.networks.ngrams` writes: rows of 8 bits, with a scale for each."""
        arrays = load_file(path)
        self._rows = arrays["table"]  # (BUCKETS, D)
        self._scale = arrays["scale"]  # (BUCKETS, 1)

    def embed(self, text: str) -> NDArray[np.float32]:
        """Embed a normalised text: (D,), divided by the root of the number of its n-grams."""
        numbers = hashed(text)
        rows = dequantised(self._rows[numbers], self._scale[numbers])
        root = np.float32(np.sqrt(max(len(numbers), 1)))
        embedding: NDArray[np.float32] = rows.sum(axis=0) / root
        return embedding
