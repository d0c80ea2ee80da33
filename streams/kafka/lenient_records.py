"""Events with a header whose name is no UTF-8 → events, instead of an error of Kafka's client.

Kafka stores such events, and some clients send them. aiokafka raises an error on every batch that
holds one, and would at every restart. So at the first such error its reader is replaced by this
one, which is slower.
"""

from typing import Any

import structlog
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

MAGIC = 2
"""Version of Kafka's format for batches since headers exist."""
log = structlog.get_logger(__name__)


def read_leniently() -> None:
    """Replace aiokafka's reader, for the rest of this process."""
    log.warning("a header's name is no UTF-8: events are read leniently from now on, and slower")
    fetcher.MemoryRecords = LenientRecords


class LenientRecords(_MemoryRecordsPy):  # type: ignore[misc] # aiokafka is untyped
    """Batches of events as fetched."""

    def next_batch(self) -> Any:
        """Return the next batch."""
        batch = self._next_slice
        if batch is None or len(batch) <= self.MAGIC_OFFSET or batch[self.MAGIC_OFFSET] < MAGIC:
            return super().next_batch()
        self._cache_next()
        return LenientBatch(batch)


class LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc] # aiokafka is untyped
    """A batch of events."""

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _LenientBuffer(self._buffer)


class _LenientBuffer(bytearray):
    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        return part if isinstance(part, int) else _LenientText(part)


class _LenientText(bytes):
    """What aiokafka decodes as a header's name."""

    def decode(self, encoding: str = "utf-8", _errors: str = "strict") -> str:
        return super().decode(encoding, "replace")
