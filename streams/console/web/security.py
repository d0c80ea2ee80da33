"""Every request → an early refusal, or an answer with headers that keep a browser safe."""

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY: Final = 256 << 10
"""Of a form with fifty findings and a note, generously. Unit: bytes."""
PROBES: Final = ("/livez", "/readyz")
"""The orchestrator asks for these under any host name."""
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
    """ASGI middleware: allowed hosts only, bounded bodies, security headers on every answer."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str]) -> None:
        """Take the host names that browsers may ask for."""
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: 421 under another host name, 413 of too large a body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answered[name] = value
                # Cases are confidential: browsers keep nothing but pictures, and those for a while.
                answered.setdefault("Cache-Control", "no-store")
            await send(message)

        if scope["path"] not in PROBES and _host_name(headers.get("host", "")) not in self._hosts:
            # A foreign page may have pointed its own name at this address (DNS rebinding).
            await PlainTextResponse("Unknown host.\n", 421)(scope, receive, send_safely)
            return
        length = headers.get("content-length", "0")
        chunked = "transfer-encoding" in headers
        if chunked or not length.isdecimal() or int(length) > MAX_BODY:
            await PlainTextResponse("Too large.\n", 413)(scope, receive, send_safely)
            return
        await self._app(scope, receive, send_safely)


def _host_name(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()
