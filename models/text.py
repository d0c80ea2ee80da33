"""Goods text → clean text → tokens."""

import re
import unicodedata
from pathlib import Path
from typing import Any, Final

from transformers import PreTrainedTokenizerFast

MAX_CHARACTERS: Final = 512
"""Data element 18 05 000 000, description of goods, is an..512."""
MAX_TOKENS: Final = 128
SPACE: Final = re.compile(r"\s+")


def normalise(text: str) -> str:
    """Return text as the encoder reads it: NFKC, no control characters, single spaces, lower case.

    Declarants write in capitals at will; the encoder is uncased.
    """
    folded = unicodedata.normalize("NFKC", text[: 4 * MAX_CHARACTERS])
    kept = "".join(" " if unicodedata.category(c).startswith("C") else c for c in folded)
    return SPACE.sub(" ", kept).strip().lower()[:MAX_CHARACTERS]


def tokenizer(directory: Path) -> Any:
    """Return the tokenizer of a bundle or of a pretrained model's directory."""
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call] # transformers' is
        tokenizer_file=str(directory / "tokenizer.json"),
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
