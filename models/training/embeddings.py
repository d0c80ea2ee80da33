"""Goods → embeddings by a bundle's encoders, cached: training needs them often."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from models.datasets.goods import Goods
from models.datasets.texts import GoodsText
from models.encoding.encoders import PROBE_PHOTO, TEXT_FILES, Encoders
from models.encoding.image import decode
from models.encoding.text import NGRAMS
from models.progress import Say
from models.scoring import bundle
from models.training.image_encoder import variants
from models.training.wording import thinned
from models.vectors import Array

VIEWS: Final = 1
"""Augmented variants of each text and photo that the fusion network is trained on."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Goods with their embeddings."""

    codes: NDArray[np.str_]  # (N,)
    texts: Array  # (N, NGRAMS + D); 0 for goods without a text
    photos: Array  # (N, I); 0 for goods without a photo

    @property
    def meanings(self) -> Array:
        """Embeddings of the texts' meanings alone: (N, D)."""
        return self.texts[:, NGRAMS:]

    @property
    def described(self) -> NDArray[np.bool_]:
        """Which goods have a text (N,)."""
        return np.asarray(self.texts.any(axis=1))

    def pairs(self) -> Iterator[tuple[Array | None, Array | None]]:
        """Yield the text (NGRAMS + D,) and the photo (I,) of each goods, None for missing ones."""
        for text, photo in zip(self.texts, self.photos, strict=True):
            yield (text if text.any() else None), (photo if photo.any() else None)


@dataclass(frozen=True, slots=True)
class Embedder:
    """Embeds goods by a bundle, or takes their embeddings from the cache."""

    encoders: Encoders
    text_key: str
    """Hashes of the text encoders."""
    photo_key: str
    """Hash of the image encoder."""
    say: Say

    @classmethod
    def of(cls, directory: Path, say: Say) -> Self:
        """Take the encoders of a bundle."""
        text_key = "".join(bundle.sha256(directory / name) for name in TEXT_FILES)
        photo_key = bundle.sha256(directory / "image.onnx")
        return cls(Encoders(directory), text_key, photo_key, say)

    def embedded(self, goods: Sequence[Goods]) -> Embedded:
        """Embed goods as they are."""

        def texts() -> Array:
            return self._texts([item.description for item in goods])

        def photos() -> Array:
            embeddings = []
            for number, item in enumerate(goods):
                embeddings += self.encoders.embed_photos([decode(item.image.read_bytes())])
                if number % 100 == 0:
                    self.say("Embedding goods", number, len(goods))
            return np.stack(embeddings)

        return Embedded(
            np.array([item.hs6 for item in goods]),
            _cached(goods, self.text_key, texts),
            _cached(goods, self.photo_key, photos),
        )

    def embedded_texts(self, texts: Sequence[GoodsText]) -> Embedded:
        """Embed texts of goods without photos."""
        size = len(self.encoders.embed_photos([PROBE_PHOTO])[0])
        embeddings = self._texts([text.text for text in texts])
        codes = np.array([text.hs6 for text in texts])
        return Embedded(codes, embeddings, np.zeros((len(texts), size), np.float32))

    def _texts(self, texts: Sequence[str]) -> Array:
        """Embed texts, an empty one as 0: (N, NGRAMS + D)."""
        (size,) = self.encoders.embed_texts(["size"])[0].shape
        embeddings = np.zeros((len(texts), size), np.float32)
        for place, text in enumerate(texts):
            if text.strip():
                embeddings[place] = self.encoders.embed_texts([text])[0]
            if place % 1000 == 0:
                self.say("Embedding texts", place, len(texts))
        return embeddings

    def variants(self, goods: Sequence[Goods], seed: int) -> tuple[Array, Array]:
        """Embed goods and augmented variants of their texts and photos.

        Returns:
            Texts (V, N, D), of their meaning alone, and photos (V, N, I), in half precision;
            originals first, then augmented variants.
        """

        def texts() -> Array:
            dice = np.random.default_rng(seed)
            views = []
            for _ in range(VIEWS):
                typed = [thinned(item.description, dice) for item in goods]
                views.append(self._texts(typed)[:, NGRAMS:])
            return _half(views)

        def photos() -> Array:
            torch.manual_seed(seed)
            views = []
            for view in range(VIEWS):
                taken = []
                for number, item in enumerate(goods):
                    taken += self.encoders.embed_photos(variants(pixels([item])))
                    if number % 100 == 0:
                        done = view * len(goods) + number
                        self.say("Embedding variants of goods", done, VIEWS * len(goods))
                views.append(np.stack(taken))
            return _half(views)

        originals = self.embedded(goods)
        which = f"variants {seed} {VIEWS}"
        return (
            np.concatenate(
                [_half([originals.meanings]), _cached(goods, f"{self.text_key} {which}", texts)]
            ),
            np.concatenate(
                [_half([originals.photos]), _cached(goods, f"{self.photo_key} {which}", photos)]
            ),
        )


def _half(arrays: Sequence[Array]) -> Array:
    return np.stack(arrays).astype(np.float16)


def pixels(goods: Sequence[Goods]) -> NDArray[np.uint8]:
    """Decode the photos of goods: (N, H, W, 3)."""
    return np.stack([decode(item.image.read_bytes()) for item in goods])


def _cached(goods: Sequence[Goods], key: str, compute: Callable[[], Array]) -> Array:
    listed = "\n".join(f"{item.item_id} {item.description}" for item in goods)
    name = hashlib.sha256(f"{key}\n{listed}".encode()).hexdigest()[:16]
    file = bundle.cache() / "training" / f"{name}.safetensors"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        save_file({"embeddings": compute()}, file)
    return load_file(file)["embeddings"]
