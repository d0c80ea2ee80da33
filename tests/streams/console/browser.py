"""A headless Chromium over its DevTools protocol: what a test needs of it, without a driver."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import aiohttp

from streams.local.process import Process

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium():
    """The browser's path; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page."""

    def __init__(self, socket):
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers = {}
        self.errors = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self):
        async for message in self._socket:
            received = json.loads(message.data)
            if "id" in received:
                self._answers.pop(received["id"]).set_result(received)
            elif received["method"] == "Runtime.exceptionThrown":
                self.errors.append(
                    received["params"]["exceptionDetails"]["exception"]["description"]
                )
            elif received["method"] == "Log.entryAdded":
                entry = received["params"]["entry"]
                if entry["source"] == "security":
                    self.errors.append(entry["text"])

    async def send(self, method, **params):
        """Call a method of the protocol; return its result."""
        id_ = next(self._ids)
        answer = self._answers[id_] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": id_, "method": method, "params": params})
        answered = await asyncio.wait_for(answer, 20)
        assert "error" not in answered, answered
        return answered["result"]

    async def do(self, script):
        """Evaluate JavaScript in the page; return its value."""
        answered = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answered, answered
        return answered["result"].get("value")

    async def until(self, script, *, within_s=30.0):
        """Wait until JavaScript gives something true."""
        deadline = time.monotonic() + within_s
        while True:
            with contextlib.suppress(AssertionError):  # the page is just being left
                if await self.do(f"!!({script})"):
                    return
            assert time.monotonic() < deadline, f"not within {within_s} s: {script}"
            await asyncio.sleep(0.05)

    async def open(self, url):
        """Load a page."""
        await self.send("Page.navigate", url=url)
        await self.until(f"location.href == {json.dumps(url)} && document.readyState == 'complete'")

    async def size(self, width, height, scale=1):
        """Resize the view."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip

    async def press(self, key):
        """Press a key, as a keyboard would."""
        code = {"Enter": 13, "Escape": 27}.get(key, ord(key[0].upper()))
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        event = {"key": key, "windowsVirtualKeyCode": code, "text": text}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **event)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    async def click(self, selector, *, count=1):
        """Click the middle of an element, `count` times in quick succession."""
        at = await self.do(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        where = {"x": at[0], "y": at[1], "button": "left"}
        for number in range(1, count + 1):
            for kind in ("mousePressed", "mouseReleased"):
                await self.send("Input.dispatchMouseEvent", type=kind, clickCount=number, **where)

    async def picture(self, path):
        """Write what the view shows as a PNG file."""
        answered = await self.send("Page.captureScreenshot", format="png")
        data = base64.b64decode(answered["data"])
        await asyncio.to_thread(Path(path).write_bytes, data)


@contextlib.asynccontextmanager
async def browser(path):
    """Start Chromium at the loopback address; gives a function that opens tabs."""
    with tempfile.TemporaryDirectory(
        prefix="redlane-chromium-",
        ignore_cleanup_errors=True,  # its children end a little later than itself
    ) as folder:
        command = [
            path, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}/profile",
            "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--lang=en", "about:blank",
        ]  # fmt: skip
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")
        process = Process("chromium", command, directory=Path(folder), stop_within_s=5).start()
        try:
            port_file = Path(folder) / "profile" / "DevToolsActivePort"
            process.wait_until(lambda: port_file.exists() and port_file.read_text(), within_s=30)
            port = port_file.read_text().splitlines()[0]
            async with aiohttp.ClientSession() as session:

                async def new_tab():
                    url = f"http://127.0.0.1:{port}/json/new?about:blank"
                    async with session.put(url) as answer:
                        address = (await answer.json())["webSocketDebuggerUrl"]
                    tab = Tab(await session.ws_connect(address, max_msg_size=0))
                    for domain in ("Page", "Runtime", "Log", "Network"):
                        await tab.send(f"{domain}.enable")
                    return tab

                yield new_tab
        finally:
            process.stop()
