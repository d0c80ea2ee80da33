"""Texts and photos → embeddings, one at a time, by the bundle's exported encoders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.backends import OnnxBackend
from models.image import normalised
from models.text import normalise, tokenizer

Vector = NDArray[np.float32]
TEXT_ENCODERS: Final = ("general", "text")
"""Names of those whose embeddings of a text are put side by side, in this order."""


class Encoders:
    """The text and the image encoder of a bundle. Thread safe."""

    def __init__(self, directory: Path, *, threads: int | None = None) -> None:
        self._texts = [
            (
                tokenizer(directory / f"{name}.tokens.json"),
                OnnxBackend(directory / f"{name}.onnx", threads=threads),
            )
            for name in TEXT_ENCODERS
        ]
        self._image = OnnxBackend(directory / "image.onnx", threads=threads)

    def embed_texts(self, texts: Sequence[str]) -> list[Vector]:
        """Embed goods texts: (GENERAL + D,), by the general encoder and by the tuned one."""
        return [self._embed_text(normalise(text)) for text in texts]

    def embed_photos(self, photos: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        """Embed photos as `models.image.decode` returns them."""
        return [self._image.run({"pixels": normalised(photo)[np.newaxis]})[0] for photo in photos]

    def _embed_text(self, text: str) -> Vector:
        found = []
        for read, encoder in self._texts:
            tokens = read.encode(text)
            inputs = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask}
            found.append(encoder.run({name: np.array([ids]) for name, ids in inputs.items()})[0])
        return np.concatenate(found)
