"""Goods text → clean text → tokens → embedding."""

import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from models.encoding.markup import shown

MAX_CHARACTERS: Final = 512
"""Data element 18 05 000 000, description of goods, is an..512."""
MAX_TOKENS: Final = 128
NGRAMS: Final = 128
"""Dimensions of the n-grams, with which a text's embedding begins; those of its meaning follow."""
MAX_DECLARED: Final = 8 * MAX_CHARACTERS
"""Characters of a text that are looked at, markup included."""
MAX_MARKS: Final = 30
"""Combining characters in a row that count (Stream-Safe Text Format, Unicode Annex 15)."""
SPACE: Final = re.compile(r"\s+")
FILLERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that show nothing, though by their category they are letters, marks or symbols."""


def normalise(text: str) -> str:
    """Return text as the encoder reads it: no markup, NFKC, nothing invisible, lower case.

    Declarants write in capitals at will; the encoder is uncased. Characters without a width are
    left out, so that they neither make a text nor part a word; control characters part words.
    """
    return _normalised(text[:MAX_DECLARED])


def compatible(text: str) -> str:
    """Return text of any length in the form NFKC, in time that grows no faster than the text.

    Normalisation sorts combining characters in a time that grows with the square of a run's length:
    for a megabyte of them minutes. Those beyond `MAX_MARKS` in a row are left out.
    """
    if not text.isascii():
        kept, marks = [], 0
        for character in text:
            marks = marks + 1 if unicodedata.combining(character) else 0
            if marks <= MAX_MARKS:
                kept.append(character)
        text = "".join(kept)
    return unicodedata.normalize("NFKC", text)


@lru_cache(1024)
def _normalised(text: str) -> str:
    seen = "".join(c for c in text if not _is_invisible(c))
    folded = unicodedata.normalize("NFKC", shown(seen))
    kept = "".join(
        " " if unicodedata.category(c).startswith("C") else c
        for c in folded
        if not _is_invisible(c)
    )
    return SPACE.sub(" ", kept).strip().lower()[:MAX_CHARACTERS]


def _is_invisible(character: str) -> bool:
    """Return whether a character has no width: format characters, variation selectors, fillers."""
    return (
        unicodedata.category(character) == "Cf"
        or character in FILLERS
        or "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


def tokenizer(file: Path) -> Tokenizer:
    """Return the tokenizer that a file holds.

    It is the one that transformers would use; but importing transformers would also import torch
    where it is installed, which serving must not.
    """
    loaded: Tokenizer = Tokenizer.from_file(str(file))
    loaded.no_padding()
    loaded.enable_truncation(MAX_TOKENS)
    return loaded
