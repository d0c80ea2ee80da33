"""Texts and photos → embeddings, one at a time, by the bundle's exported encoders."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.backends import OnnxBackend
from models.image import normalised
from models.text import normalise, tokenizer

Vector = NDArray[np.float32]


class Encoders:
    """The text and the image encoder of a bundle. Thread safe."""

    def __init__(self, directory: Path, *, threads: int | None = None) -> None:
        self._tokenizer = tokenizer(directory)
        self._text = OnnxBackend(directory / "text.onnx", threads=threads)
        self._image = OnnxBackend(directory / "image.onnx", threads=threads)

    def embed_texts(self, texts: Sequence[str]) -> list[Vector]:
        """Embed goods texts, each of length 1."""
        return [self._embed_text(normalise(text)) for text in texts]

    def embed_photos(self, photos: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        """Embed photos as `models.image.decode` returns them."""
        return [self._image.run({"pixels": normalised(photo)[np.newaxis]}) for photo in photos]

    def _embed_text(self, text: str) -> Vector:
        tokens = self._tokenizer.encode(text)
        inputs = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask}
        return self._text.run({name: np.array([ids]) for name, ids in inputs.items()})
