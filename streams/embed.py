"""Texts and photos → embeddings, from the cache or computed in an executor."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from models import image
from models.image import BadPhoto
from models.scorer import Scorer
from streams.embedding_cache import EmbeddingCache, Vector
from streams.images import NoPhoto, Photo

T = TypeVar("T")


class Embedder:
    """Embeds the contents of a micro-batch, each distinct one once."""

    def __init__(self, scorer: Scorer, cache: EmbeddingCache, executor: Executor) -> None:
        self._scorer = scorer
        self._cache = cache
        self._executor = executor

    async def texts(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts, in order."""
        scorer = self._scorer

        def compute(missing: Sequence[str]) -> Mapping[str, Vector]:
            return dict(zip(missing, scorer.embed_texts(missing), strict=True))

        hashes = {text: hashlib.sha256(text.encode()).hexdigest() for text in texts}
        vectors = await self._through_cache(
            hashes, scorer.text_encoder_id, scorer.text_dimension, compute
        )
        return [vectors[text] for text in texts]

    async def photos(self, photos: Sequence[Photo]) -> list[Vector | NoPhoto]:
        """Embed photos, in order; in place of one that cannot be decoded stands why."""
        scorer = self._scorer
        bad: dict[Photo, NoPhoto] = {}

        def compute(missing: Sequence[Photo]) -> Mapping[Photo, Vector]:
            pixels = {}
            for photo in missing:
                try:
                    pixels[photo] = image.decode(photo.data)
                except BadPhoto as error:
                    bad[photo] = NoPhoto(error.reason, error.detail)
            return dict(zip(pixels, scorer.embed_photos(list(pixels.values())), strict=True))

        hashes = {photo: photo.sha256 for photo in photos}
        vectors = await self._through_cache(
            hashes, scorer.image_encoder_id, scorer.image_dimension, compute
        )
        return [vectors[photo] if photo in vectors else bad[photo] for photo in photos]

    async def _through_cache(
        self,
        hashes: Mapping[T, str],
        encoder_id: str,
        dimension: int,
        compute: Callable[[Sequence[T]], Mapping[T, Vector]],
    ) -> dict[T, Vector]:
        keys = {content: f"embedding:{encoder_id}:{hash_}" for content, hash_ in hashes.items()}
        cached = await self._cache.get(list(keys.values()), dimension)
        vectors = {content: cached[key] for content, key in keys.items() if key in cached}
        missing = [content for content in keys if content not in vectors]
        if missing:
            loop = asyncio.get_running_loop()
            fresh = await loop.run_in_executor(self._executor, compute, missing)
            await self._cache.put({keys[content]: vector for content, vector in fresh.items()})
            vectors |= fresh
        return vectors
