"""`python -m tests.streams.console.screenshots`: the pages as docs/console/ shows them, from samples.

No Kafka: the events go straight into a store, the pictures into memory.
"""

import asyncio
import contextlib
import sys
import tempfile
import threading
from pathlib import Path
from zoneinfo import ZoneInfo

import uvicorn
from PIL import Image

from streams.console.state.actions import CaseActions
from streams.console.state.ingest import case_id_of, ingest
from streams.console.state.queries import Store
from streams.console.state.tables import Database
from streams.console.state.users import User
from streams.console.web.csrf import Tokens
from streams.console.web.event_stream import Stopping
from streams.console.web.identity import Identity
from streams.console.web.pages import application
from streams.console.web.pictures import reencoded
from streams.console.web.requests import Parts
from streams.evidence.photos import NoPhoto
from streams.local.process import LOOPBACK, free_port
from streams.settings import Settings
from tests.streams.console import samples
from tests.streams.console.browser import browser, chromium

TARGET = Path(__file__).parents[3] / "docs" / "console"
ANN = User(id="demo/Ann Peeters", name="Ann Peeters", role="inspector")


class Drawn:
    """Pictures, without an object storage."""

    def __init__(self, files):
        self._files = files

    async def close(self):
        """Nothing is open."""

    async def photo(self, uri):
        """A photo."""
        return self._found(uri, transparent=False)

    async def heat_map(self, uri):
        """A heat map."""
        return self._found(uri, transparent=True)

    def _found(self, uri, *, transparent):
        data = self._files.get(uri.removeprefix(f"s3://{samples.PHOTOS}/"))
        return NoPhoto("photo_not_found") if data is None else reencoded(data, transparent=transparent)  # fmt: skip


def parts(url, *, settings=None, demo_user="Ann Peeters", files=None):
    """The console's parts without Kafka."""
    database = Database(url)
    return Parts(
        store=Store(database),
        actions=CaseActions(database, lambda name: f"pseudonym of {name}"),
        identity=Identity(settings or Settings(), host=LOOPBACK, demo_user=demo_user),
        tokens=Tokens(database),
        pictures=Drawn(samples.pictures() if files is None else files),
        zone=ZoneInfo("Europe/Brussels"),
        hosts=(LOOPBACK, "testserver"),
        on_decision=lambda: None,
        problem=lambda: "",
        ready=lambda: True,
        cut_off=lambda: False,
        stopping=Stopping(),
    )


@contextlib.contextmanager
def serving(console, port):
    """Serve in a thread."""
    config = uvicorn.Config(application(console), host=LOOPBACK, port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            threading.Event().wait(0.05)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        console.stopping.event.set()
        server.should_exit = True
        thread.join()


def fill(console):
    """Put the sample events into the store, and some work."""
    alerts = [samples.alert(place, name="26BEH7K4Q0000000A") for place in range(len(samples.GOODS))]
    missing = samples.without_photo(alerts[5])
    alerts[5] = samples.alert(5, name="26BEH7K4Q0000000A", degraded=(missing,))
    events = [*alerts, *map(samples.assessment, alerts), *map(samples.explanation, alerts[:2])]
    again = samples.alert(
        0,
        name="26BEH7K3P0000000A",
        lane="yellow",
        risk=0.41,
        acceptance_time=samples.AT.replace(day=1),
    )
    ingest(console.store.database, [*events, again], {})
    ids = [case_id_of(alert.declaration_id, alert.declaration_version) for alert in alerts]
    bram = User(id="bram", name="Bram Claes", role="inspector")
    console.actions.assign(ids[2], ANN)
    console.actions.assign(ids[3], bram)
    console.actions.assign(ids[0], ANN)
    console.actions.note(
        ids[0], ANN, "Photo shows a whole shoe, not parts. Goods held at the depot."
    )
    return ids  # fmt: skip


async def shoot(url, ids, target):
    """Take the pictures."""
    async with browser(chromium()) as tab:
        page = await tab()
        await page.size(1280, 860)
        await page.open(f"{url}/?language=en")
        await page.until("document.querySelectorAll('tr.case').length > 5")
        await page.press("j")
        await page.picture(target / "queue.png")
        await page.size(1280, 1680)
        await page.open(f"{url}/alerts/{ids[0]}")
        await loaded(page)
        await page.click(".heat-toggle")
        await page.press("i")
        await asyncio.sleep(0.3)
        await page.do("document.activeElement.blur(), scrollTo(0, 0)")
        await page.picture(target / "alert.png")
        await page.size(820, 1180)
        await page.open(f"{url}/alerts/{ids[5]}?language=nl")
        await loaded(page)
        await page.picture(target / "tablet.png")
        assert not page.errors, page.errors


async def loaded(page):
    """Wait for the page's pictures."""
    await page.do("[...document.images].forEach((i) => (i.loading = 'eager'))")
    await page.until("[...document.images].every((i) => i.complete)")
    await asyncio.sleep(0.3)


def shrink(path):
    """Write a picture with a palette: without visible loss in text and plain areas."""
    few = Image.open(path).convert("RGB").quantize(256, kmeans=4, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def main():
    """Take all pictures into docs/console/."""
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="redlane-shots-") as folder:
        console = parts(f"sqlite:///{folder}/console.db")
        ids = fill(console)
        with serving(console, free_port()) as url:
            asyncio.run(shoot(url, ids, TARGET))
    for path in sorted(TARGET.glob("*.png")):
        shrink(path)
        print(path.name, path.stat().st_size // 1000, "kB", file=sys.stderr)


if __name__ == "__main__":
    main()
