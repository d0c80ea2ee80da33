"""Every request → refused early, or answered with headers that leave a browser no room for harm."""

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY: Final = 256 << 10
"""Bytes of a form: fifty findings and a note, and room to spare."""
PROBES: Final = ("/livez", "/readyz")
"""Asked by the orchestrator, under whatever name."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; object-src 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware: known hosts only, bounded bodies, headers on every answer."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str]) -> None:
        """Take the names that browsers may ask for."""
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    given[name] = value
                # Cases are confidential: nothing stays in a browser, but pictures for a while.
                given.setdefault("Cache-Control", "no-store")
            await send(message)

        if scope["path"] not in PROBES and _name(headers.get("host", "")) not in self._hosts:
            # Another name for this address: a page elsewhere may be behind it (DNS rebinding).
            await PlainTextResponse("Unknown host.\n", 421)(scope, receive, answer)
            return
        length = headers.get("content-length", "0")
        chunked = "transfer-encoding" in headers
        if chunked or not length.isdecimal() or int(length) > MAX_BODY:
            await PlainTextResponse("Too large.\n", 413)(scope, receive, answer)
            return
        await self._app(scope, receive, answer)


def _name(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()
