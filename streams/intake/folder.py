"""Files of a folder → customs-messages, one message each; then into done/ or failed/ beside them.

At least once: a file is moved once Kafka has it, and one that is sent again has the same id.
"""

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.topics import CUSTOMS_MESSAGES
from streams.intake import json_message, wco
from streams.intake.xml_document import MAX_BYTES
from streams.kafka.delivery import Deliveries, producer
from streams.kafka.events import new_trace
from streams.settings import Settings

CONTENT_TYPES: Final = {".json": "application/json", ".xml": "application/xml"}
"""Suffix of a file that is a message → its content type."""
DONE, FAILED = "done", "failed"
Stamp = tuple[int, int, int]
"""Of a file: its number, size and time of change. Unit: bytes, ns."""
LOOK_EVERY_S: Final = 1.0
"""A file is taken that is the same at two looks, so that nobody is writing it."""
AT_ONCE: Final = 100
"""Files that are sent before Kafka is waited for."""
BYTES_AT_ONCE: Final = 32 << 20
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Mail:
    """A file as a message."""

    path: Path
    key: bytes
    """Reference of its declaration; its name where it cannot be understood."""
    value: bytes
    stamp: Stamp
    """Of the file as it was read."""
    reason: str
    """Reason code of why it cannot be understood; empty where it can."""

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """Return the headers, with an id that the same content always has."""
        return [
            ("ce_id", f"sha256:{hashlib.sha256(self.value).hexdigest()}".encode()),
            ("content-type", CONTENT_TYPES[self.path.suffix.lower()].encode()),
            ("traceparent", new_trace().encode()),
        ]


def is_message(path: Path) -> bool:
    """Whether a file's name is one of a message: no hidden or temporary one."""
    return path.suffix.lower() in CONTENT_TYPES and not path.name.startswith((".", "~", "_"))


class Folder:
    """Sends what appears in a folder."""

    def __init__(self, settings: Settings, path: Path) -> None:
        """Connect, and create done/ and failed/.

        Raises:
            OSError: they cannot be created.
        """
        self._path = path
        for name in (DONE, FAILED):
            (path / name).mkdir(exist_ok=True)
        # One more than the topic takes: the broker, not the client, refuses what is too large.
        limit_mb = CUSTOMS_MESSAGES.max_message_mb + 1
        self._producer = producer(settings, max_message_mb=limit_mb)
        self._seen: dict[Path, Stamp] = {}
        self._unreadable: set[Path] = set()

    def run(self, *, once: bool = False) -> int:
        """Send files until interrupted, or those that are there.

        Returns:
            how many are left: they cannot be read, or are still written.

        Raises:
            NotDelivered: Kafka does not take them, or does not answer; they stay.
            OSError: the folder is gone, or a file cannot be moved.
        """
        self.look()
        while True:
            time.sleep(LOOK_EVERY_S)
            self.look()
            if once:
                return sum(1 for _ in self._stamps())

    def look(self) -> int:
        """Send the files that are as they were at the last look, the oldest first.

        Returns:
            how many were sent.

        Raises:
            NotDelivered, OSError: see `run`.
        """
        now = dict(self._stamps())
        ready = [path for path, stamp in now.items() if self._seen.get(path) == stamp]
        ready.sort(key=lambda path: (now[path][-1], path.name))
        self._seen = now
        self._unreadable &= now.keys()
        sent = 0
        for batch in self._batches(ready):
            self._send(batch)
            sent += len(batch)
        return sent

    def _stamps(self) -> Iterator[tuple[Path, Stamp]]:
        """Yield each file that is a message."""
        with os.scandir(self._path) as entries:
            for entry in entries:
                path = Path(entry.path)
                if not is_message(path):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # its writer renamed it meanwhile
                    continue
                if stat.S_ISREG(status.st_mode):  # no link: it may lead anywhere
                    yield path, _stamp(status)

    def _batches(self, paths: Sequence[Path]) -> Iterator[list[Mail]]:
        batch: list[Mail] = []
        for path in paths:
            mail = self._read(path)
            if mail is None:
                continue
            batch.append(mail)
            if len(batch) == AT_ONCE or sum(len(one.value) for one in batch) > BYTES_AT_ONCE:
                yield batch
                batch = []
        if batch:
            yield batch

    def _read(self, path: Path) -> Mail | None:
        """Return a file as a message; None where it is none, or cannot be sent."""
        try:
            value, stamp = _content(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if path not in self._unreadable:
                log.warning("file cannot be read", file=path.name, error=error.strerror)
            self._unreadable.add(path)
            return None
        if len(value) > MAX_BYTES:
            log.warning("file not sent", file=path.name, reason=Reason.VALUE_TOO_LARGE.value)
            self._move(path, FAILED, value, stamp)
            return None
        try:
            reference, reason = reference_of(value, CONTENT_TYPES[path.suffix.lower()]), ""
        except Undecodable as error:
            # Sent all the same: what cannot be understood is a dead letter, wherever it comes from.
            reference, reason = path.name, error.reason.value
        return Mail(path, reference.encode(errors="replace"), value, stamp, reason)

    def _send(self, batch: Sequence[Mail]) -> None:
        deliveries = Deliveries(self._producer)
        for mail in batch:
            deliveries.put(
                CUSTOMS_MESSAGES.name, key=mail.key, value=mail.value, headers=mail.headers
            )
        deliveries.wait()
        for mail in batch:
            if mail.reason:
                log.warning("file not understood", file=mail.path.name, reason=mail.reason)
            self._move(mail.path, FAILED if mail.reason else DONE, mail.value, mail.stamp)
        log.info("files sent", files=len(batch))

    def _move(self, path: Path, name: str, value: bytes, stamp: Stamp) -> None:
        """Move a file; where another one has its name there, under a hash of its content too.

        A file that was written or replaced since it was read stays, and is sent as a new one.
        """
        self._seen.pop(path, None)
        try:
            if _stamp(path.lstat()) != stamp:
                log.warning("file changed while it was sent", file=path.name)
                return
        except FileNotFoundError:  # somebody took it away
            return
        target = self._path / name / path.name
        if target.exists():
            target = target.with_name(f"{hashlib.sha256(value).hexdigest()[:16]}-{path.name}")
        path.replace(target)


def reference_of(value: bytes, content_type: str) -> str:
    """Return the key of a message: its LRN or MRN, or in JSON its declaration_id.

    Raises:
        Undecodable: it cannot be understood.
    """
    if json_message.is_json(value, content_type):
        return json_message.parse(value, content_type).declaration().declaration_id
    return wco.understand(value).reference


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _content(path: Path) -> tuple[bytes, Stamp]:
    """Read a file, of one that is too large only so much that it is refused.

    Returns:
        its content, and its stamp when that was begun.

    Raises:
        OSError: it cannot be read, or is a link by now.
    """
    # Without waiting: it may have become a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as opened:  # noqa: PTH123 - of a descriptor
        stamp = _stamp(os.fstat(descriptor))  # first: who writes meanwhile changes it
        return opened.read(MAX_BYTES + 1), stamp
