"""Ledgers in object storage: one object for each declaration, and a list of those that wait."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from streams import logs
from streams.intake import ledger
from streams.intake.ledger import Ledger
from streams.settings import Settings

WAITING: Final = "waiting/"
"""Prefix of the marks of declarations with waiting messages, named by the time of the first."""
NO_BUCKET: Final = "NoSuchBucket"
DIGITS: Final = 13
"""Of a time in milliseconds, so that names sort by time."""


class StoreFailed(OSError):  # noqa: N818 - says what happened
    """Object storage did not do what it was asked; it may, another time."""


logs.tell_plainly(
    "check REDLANE_S3_ENDPOINT, its keys, and that they may list, read and write the bucket "
    "REDLANE_S3_INTAKE_BUCKET",
    StoreFailed,
)


class Changed(Exception):  # noqa: N818 - says what happened
    """Another worker replaced the ledger since it was read."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A ledger as it was read."""

    ledger: Ledger
    tag: str | None
    """Of the object; None where there was none."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Says that a declaration has a waiting message."""

    name: str
    reference: str
    since: float
    """Seconds since 1970-01-01T00:00Z."""


class Ledgers(Protocol):
    """Where ledgers are kept."""

    async def load(self, reference: str) -> Kept:
        """Return the ledger of a declaration; an empty one where there is none."""

    async def save(self, reference: str, new: Ledger, tag: str | None) -> None:
        """Replace a ledger that is as it was read.

        Raises:
            Changed: it is not.
        """

    async def mark(self, reference: str, since: float) -> None:
        """Remember that a message waits, before the ledger says it."""

    def marks(self, before: float) -> AsyncIterator[Mark]:
        """Yield the marks from before a time, the oldest first."""

    async def unmark(self, mark: Mark) -> None:
        """Forget a mark."""


class S3Ledgers:
    """Ledgers in a bucket. Every call may raise StoreFailed."""

    def __init__(self, settings: Settings) -> None:
        """Take the address; connects when it is first asked."""
        deadline, ca_file = timedelta(seconds=settings.photo_deadline_s), settings.s3_ca_file
        self._store = S3Store(
            settings.s3_intake_bucket,
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key_id,
            secret_access_key=settings.s3_secret_access_key.get_secret_value(),
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": settings.s3_endpoint.startswith("http://"),
                "timeout": deadline,
                "connect_timeout": deadline / 2,
                **({"root_certificate": ca_file.read_text()} if ca_file else {}),
            },
            retry_config={"retry_timeout": deadline, "max_retries": 3},
        )

    async def load(self, reference: str) -> Kept:
        """See Ledgers; raises UnknownFormat for an object that is none of ours."""
        try:
            found = await obstore.get_async(self._store, _key(reference))
            value = bytes(await found.bytes_async())
        except FileNotFoundError:
            return Kept(Ledger(), None)
        except (BaseError, OSError) as error:
            raise _failed(error) from error
        # In a thread, as below: of many versions of 999 goods items, this takes seconds.
        return Kept(await asyncio.to_thread(ledger.read, value), found.meta["e_tag"])

    async def save(self, reference: str, new: Ledger, tag: str | None) -> None:
        """See Ledgers."""
        mode: Any = "create" if tag is None else {"e_tag": tag}
        await self._put(_key(reference), await asyncio.to_thread(ledger.write, new), mode)

    async def mark(self, reference: str, since: float) -> None:
        """See Ledgers."""
        name = f"{WAITING}{int(since * 1000):0{DIGITS}}-{_hash(reference)}"
        await self._put(name, reference.encode(), "overwrite")

    async def marks(self, before: float) -> AsyncIterator[Mark]:
        """See Ledgers; none where there is no bucket yet."""
        try:
            async for page in obstore.list(self._store, WAITING):
                for found in sorted(page, key=lambda one: one["path"]):
                    name = found["path"]
                    since = int(name.removeprefix(WAITING)[:DIGITS]) / 1000
                    if since < before:
                        content = await obstore.get_async(self._store, name)
                        yield Mark(name, bytes(await content.bytes_async()).decode(), since)
        except (BaseError, OSError) as error:
            if _code(error) != NO_BUCKET:
                raise _failed(error) from error

    async def unmark(self, mark: Mark) -> None:
        """See Ledgers."""
        try:
            await obstore.delete_async(self._store, mark.name)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise _failed(error) from error

    async def _put(self, key: str, value: bytes, mode: Any) -> None:
        try:
            await obstore.put_async(self._store, key, value, mode=mode)
        except (AlreadyExistsError, PreconditionError) as error:
            raise Changed(key) from error
        except (BaseError, OSError) as error:
            raise _failed(error) from error


def _failed(error: Exception) -> StoreFailed:
    """Return an error's kind and code; its text may quote a declaration's reference."""
    return StoreFailed(" ".join(filter(None, (type(error).__name__, _code(error)))))


def _code(error: Exception) -> str:
    """Return the code of an error of S3; empty where it has none."""
    found = re.search(r"<Code>(\w{1,80})</Code>", str(error))
    return found[1] if found else ""


def _hash(reference: str) -> str:
    return hashlib.sha256(reference.encode()).hexdigest()


def _key(reference: str) -> str:
    """Return the name of a declaration's object: of any reference, which may hold any sign."""
    name = _hash(reference)
    return f"ledgers/{name[:2]}/{name}.json"
