"""The live stream: it goes on after what a browser has seen, and says when nothing new arrives."""

import re

from streams.console.state.ingest import ingest
from streams.console.state.queries import Filter
from streams.console.web.event_stream import changes
from tests.streams.console import samples


async def test_the_stream_goes_on_after_what_was_seen(console):
    """A change of many cases has its number with the last of them only: cut off, all come again."""
    ingest(console.store.database, [samples.alert(place) for place in range(3)], {})
    before = console.store.database.change()
    ingest(console.store.database, [samples.alert(place, name="NEW") for place in range(3)], {})
    stream = changes(
        console.store,
        Filter(lane="red"),
        after=before,
        case_id="",
        render_row=lambda case: case.declaration_id,
        cut_off=lambda: False,
        stopping=console.stopping,
    )
    events = [(await anext(stream)).decode() for _ in range(6)]
    await stream.aclose()
    assert events.pop(0).startswith(": live")
    assert events[0].startswith("event: cut-off\ndata: false")
    assert ["id: " in event for event in events[1:]] == [False, False, True, False]
    assert [re.search(r'"html": (\S+)}', event)[1] for event in events[1:4]] == ['"NEW00"', "null", '"NEW02"']  # fmt: skip
    assert f"id: {before + 1}" in events[3]
    assert events[4].startswith("event: counts")


async def test_the_stream_says_when_the_console_is_cut_off(console):
    """A queue that stands still would look calm."""
    away = True
    stream = changes(
        console.store,
        Filter(),
        after=0,
        case_id="",
        render_row=str,
        cut_off=lambda: away,
        stopping=console.stopping,
    )
    events = [(await anext(stream)).decode() for _ in range(3)]
    away = False
    events.append((await anext(stream)).decode())
    await stream.aclose()
    assert [event.partition("\nid")[0].strip() for event in events if "cut-off" in event] == [
        "event: cut-off\ndata: true",
        "event: cut-off\ndata: false",
    ]
