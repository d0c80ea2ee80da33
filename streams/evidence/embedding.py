"""Texts and photos → embeddings, from the cache or computed in an executor."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.encoding import image
from models.encoding.encoders import Vector
from models.encoding.image import BadPhoto
from models.encoding.perceptual_hash import perceptual_hash
from models.scoring.scorer import Scorer
from streams.evidence.embedding_cache import EmbeddingCache
from streams.evidence.photos import NoPhoto, Photo

T = TypeVar("T")
FLOAT = np.dtype(np.float32)
HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class EmbeddedPhoto:
    """What is kept of a photo."""

    vector: Vector
    perceptual_hash: int
    """As models.encoding.perceptual_hash gives it."""


class Embedder:
    """Embeds the contents of a micro-batch, each distinct one once."""

    def __init__(self, scorer: Scorer, cache: EmbeddingCache, executor: Executor) -> None:
        self._scorer = scorer
        self._cache = cache
        self._executor = executor

    async def texts(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts, in order."""
        scorer = self._scorer

        def compute(missing: Sequence[str]) -> Mapping[str, bytes]:
            vectors = scorer.embed_texts(missing)
            return {text: v.tobytes() for text, v in zip(missing, vectors, strict=True)}

        hashes = {text: hashlib.sha256(text.encode()).hexdigest() for text in texts}
        found = await self._through_cache(
            hashes, scorer.text_encoder_id, scorer.text_dimension * FLOAT.itemsize, compute
        )
        return [np.frombuffer(found[text], FLOAT) for text in texts]

    async def photos(self, photos: Sequence[Photo]) -> list[EmbeddedPhoto | NoPhoto]:
        """Embed photos, in order; in place of one that cannot be decoded stands why."""
        scorer = self._scorer
        bad: dict[Photo, NoPhoto] = {}

        def compute(missing: Sequence[Photo]) -> Mapping[Photo, bytes]:
            pixels = {}
            for photo in missing:
                try:
                    pixels[photo] = image.decode(photo.data)
                except BadPhoto as error:
                    bad[photo] = NoPhoto(error.reason, error.detail)
            vectors = scorer.embed_photos(list(pixels.values()))
            return {
                photo: vector.tobytes() + perceptual_hash(shown).to_bytes(HASH_BYTES)
                for (photo, shown), vector in zip(pixels.items(), vectors, strict=True)
            }

        hashes = {photo: photo.sha256 for photo in photos}
        length = scorer.image_dimension * FLOAT.itemsize
        found = await self._through_cache(
            hashes, scorer.image_encoder_id, length + HASH_BYTES, compute
        )

        def embedded(kept: bytes) -> EmbeddedPhoto:
            return EmbeddedPhoto(np.frombuffer(kept[:length], FLOAT), int.from_bytes(kept[length:]))

        return [embedded(found[photo]) if photo in found else bad[photo] for photo in photos]

    async def _through_cache(
        self,
        hashes: Mapping[T, str],
        encoder_id: str,
        length: int,
        compute: Callable[[Sequence[T]], Mapping[T, bytes]],
    ) -> dict[T, bytes]:
        keys = {content: f"embedding:{encoder_id}:{hash_}" for content, hash_ in hashes.items()}
        cached = await self._cache.get(list(keys.values()), length)
        found = {content: cached[key] for content, key in keys.items() if key in cached}
        missing = [content for content in keys if content not in found]
        if missing:
            loop = asyncio.get_running_loop()
            fresh = await loop.run_in_executor(self._executor, compute, missing)
            await self._cache.put({keys[content]: kept for content, kept in fresh.items()})
            found |= fresh
        return found
