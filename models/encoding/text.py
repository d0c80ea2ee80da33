"""Goods text → clean text → tokens → embedding."""

import re
import unicodedata
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

MAX_CHARACTERS: Final = 512
"""Data element 18 05 000 000, description of goods, is an..512."""
MAX_TOKENS: Final = 128
NGRAMS: Final = 128
"""Dimensions of the n-grams, with which a text's embedding begins; those of its meaning follow."""
SPACE: Final = re.compile(r"\s+")


def normalise(text: str) -> str:
    """Return text as the encoder reads it: NFKC, no control characters, single spaces, lower case.

    Declarants write in capitals at will; the encoder is uncased.
    """
    folded = unicodedata.normalize("NFKC", text[: 4 * MAX_CHARACTERS])
    kept = "".join(" " if unicodedata.category(c).startswith("C") else c for c in folded)
    return SPACE.sub(" ", kept).strip().lower()[:MAX_CHARACTERS]


def tokenizer(file: Path) -> Tokenizer:
    """Return the tokenizer that a file holds.

    It is the one that transformers would use; but importing transformers would also import torch
    where it is installed, which serving must not.
    """
    loaded: Tokenizer = Tokenizer.from_file(str(file))
    loaded.no_padding()
    loaded.enable_truncation(MAX_TOKENS)
    return loaded
