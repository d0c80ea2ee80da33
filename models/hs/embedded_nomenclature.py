"""The nomenclature's lines and the image classifier's words, as the text encoders embed them.

40,000 texts take minutes, so the embeddings are kept with what was learned, in 8 bits. They belong
to the very encoders and texts that they were made by and of; for any others they are made anew.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from models.encoding.encoders import TEXT_FILES, Encoders
from models.encoding.text import NGRAMS
from models.progress import Say
from models.vectors import Array, dequantised

FILE: Final = "nomenclature.safetensors"
LEVELS: Final = 127
MADE_BY: Final = "made_by"
"""Key of the file's metadata with the hash of the encoders and the texts."""


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
