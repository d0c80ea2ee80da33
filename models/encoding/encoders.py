"""Texts and photos → embeddings, one at a time, by the bundle's exported encoders."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.encoding import ngrams
from models.encoding.backends import OnnxBackend
from models.encoding.image import PHOTO_SIZE, normalised
from models.encoding.text import normalise, tokenizer

Vector = NDArray[np.float32]
TEXT_FILES: Final = (ngrams.FILE, "text.onnx", "text.tokens.json")
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
        self._ngrams = ngrams.NgramTable(directory / ngrams.FILE)
        self._tokens_of = tokenizer(directory / "text.tokens.json")
        self._text = OnnxBackend(directory / "text.onnx", threads=threads)
        self._image = OnnxBackend(directory / "image.onnx", threads=threads)
        self._arithmetic: dict[tuple[str, str], str] = {}

    @property
    def arithmetic(self) -> str:
        """Hash of the embeddings of a fixed text and photo, in hexadecimal digits.

        Processors with an equal hash share embeddings; a GPU, an ARM processor or another version
        of a library may differ in the last bits (docs/decisions/0014-one-arithmetic.md). It changes
        where the CPU takes over from a GPU that is lost.
        """
        while (providers := (self._text.provider, self._image.provider)) not in self._arithmetic:
            (text,), (photo,) = self.embed_texts([PROBE_TEXT]), self.embed_photos([PROBE_PHOTO])
            if providers == (self._text.provider, self._image.provider):
                content = text.tobytes() + photo.tobytes()
                self._arithmetic[providers] = hashlib.sha256(content).hexdigest()[:16]
        return self._arithmetic[providers]

    def embed_texts(self, texts: Sequence[str]) -> list[Vector]:
        """Embed goods texts: (NGRAMS + D,), its n-grams before its meaning."""
        return [self._embed_text(normalise(text)) for text in texts]

    def embed_photos(self, photos: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        """Embed photos as `models.encoding.image.decode` returns them."""
        return [self._image.run({"pixels": normalised(photo)[np.newaxis]})[0] for photo in photos]

    def _embed_text(self, text: str) -> Vector:
        tokens = self._tokens_of.encode(text)
        inputs = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask}
        (meaning,) = self._text.run({name: np.array([ids]) for name, ids in inputs.items()})
        return np.concatenate([self._ngrams.embed(text), meaning])


def encoder_id(file_hashes: Mapping[str, str], files: Sequence[str], arithmetic: str) -> str:
    """Return what two encoders share if and only if their embeddings are equal to the last bit.

    Args:
        file_hashes: of the bundle's files.
        files: those of the encoder.
        arithmetic: of this machine, see `Encoders.arithmetic`.
    """
    content = "\n".join(f"{name} {file_hashes[name]}" for name in files)
    return f"{hashlib.sha256(content.encode()).hexdigest()[:16]}:{arithmetic}"
