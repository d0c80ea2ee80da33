"""Texts and photos → embeddings, from the cache or computed in an executor."""

import asyncio
import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from models.encoding.encoders import Vector
from models.encoding.image import decode_photo
from models.encoding.perceptual_hash import perceptual_hash
from models.encoding.photo_file import BadPhoto
from models.encoding.text import normalise
from models.scoring.scorer import Scorer
from streams.evidence.photos import NoPhoto, Photo
from streams.redis.keys import embedding_key

T = TypeVar("T")
FLOAT = np.dtype(np.float32)
REST = struct.Struct(">Q?")
"""Perceptual hash, and whether the file is truncated."""


@dataclass(frozen=True, slots=True)
class EmbeddedPhoto:
    """What is kept of a photo."""

    vector: Vector
    perceptual_hash: int
    """As models.encoding.perceptual_hash gives it. 64 bits."""
    truncated: bool = False
    """The end of its file is missing."""

    def encode(self) -> bytes:
        """Return what is cached: the vector, then the rest."""
        return self.vector.tobytes() + REST.pack(self.perceptual_hash, self.truncated)

    @classmethod
    def decode(cls, value: bytes) -> "EmbeddedPhoto":
        """Read what is cached."""
        vector, rest = value[: -REST.size], value[-REST.size :]
        return cls(np.frombuffer(vector, FLOAT), *REST.unpack(rest))


@dataclass(frozen=True, slots=True)
class _Kind:
    """Values of one encoder."""

    encoder_id: Callable[[], str]
    """As of now: it changes where the CPU takes over from a GPU."""
    dimension: int
    rest: int = 0
    """Bytes after the vector."""

    @property
    def length(self) -> int:
        """Bytes of a value."""
        return self.dimension * FLOAT.itemsize + self.rest

    def is_finite(self, value: bytes) -> bool:
        """Whether a value's vector is; earlier versions cached whatever the encoder gave."""
        return bool(np.isfinite(np.frombuffer(value, FLOAT, self.dimension)).all())


class VectorCache(Protocol):
    """Keeps embeddings by key; may forget them at any time."""

    async def get(self, keys: Sequence[str], length: int) -> dict[str, bytes]:
        """Return the cached values of `keys` that have `length` bytes."""

    async def put(self, embeddings: Mapping[str, bytes]) -> None:
        """Cache embeddings."""


class Embedder:
    """Embeds the contents of a micro-batch, each distinct one once."""

    def __init__(self, scorer: Scorer, cache: VectorCache, executor: Executor) -> None:
        self._scorer = scorer
        self._cache = cache
        self._executor = executor

    async def texts(self, texts: Sequence[str]) -> dict[str, Vector]:
        """Return text → vector (text_dimension,)."""
        scorer = self._scorer

        def compute(missing: Sequence[str]) -> dict[str, bytes]:
            vectors = scorer.embed_texts(missing)
            return {text: vector.tobytes() for text, vector in zip(missing, vectors, strict=True)}

        # By what the encoder reads: no embedding may outlive a change of how texts are read.
        contents = {text: hashlib.sha256(normalise(text).encode()).hexdigest() for text in texts}
        kind = _Kind(lambda: scorer.text_encoder_id, scorer.text_dimension)
        values = await self._through_cache(contents, kind, compute)
        return {text: np.frombuffer(value, FLOAT) for text, value in values.items()}

    async def photos(self, photos: Sequence[Photo]) -> dict[Photo, EmbeddedPhoto | NoPhoto]:
        """Return photo → vector (image_dimension,) and hash, or why it cannot be decoded."""
        scorer = self._scorer
        undecodable: dict[Photo, NoPhoto] = {}

        def compute(missing: Sequence[Photo]) -> dict[Photo, bytes]:
            decoded = {}
            for photo in missing:
                try:
                    decoded[photo] = decode_photo(photo.data)
                except BadPhoto as error:
                    undecodable[photo] = NoPhoto(error.reason, error.detail)
            vectors = scorer.embed_photos([shown.pixels for shown in decoded.values()])
            return {
                photo: EmbeddedPhoto(
                    vector, perceptual_hash(shown.pixels), shown.truncated
                ).encode()
                for (photo, shown), vector in zip(decoded.items(), vectors, strict=True)
            }

        contents = {photo: photo.sha256 for photo in photos}
        kind = _Kind(lambda: scorer.image_encoder_id, scorer.image_dimension, REST.size)
        values = await self._through_cache(contents, kind, compute)
        decoded = {photo: EmbeddedPhoto.decode(value) for photo, value in values.items()}
        return {**undecodable, **decoded}

    async def _through_cache(
        self,
        contents: Mapping[T, str],
        kind: _Kind,
        compute: Callable[[Sequence[T]], dict[T, bytes]],
    ) -> dict[T, bytes]:
        """Return content → cached value; computes and caches what is missing.

        Args:
            contents: content → its hash.
            kind: of the values.
            compute: runs in the executor; leaves out what it cannot embed.
        """
        encoder = kind.encoder_id()
        keys = {content: embedding_key(encoder, sha256) for content, sha256 in contents.items()}
        cached = await self._cache.get(list(keys.values()), kind.length)
        values = {
            content: cached[key]
            for content, key in keys.items()
            if key in cached and kind.is_finite(cached[key])
        }
        missing = [content for content in keys if content not in values]
        if missing:
            loop = asyncio.get_running_loop()
            computed = await loop.run_in_executor(self._executor, compute, missing)
            # Where the GPU was lost meanwhile, nobody knows which of the two computed what.
            if kind.encoder_id() == encoder:
                await self._cache.put({keys[content]: value for content, value in computed.items()})
            values |= computed
        return values
