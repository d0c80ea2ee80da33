"""Keys → objects of an object storage with the S3 interface, at one address and at no other.

Redirects are refused, whoever answers with one: the bytes would come from, or go to, a host that
nobody allowed. Keys are sent as they are: S3 allows any characters, `a//b.jpg` and `./b.jpg` too,
which clients that read a key as a path refuse or change.
"""

import asyncio
import math
import ssl
import time
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import quote

import aiohttp
import structlog
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from streams.settings import Settings

ATTEMPTS: Final = 4
DELAY_S: Final = 0.1
"""Before the second attempt; each wait is twice the last."""
TELL_EVERY_S: Final = 60.0
DENIALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
KEY_REFUSED: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_URI_TOO_LONG)
"""Status with which a storage refuses a key that it cannot hold."""
log = structlog.get_logger(__name__)


class StorageFailed(OSError):  # noqa: N818 - says what happened
    """The storage did not do what it was asked."""


class Redirected(StorageFailed):
    """It names another place instead, which is not asked."""


class NoSuchKey(StorageFailed):
    """There is no object under the key."""


class Denied(StorageFailed):
    """It refuses our keys, or we its certificate: another attempt would fail too."""


class KeyRefused(StorageFailed):
    """No object can have this key."""


class TooLarge(StorageFailed):
    """The object is larger than it may be."""


class _NoAnswer(StorageFailed):
    """It may answer when it is asked again."""


class Bucket(Protocol):
    """Objects by key.

    A key that nobody checked may be any characters that UTF-8 can encode.
    """

    async def read(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object.

        Raises:
            NoSuchKey, KeyRefused, TooLarge: about the object.
            StorageFailed, TimeoutError: about the storage.
        """

    async def write(self, key: str, data: bytes, *, media_type: str) -> None:
        """Store an object.

        Raises:
            StorageFailed, TimeoutError: it is not stored.
        """


class ObjectStorage:
    """Keeps connections to one storage; use it in one event loop, and close it there."""

    def __init__(self, settings: Settings) -> None:
        """Take the address and the keys; connects when it is first asked."""
        self._endpoint = settings.s3_endpoint.rstrip("/")
        keys = Credentials(
            settings.s3_access_key_id, settings.s3_secret_access_key.get_secret_value()
        )
        self._signer = S3SigV4Auth(keys, "s3", settings.s3_region)
        self._deadline_s = settings.photo_deadline_s
        self._ca_file = settings.s3_ca_file
        self._told_at = -math.inf
        self._session: aiohttp.ClientSession | None = None

    def bucket(self, name: str) -> Bucket:
        """Return a bucket, which need not exist."""
        return _S3Bucket(self, name)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def read(self, path: str, max_bytes: int) -> bytes:
        """Return the object at a path; see `Bucket.read`.

        Args:
            path: `/bucket/key`, not quoted.
            max_bytes: of the object.
        """
        return await self._patiently("GET", path, max_bytes=max_bytes)

    async def write(self, path: str, data: bytes, media_type: str) -> None:
        """Store an object at a path; see `Bucket.write`."""
        await self._patiently("PUT", path, data=data, media_type=media_type)

    async def _patiently(
        self, method: str, path: str, *, data: bytes = b"", media_type: str = "", max_bytes: int = 0
    ) -> bytes:
        """Ask, and again within the deadline while it does not answer."""
        async with asyncio.timeout(self._deadline_s):
            for attempt in range(ATTEMPTS - 1):
                try:
                    return await self._ask(method, path, data, media_type, max_bytes)
                except _NoAnswer:
                    await asyncio.sleep(DELAY_S * 2**attempt)
            return await self._ask(method, path, data, media_type, max_bytes)

    async def _ask(
        self, method: str, path: str, data: bytes, media_type: str, max_bytes: int
    ) -> bytes:
        """Return the body of the answer; that of a write says nothing, and is not read."""
        address = self._endpoint + quote(path)  # neither signer nor client changes it again
        url = URL(address, encoded=True)
        request = AWSRequest(method, address, {"host": url.host_port_subcomponent}, data)
        self._signer.add_auth(request)
        # As it is stored: nothing is unpacked here, so nothing can grow. Not signed, because
        # whatever stands before a storage may change it.
        headers = {**request.headers, "accept-encoding": "identity", "content-type": media_type}
        try:
            async with self._connected().request(
                method, url, data=data or None, headers=headers, allow_redirects=False
            ) as answer:
                _check(answer.status)
                return b"" if data else await _body(answer, max_bytes)
        except Denied as error:
            self._tell(error, "give the user of REDLANE_S3_ACCESS_KEY_ID its rights")
            raise
        except aiohttp.ClientSSLError as error:
            self._tell(error, "check REDLANE_S3_CA_FILE and when the certificate expires")
            raise Denied(type(error).__name__) from error
        except aiohttp.ClientError as error:
            raise _NoAnswer(type(error).__name__) from error

    def _tell(self, problem: Exception, remedy: str) -> None:
        """Log now and then what only an operator can repair: each object would meet it."""
        if time.monotonic() - self._told_at > TELL_EVERY_S:
            self._told_at = time.monotonic()
            log.error("object storage refuses us", problem=str(problem)[:200], remedy=remedy)

    def _connected(self) -> aiohttp.ClientSession:
        """Return the connections, without cookies and without proxies of the environment."""
        if self._session is None:
            certificates = ssl.create_default_context(cafile=self._ca_file)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=certificates),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._deadline_s / 2),
                trust_env=False,
            )
        return self._session


class _S3Bucket:
    """One bucket, addressed by path."""

    def __init__(self, storage: ObjectStorage, name: str) -> None:
        self._storage = storage
        self._name = name

    async def read(self, key: str, *, max_bytes: int) -> bytes:
        return await self._storage.read(f"/{self._name}/{key}", max_bytes)

    async def write(self, key: str, data: bytes, *, media_type: str) -> None:
        await self._storage.write(f"/{self._name}/{key}", data, media_type)


def _check(status: int) -> None:
    """Raise what a status says, unless it is a success."""
    if status in KEY_REFUSED:
        raise KeyRefused(f"status {status}")
    if status == HTTPStatus.NOT_FOUND:
        raise NoSuchKey(f"status {status}")
    if status in DENIALS:
        raise Denied(f"status {status}")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _NoAnswer(f"status {status}")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise Redirected(f"status {status}")
    if status != HTTPStatus.OK:
        raise StorageFailed(f"status {status}")


async def _body(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read a body that may be endless."""
    data = bytearray()
    if (answer.content_length or 0) <= max_bytes:
        async for chunk in answer.content.iter_any():
            data += chunk
            if len(data) > max_bytes:
                break
        else:
            return bytes(data)
    raise TooLarge(f"more than {max_bytes} bytes")
