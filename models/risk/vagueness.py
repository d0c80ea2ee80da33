"""Does a goods text name goods? By its words, and by how many chapters it leaves open."""

import math
import re
import unicodedata
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.encoding.text import normalise
from models.risk.likelihoods import LikelihoodRatio
from models.risk.vague_words import MODIFIERS, NAMES_A_SORT, NAMES_NOTHING
from models.vectors import Array
from schemas.records import GoodsItem

WORD: Final = re.compile(r"[^\W_]+")
ENDINGS: Final = re.compile(r"(?<=...)[ens]+$")
UMLAUT: Final = re.compile(r"(?<=[aou])e")

NOTHING_NAMED: Final = math.log(1000)
"""A text that names no goods: 1 in 1,000 regular goods has one. Unit: nats, as below."""
SORT_NAMED: Final = math.log(200)
"""A text that names only a sort of goods."""
OPEN: Final = 1.5
"""Entropy of the chapters that a regular text seldom exceeds: 3 in 100 texts of real import
declarations, 10 in 100 parcel lines. Texts such as "gift" have 2 to 4. Unit: nats."""
OPEN_SLOPE: Final = 2.0
"""Log-ratio for each nat beyond it."""
OPEN_NAMED: Final = math.log(10)
"""Entropy from which a text is named vague: as if ten chapters were equally likely. Unit: nats."""


class Naming(IntEnum):
    """What a goods text names."""

    NOTHING = 0
    SORT = 1
    """A sort of goods: clothing, electronics."""
    GOODS = 2
    """As far as its words show."""


class TextsToRead(NamedTuple):
    """The texts of a goods item that are evidence of its code, as declared; empty for none."""

    description: str
    title: str

    @property
    def first(self) -> str:
        """The description; the title where that names no goods."""
        return self.description or self.title

    @property
    def second(self) -> str:
        """The title, where the description is read too."""
        return self.title if self.description else ""


def texts_to_read(item: GoodsItem) -> TextsToRead:
    """Return the texts of a goods item without those that name no goods, or the same again."""
    description, title = (
        text if is_read(text) else "" for text in (item.description, item.product_title)
    )
    return TextsToRead(description, "" if normalise(title) == normalise(description) else title)


def is_read(text: str) -> bool:
    """Return whether a goods text is read: whether it names goods, or a sort of goods."""
    return naming(text) is not Naming.NOTHING


def naming(text: str) -> Naming:
    """Return what a goods text names, by its words; NOTHING for an empty one."""
    words = WORD.findall(normalise(text))
    keys = {_key(word) for word in words if not word.isdecimal()}
    # One word that only modifies, such as "van", may name goods in another language.
    if not keys <= _ANY or (len(words) == 1 and keys <= _MODIFIERS - _NOTHINGS and keys):
        return Naming.GOODS
    return Naming.SORT if keys & _SORTS else Naming.NOTHING


def vague(
    text: str, probabilities: Array | None, chapters: NDArray[np.int64]
) -> LikelihoodRatio | None:
    """Compare a vague goods text with regular ones; None for one that is absent, or not vague.

    Args:
        text: as declared.
        probabilities: of each code by this text (C,); None where it is not read.
        chapters: number of each code's chapter (C,).
    """
    if not normalise(text):
        return None
    named = naming(text)
    if named is Naming.NOTHING:
        return LikelihoodRatio(NOTHING_NAMED, "the text names no goods")
    if named is Naming.SORT:
        return LikelihoodRatio(SORT_NAMED, "the text names only a sort of goods")
    if probabilities is None:
        return None
    entropy = chapter_entropy(probabilities, chapters)
    if entropy <= OPEN:
        return None
    ratio = min(OPEN_SLOPE * (entropy - OPEN), SORT_NAMED)
    words = f"the text fits some {math.exp(entropy):.0f} chapters" if entropy >= OPEN_NAMED else ""
    return LikelihoodRatio(ratio, words)


def chapter_entropy(probabilities: Array, chapters: NDArray[np.int64]) -> float:
    """Return the entropy of the chapters by the probability of each code (C,). Unit: nats."""
    shares = np.bincount(chapters, probabilities.astype(np.float64))
    shares = shares[shares > 0] / shares.sum()
    return float(-(shares * np.log(shares)).sum())


def _key(word: str) -> str:
    """Return a word without accents and the commonest endings of plurals."""
    bare = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    return ENDINGS.sub("", UMLAUT.sub("", bare.casefold()))


def _keys(words: Mapping[str, str]) -> frozenset[str]:
    return frozenset(_key(word) for some in words.values() for word in some.split())


_MODIFIERS: Final = _keys(MODIFIERS)
_NOTHINGS: Final = _keys(NAMES_NOTHING)
_SORTS: Final = _keys(NAMES_A_SORT)
_ANY: Final = _MODIFIERS | _NOTHINGS | _SORTS
