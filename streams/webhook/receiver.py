"""A webhook → its receiver, at one address and at no other, again until it is taken.

What the receiver answers is its status alone: the body is not read, and a redirect not followed. A
status that is about this event refuses it at once. Any other failure is tried again for a while.
Then either the receiver took others meanwhile, and the event is refused; or it takes none, and
`ReceiverFailed` stops the worker.
"""

import io
import random
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from stamina import AsyncRetryingCaller

from schemas.codec import Undecodable
from schemas.reasons import Reason
from streams import logs, metrics
from streams.kafka.heartbeat import beat
from streams.setting_types import check_address, is_loopback
from streams.settings import NotConfigured, Settings
from streams.webhook.event import MEDIA_TYPE, Webhook
from streams.webhook.signature import signed, signing_keys

REFUSALS: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
"""Status that is about the event. Others of 400 to 499, such as 401, 404 or 410, are about all."""
BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Status that says nothing of the event, even where others are taken."""
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
"""Between two attempts; each wait is twice the last."""
LONGEST_RETRY_AFTER_S: Final = 60.0
"""As the receiver may ask for, so that it cannot hold an event for ever."""


class NotTaken(Exception):  # noqa: N818 - says what happened
    """An attempt failed."""

    def __init__(self, problem: str, *, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(problem)
        self.status = status
        """0 where there is no answer."""
        self.retry_after_s = retry_after_s


class ReceiverFailed(Exception):  # noqa: N818 - says what happened
    """The receiver takes no events."""


logs.tell_plainly(
    "check REDLANE_DELIVER_URL, REDLANE_DELIVER_SECRET, REDLANE_DELIVER_CA_FILE and the receiver; "
    "what it has not taken is posted again after the restart",
    ReceiverFailed,
)


class Receiver:
    """Keeps connections to one receiver; use it in one event loop, and close it there."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        """Take the address and the keys; connects when it is first asked.

        Args:
            settings: of the receiver.
            clock: gives the time of an attempt, which is signed. Unit: s since 1970-01-01T00:00Z.

        Raises:
            NotConfigured: there is no address, it may not be used, there is no key, or the
                file of the authority holds none.
        """
        self._url = receiver_url(settings)
        self._host = urlsplit(self._url).hostname
        self._keys = signing_keys(settings.deliver_secret)
        self._certificates = _certificates(settings)
        self._timeout_s = settings.deliver_timeout_s
        self._clock = clock
        self._retry_s = settings.deliver_retry_s
        self._retry = AsyncRetryingCaller(
            attempts=None,
            timeout=self._retry_s,
            wait_initial=FIRST_WAIT_S,
            wait_jitter=FIRST_WAIT_S,
            wait_max=LONGEST_WAIT_S,
        )
        self._taken = 0
        """Events that the receiver took."""
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def deliver(self, topic: str, event: Webhook) -> None:
        """Post an event until the receiver takes it.

        Args:
            topic: that it comes from.
            event: as it is posted.

        Raises:
            Undecodable: it does not take this one.
            ReceiverFailed: it takes none.
        """
        taken_before = self._taken
        try:
            await self._retry(_wait, self._attempt, topic, event)
        except NotTaken as error:
            others = self._taken > taken_before and error.status not in BUSY
            if error.status not in REFUSALS and not others:
                raise ReceiverFailed(
                    f"The receiver at {self._host} took nothing for {self._retry_s:.0f} s: {error}."
                ) from error
            metrics.WEBHOOKS.labels(topic, "refused").inc()
            when = " again and again, and others meanwhile" if others else ""
            raise Undecodable(
                Reason.DELIVERY_REFUSED, f"the receiver does not take it{when}: {error}"
            ) from error

    async def _attempt(self, topic: str, event: Webhook) -> None:
        """Post an event once.

        Raises:
            NotTaken: the receiver did not take it.
        """
        beat()
        headers = signed(event.id, event.body, at=int(self._clock()), keys=self._keys)
        try:
            with metrics.WEBHOOK_SECONDS.time():
                async with self._connected().post(
                    self._url, data=io.BytesIO(event.body), headers=headers, allow_redirects=False
                ) as answer:
                    status, asked = answer.status, answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            metrics.WEBHOOKS.labels(topic, "retried").inc()
            raise NotTaken(type(error).__name__) from error
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            if status not in REFUSALS:
                metrics.WEBHOOKS.labels(topic, "retried").inc()
            wait_s = retry_after(asked, self._clock())
            raise NotTaken(f"status {status}", status=status, retry_after_s=wait_s)
        self._taken += 1
        metrics.WEBHOOKS.labels(topic, "delivered").inc()

    def _connected(self) -> aiohttp.ClientSession:
        """Return the connections, without cookies and without proxies of the environment."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._certificates),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "Content-Type": MEDIA_TYPE,
                    "User-Agent": f"redlane/{version('redlane')}",
                    # The body is not read; packed it would only cost both of us.
                    "Accept-Encoding": "identity",
                },
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                trust_env=False,
            )
        return self._session


