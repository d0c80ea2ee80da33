"""Goods texts → the same goods as a declarant would word them: clipped, abbreviated, misspelt."""

import re
from typing import Final

import numpy as np

from models.encoding.text import normalise
from models.hs.nomenclature import without_exclusions

PARCEL: Final = 30
"""Characters at which parcel operators cut a goods text."""
OFFICIAL: Final = 60
"""A longer text is one of a nomenclature: only parts of it are what a declarant would write."""
PARTS: Final = 3
"""Most parts that are kept of it."""
WORDS: Final = 3
"""A text of fewer loses none and keeps their order."""
LETTERS: Final = 4
"""A word of fewer is not misspelt."""
QUANTITY: Final = 500
"""Declared quantities are less."""
UNITS: Final = (
    "pcs",
    "pc",
    "pieces",
    "ctn",
    "ctns",
    "cartons",
    "units",
    "sets",
    "pkgs",
    "kg",
    "kgs",
)
PACKING: Final = (
    "1 x 40ft container said to contain", "stc", "cartons of", "used", "assorted", "new",
    "personal effects", "pkgs", "pallets", "brand new", "consumer goods", "items",
)  # fmt: skip
SEPARATOR: Final = re.compile(r"\s*[:;,]\s*")
VOWEL: Final = re.compile(r"(?<=\w)[aeiou](?=\w)")

WITHOUT_EXCLUSIONS: Final = 0.6
"""This and the following: shares of texts, or of their words, to which it happens."""
IN_PARTS: Final = 0.7
THINNED: Final = 0.5
DROPPED: Final = 0.2
TURNED: Final = 0.1
MISTYPED: Final = 0.06
COUNTED: Final = 0.15
PACKED: Final = 0.08
CUT: Final = 0.15
BOTH_ENDS: Final = 0.4
"""This and the following: shares of texts in parts of which these are kept; else some in a row."""
LAST: Final = 0.2
FIRST: Final = 0.2
DROPPED_WORDS: Final = 0.15
"""By `thinned`."""


def declared(text: str, dice: np.random.Generator) -> str:
    """Return a variant of a text, normalised, and empty only if the text is."""
    shorter = without_exclusions(text) if dice.random() < WITHOUT_EXCLUSIONS else text
    plain = normalise(shorter) or normalise(text)
    official = len(plain) > OFFICIAL
    words = (_parts(plain, dice) if official and dice.random() < IN_PARTS else plain).split()
    if len(words) >= WORDS and dice.random() < THINNED:
        words = [word for word in words if dice.random() > DROPPED] or words
    if len(words) >= WORDS and dice.random() < TURNED:
        place = int(dice.integers(1, len(words)))
        words = words[place:] + words[:place]
    words = [_mistyped(word, dice) if dice.random() < MISTYPED else word for word in words]
    if dice.random() < COUNTED:
        quantity = f"{int(dice.integers(1, QUANTITY))} {UNITS[dice.integers(len(UNITS))]}"
        first = dice.random() < 0.5  # noqa: PLR2004 - a share
        words = [quantity, *words] if first else [*words, quantity]
    if dice.random() < PACKED:
        words = [PACKING[dice.integers(len(PACKING))], *words]
    varied = " ".join(words)
    if len(varied) > PARCEL and dice.random() < CUT:
        varied = varied[:PARCEL].strip()
    return varied or plain


def thinned(text: str, dice: np.random.Generator) -> str:
    """Drop words at random, but not all."""
    words = text.split()
    remaining = [word for word in words if dice.random() > DROPPED_WORDS]
    return " ".join(remaining or words[:1])


def _parts(text: str, dice: np.random.Generator) -> str:
    """Keep one to three parts of a long text: the first, which is general, the last, or both."""
    parts = [part for part in SEPARATOR.split(text) if part]
    count = int(dice.integers(1, PARTS + 1))
    if len(parts) <= count:
        return text
    kind = dice.random()
    if kind < BOTH_ENDS:
        kept = [parts[0], *parts[len(parts) - count + 1 :]]
    elif kind < BOTH_ENDS + LAST:
        kept = parts[-count:]
    elif kind < BOTH_ENDS + LAST + FIRST:
        kept = parts[:count]
    else:
        start = int(dice.integers(len(parts) - count + 1))
        kept = parts[start : start + count]
    return " ".join(kept)


def _mistyped(word: str, dice: np.random.Generator) -> str:
    """Drop, double or swap a letter, drop the vowels, or cut the word short."""
    if len(word) < LETTERS:
        return word
    place = int(dice.integers(1, len(word) - 1))
    variants = (
        word[:place] + word[place + 1 :],
        word[:place] + word[place] + word[place:],
        word[:place] + word[place + 1] + word[place] + word[place + 2 :],
        VOWEL.sub("", word),
        word[: max(LETTERS - 1, place)],
    )
    return variants[dice.integers(len(variants))]
