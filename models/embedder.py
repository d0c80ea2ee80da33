"""Goods → embeddings by a bundle's encoders, kept in the cache: training asks for them often."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from models import bundle
from models.catalogue import Goods
from models.encoders import Encoders
from models.image import decode
from models.image_encoder import variants
from models.progress import Say
from models.text_tuning import thinned
from models.vectors import Array

VIEWS: Final = 3
"""Variants of each text and photo that the fusion network sees beside them."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Goods with their embeddings."""

    codes: NDArray[np.str_]  # (N,)
    texts: Array  # (N, D)
    photos: Array  # (N, I)


@dataclass(frozen=True, slots=True)
class Embedder:
    """Embeds goods by a bundle, or takes their embeddings from the cache."""

    encoders: Encoders
    key: str
    """Of the encoders."""
    say: Say

    @classmethod
    def of(cls, directory: Path, say: Say) -> Self:
        """Take the encoders of a bundle."""
        key = bundle.sha256(directory / "text.onnx") + bundle.sha256(directory / "image.onnx")
        return cls(Encoders(directory), key, say)

    def embedded(self, goods: Sequence[Goods]) -> Embedded:
        """Embed goods as they are."""

        def compute() -> dict[str, Array]:
            photos = []
            for number, one in enumerate(goods):
                photos += self.encoders.embed_photos([decode(one.image.read_bytes())])
                if number % 100 == 0:
                    self.say("Embedding goods", number, len(goods))
            texts = self.encoders.embed_texts([one.description for one in goods])
            return {"texts": np.stack(texts), "photos": np.stack(photos)}

        arrays = _cached(goods, self.key, compute)
        return Embedded(np.array([one.hs6 for one in goods]), arrays["texts"], arrays["photos"])

    def variants(self, goods: Sequence[Goods], seed: int) -> tuple[Array, Array]:
        """Embed goods as others might have typed and photographed them, as they are first.

        Returns:
            (V, N, D) and (U, N, I), in half precision.
        """

        def compute() -> dict[str, Any]:
            dice = np.random.default_rng(seed)
            torch.manual_seed(seed)
            texts, photos = [], []
            for view in range(VIEWS):
                typed = [thinned(one.description, dice) for one in goods]
                texts.append(np.stack(self.encoders.embed_texts(typed)))
                taken = []
                for number, one in enumerate(goods):
                    taken += self.encoders.embed_photos(variants(pixels([one])))
                    if number % 100 == 0:
                        done = view * len(goods) + number
                        self.say("Embedding variants of goods", done, VIEWS * len(goods))
                photos.append(np.stack(taken))
            return {"texts": _half(texts), "photos": _half(photos)}

        clean = self.embedded(goods)
        found = _cached(goods, f"{self.key} variants {seed} {VIEWS}", compute)
        return (
            np.concatenate([_half([clean.texts]), found["texts"]]),
            np.concatenate([_half([clean.photos]), found["photos"]]),
        )


def _half(arrays: Sequence[Array]) -> Array:
    return np.stack(arrays).astype(np.float16)


def pixels(goods: Sequence[Goods]) -> NDArray[np.uint8]:
    """Decode the photos of goods: (N, H, W, 3)."""
    return np.stack([decode(one.image.read_bytes()) for one in goods])


def _cached(goods: Sequence[Goods], key: str, compute: Callable[[], Any]) -> dict[str, Any]:
    listed = "\n".join(f"{one.item_id} {one.description}" for one in goods)
    name = hashlib.sha256(f"{key}\n{listed}".encode()).hexdigest()[:16]
    file = bundle.cache() / "training" / f"{name}.safetensors"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        save_file(compute(), file)
    return load_file(file)
