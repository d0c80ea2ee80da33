"""A case management system for tests: a real HTTP server on the loopback address, in a thread.

It checks what docs/case-management.md asks a receiver to check, by the program that stands there.
"""

import asyncio
import json
import re
import ssl
import textwrap
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from streams.local.process import LOOPBACK, free_port

DOCUMENT = Path(__file__).parents[3] / "docs" / "case-management.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the example of the specification
OTHER = "whsec_" + "b3RoZXIg" * 4


def verifier():
    """The function `verify` of the document."""
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    defined = {}
    exec(textwrap.dedent(program), defined)  # noqa: S102 - of the document
    return defined["verify"]


@dataclass
class Posted:
    """What came."""

    id: str
    body: bytes
    headers: dict
    path: str

    @property
    def key(self):
        """The declaration that it is about."""
        return json.loads(self.body)["subject"]

    @property
    def data(self):
        """The event itself."""
        return json.loads(self.body)["data"]


class Endpoint:
    """Answers in turn what `answers` holds, then 204: a status, or (status, headers), or "hang"."""

    def __init__(self, *answers, secret=SECRET, certificate=None, port=None):
        self.posted = []
        self.taken = []
        """Those that were answered with 2xx."""
        self.answers = deque(answers)
        self.answer = lambda posted: self.answers.popleft() if self.answers else 204
        self.port = port or free_port()
        self.url = f"http{'s' if certificate else ''}://{LOOPBACK}:{self.port}/redlane"
        self._tls = None
        if certificate:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(*certificate)
        self._verify = verifier()
        self._secret = secret
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner = None

    def __enter__(self):
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self):
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port, ssl_context=self._tls).start()

    async def _take(self, request):
        body = await request.read()
        self._verify(self._secret, request.headers, body)
        posted = Posted(request.headers["webhook-id"], body, dict(request.headers), request.path)
        self.posted.append(posted)
        answer = self.answer(posted)
        if answer == "hang":
            await asyncio.sleep(3600)
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if 200 <= status < 300:
            self.taken.append(posted)
        return web.Response(status=status, headers=headers)
