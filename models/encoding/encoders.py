"""Texts and photos → embeddings, one at a time, by the bundle's exported encoders."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.encoding.backends import OnnxBackend
from models.encoding.image import PHOTO_SIZE, normalised
from models.encoding.text import normalise, tokenizer

Vector = NDArray[np.float32]
TEXT_ENCODERS: Final = ("general", "text")
"""Names of those whose embeddings of a text are put side by side, in this order."""
TEXT_FILES: Final = tuple(
    f"{name}.{suffix}" for name in TEXT_ENCODERS for suffix in ("onnx", "tokens.json")
)
IMAGE_FILES: Final = ("image.onnx",)
"""Files of a bundle that the embeddings of a text, and of a photo, depend on."""

PROBE_TEXT: Final = "men's shoes, leather upper, rubber sole, size 42, brown, 20 pairs in 2 cartons"
PROBE_PHOTO: Final = (
    (np.arange(PHOTO_SIZE * PHOTO_SIZE * 3) * 37 % 251)
    .astype(np.uint8)
    .reshape(PHOTO_SIZE, PHOTO_SIZE, 3)
)


class Encoders:
    """The text and the image encoder of a bundle. Thread safe."""

    def __init__(self, directory: Path, *, threads: int = 1) -> None:
        self._texts = [
            (
                tokenizer(directory / f"{name}.tokens.json"),
                OnnxBackend(directory / f"{name}.onnx", threads=threads),
            )
            for name in TEXT_ENCODERS
        ]
        self._image = OnnxBackend(directory / "image.onnx", threads=threads)

    @cached_property
    def arithmetic(self) -> str:
        """Hash of the embeddings of a fixed text and photo, in hexadecimal digits.

        Processors with an equal hash share embeddings; a GPU, an ARM processor or another version
        of a library may differ in the last bits (docs/decisions/0014-one-arithmetic.md).
        """
        (text,), (photo,) = self.embed_texts([PROBE_TEXT]), self.embed_photos([PROBE_PHOTO])
        return hashlib.sha256(text.tobytes() + photo.tobytes()).hexdigest()[:16]

    def embed_texts(self, texts: Sequence[str]) -> list[Vector]:
        """Embed goods texts: (GENERAL + D,), by the general encoder and by the tuned one."""
        return [self._embed_text(normalise(text)) for text in texts]

    def embed_photos(self, photos: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        """Embed photos as `models.encoding.image.decode` returns them."""
        return [self._image.run({"pixels": normalised(photo)[np.newaxis]})[0] for photo in photos]

    def _embed_text(self, text: str) -> Vector:
        parts = []
        for tokens_of, encoder in self._texts:
            tokens = tokens_of.encode(text)
            inputs = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask}
            parts.append(encoder.run({name: np.array([ids]) for name, ids in inputs.items()})[0])
        return np.concatenate(parts)
