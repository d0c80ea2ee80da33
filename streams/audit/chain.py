"""Events with a decision → entries of a hash chain, and what is wrong with a chain. No Kafka here.

An entry depends on its event and on the entry before, on no clock and no writer. So an entry that
is appended again has the same bytes, and a repetition can be told from a forgery.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Literal, Self, TypeAlias

from schemas.records import EPOCH, DecisionLogEntry

FORMAT: Final = 1
FIRST: Final = "0" * 64
"""`previous_hash` of the first entry of a chain."""
REMEMBERED: Final = 10_000
"""Entries whose repetition is recognised."""


def netstrings(texts: Iterable[str | bytes]) -> bytes:
    """Return texts so that no two sequences give the same bytes: length, colon, text, comma."""
    encoded = (text.encode() if isinstance(text, str) else text for text in texts)
    return b"".join(b"%d:%s," % (len(text), text) for text in encoded)


def hash_of(entry: DecisionLogEntry) -> str:
    """Return the SHA-256 of an entry with the hash of the entry before, as 64 hex digits.

    Not over its Avro bytes: they change when the schema gets another field.
    """
    fields = (
        str(entry.format),
        entry.chain,
        str(entry.sequence),
        str(entry.source_offset),
        str((entry.source_time - EPOCH) // timedelta(milliseconds=1)),
        entry.kind,
        entry.event_id,
        entry.subject,
        entry.decision,
        entry.value_sha256,
        entry.headers_sha256,
        entry.previous_hash,
    )
    return hashlib.sha256(netstrings(fields)).hexdigest()


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain."""

    length: int = 0
    """Number of the last entry."""
    hash: str = FIRST
    """Of the last entry."""
    source_offset: int = -1
    """Of the last event that was logged."""

    @classmethod
    def of(cls, entry: DecisionLogEntry) -> Self:
        """Return the end of a chain whose last entry this is."""
        return cls(entry.sequence, entry.hash, entry.source_offset)

    def next(self, event: DecisionLogEntry) -> DecisionLogEntry:
        """Return the entry of an event, linked to this end."""
        linked = replace(
            event, sequence=self.length + 1, previous_hash=self.hash, hash="", format=FORMAT
        )
        return replace(linked, hash=hash_of(linked))


Kind: TypeAlias = Literal["altered", "missing", "reordered", "truncated"]


@dataclass(frozen=True, slots=True)
class Problem:
    """The first thing that is wrong with a chain."""

    kind: Kind
    chain: str
    sequence: int
    """Number of the entry."""
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: entry {self.sequence} of {self.chain}. {self.detail}"


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry as it lies in the log."""

    offset: int
    entry: DecisionLogEntry | None
    """None where the value is no entry."""


@dataclass(slots=True)
class Check:
    """Follows one chain; stops at the first problem.

    Args:
        chain: its name.
        anchored: length → hash of the entry that was the last then, as kept elsewhere.
    """

    chain: str
    anchored: Mapping[int, str] = field(default_factory=dict)
    begins: int = 0
    """Number of the first entry that is there; 0 for none."""
    head: Head = Head()
    repeated: int = 0
    """Entries that are there once more, equal to the first."""
    confirmed: int = 0
    """Anchors that agree with the chain."""
    problem: Problem | None = None
    _hashes: dict[int, str] = field(default_factory=dict)
    """Number → hash, of the latest entries."""
    _last_offset: int = -1

    def entries(self, log: Iterable[Placed]) -> Iterator[DecisionLogEntry]:
        """Yield the entries that are linked, each once; then `problem` says why it stopped."""
        log = iter(log)
        for placed in log:
            entry = placed.entry
            if entry is not None and self._is_repetition(entry):
                self.repeated += 1
                continue
            self.problem = self._broken(placed) or self._unlinked(placed, log)
            if self.problem is not None:
                return
            assert entry is not None  # noqa: S101 - `_broken` says so
            self.head, self._last_offset = Head.of(entry), placed.offset
            self.confirmed += entry.sequence in self.anchored
            self._hashes[entry.sequence] = entry.hash
            self._hashes.pop(entry.sequence - REMEMBERED, None)
            yield entry
        self.problem = self._cut_off()

    def _is_repetition(self, entry: DecisionLogEntry) -> bool:
        return self._hashes.get(entry.sequence) == entry.hash == hash_of(entry)

    def _broken(self, placed: Placed) -> Problem | None:
        """Return what is wrong with an entry by itself."""
        entry, at = placed.entry, f"Offset {placed.offset} of the log"
        expected = self.head.length + 1
        if entry is None:
            return self._problem("altered", expected, f"{at} holds no entry.")
        if entry.format != FORMAT or entry.hash != hash_of(entry):
            return self._problem("altered", expected, f"{at}: its hash is not of its contents.")
        if entry.chain != self.chain:
            return self._problem("altered", expected, f"{at} holds an entry of {entry.chain}.")
        if self.anchored.get(entry.sequence, entry.hash) != entry.hash:
            return self._problem("altered", entry.sequence, f"{at}: its hash is not the anchor's.")
        return None

    def _unlinked(self, placed: Placed, rest: Iterator[Placed]) -> Problem | None:
        """Return why an entry does not follow the last one."""
        entry, at = placed.entry, f"Offset {placed.offset} of the log"
        assert entry is not None  # noqa: S101 - `_broken` says so
        if not self.begins:
            self.begins = entry.sequence
            # What was before is no longer kept.
            previous = FIRST if entry.sequence == 1 else entry.previous_hash
            self.head = Head(entry.sequence - 1, previous, -1)
        expected = self.head.length + 1
        if entry.sequence > expected:
            return self._out_of_order(expected, placed, entry.sequence, rest)
        if entry.sequence < self.begins:
            return self._problem("reordered", entry.sequence, f"{at}: it stands behind later ones.")
        if entry.sequence < expected:
            return self._problem("altered", entry.sequence, f"{at} holds another of this number.")
        if entry.previous_hash != self.head.hash:
            where = f"offset {self._last_offset} of the log" if self.head.length else "nothing"
            detail = f"Entry {expected}, at offset {placed.offset}, does not follow {where}."
            return self._problem("altered", max(1, expected - 1), detail)
        if entry.source_offset <= self.head.source_offset:
            return self._problem("reordered", expected, f"{at}: its event is before the last one.")
        return None

    def _out_of_order(
        self, expected: int, placed: Placed, sequence: int, rest: Iterator[Placed]
    ) -> Problem:
        """Tell whether the entry that should come is elsewhere, or gone."""
        found = f"Entry {sequence} is in its place, at offset {placed.offset} of the log"
        for later in rest:
            entry = later.entry
            if entry is not None and entry.sequence == expected and entry.hash == hash_of(entry):
                return self._problem("reordered", expected, f"{found}; it is at {later.offset}.")
        return self._problem("missing", expected, f"{found}.")

    def _cut_off(self) -> Problem | None:
        """Return what an anchor knows and the log does not: its end was cut off."""
        if max(self.anchored, default=0) <= self.head.length:
            return None
        known = f"The log ends before it; an anchor knows {max(self.anchored)} entries."
        return self._problem("truncated", self.head.length + 1, known)

    def _problem(self, kind: Kind, sequence: int, detail: str) -> Problem:
        return Problem(kind, self.chain, sequence, detail)