def receiver_url(settings: Settings) -> str:
    """Return where events are posted.

    Raises:
        NotConfigured: there is none, or events would travel in the open.
    """
    url = settings.deliver_url
    if not url:
        raise NotConfigured(
            "Set REDLANE_DELIVER_URL to the address that takes events: docs/case-management.md."
        )
    try:
        check_address(url, ("https", "http"))
    except ValueError as error:
        raise NotConfigured(f"Correct REDLANE_DELIVER_URL: {error}.") from None
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.fragment:
        raise NotConfigured(
            "Correct REDLANE_DELIVER_URL: it may hold neither a user nor a fragment. Receivers "
            "know us by the signature."
        )
    is_safe = parts.scheme == "https" or is_loopback(parts.hostname or "")
    if not (is_safe or settings.deliver_plain_http):
        raise NotConfigured(
            "Correct REDLANE_DELIVER_URL: write https://. With http:// everybody on the way reads "
            "the events; REDLANE_DELIVER_PLAIN_HTTP=true allows that."
        )
    return url


def reach(settings: Settings, *, within_s: float) -> str:
    """Connect to the receiver and post nothing; returns its host and port.

    Args:
        settings: of the receiver.
        within_s: that it may take to answer. Unit: s.

    Raises:
        NotConfigured: see `Receiver`.
        OSError: nobody answers, or not with a certificate that is trusted.
    """
    parts = urlsplit(receiver_url(settings))
    signing_keys(settings.deliver_secret)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    with socket.create_connection((host, port), timeout=within_s) as connection:
        if is_tls:
            _certificates(settings).wrap_socket(connection, server_hostname=host).close()
    return f"{host}:{port}"


def _certificates(settings: Settings) -> ssl.SSLContext:
    """Return what the receiver's certificate is checked with.

    Raises:
        NotConfigured: the file of the authority holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=settings.deliver_ca_file)
    except ssl.SSLError:
        raise NotConfigured(
            "Correct REDLANE_DELIVER_CA_FILE: the file holds no certificate in PEM."
        ) from None


def retry_after(text: str, now: float) -> float:
    """Return how long a receiver asks us to wait: a number of seconds, or a date of HTTP. Unit: s.

    Args:
        text: the header; whatever is neither counts as 0.
        now: the time. Unit: s since 1970-01-01T00:00Z.
    """
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    wait_s = (until - datetime.fromtimestamp(now, UTC)).total_seconds()
    return min(max(0.0, wait_s), LONGEST_RETRY_AFTER_S)


def _wait(error: Exception) -> bool | float:
    """Return whether to try again; as a number, after how long. Unit: s."""
    if not isinstance(error, NotTaken) or error.status in REFUSALS:
        return False
    if not error.retry_after_s:
        return True
    # So that not all come back at once.
    return error.retry_after_s + random.uniform(0, FIRST_WAIT_S)  # noqa: S311 - no secret
