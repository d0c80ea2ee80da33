"""Changes of the store → server-sent events, from the change that a browser saw last.

The id of an event is the number of the last change that the browser has with it. A change of many
cases gives its number only with the last of them: whoever is cut off in between gets all of them
again, and a row that comes again takes its own place.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from fastapi.sse import format_sse_event

from streams.console.state.queries import AlertCase, Filter, Store

LOOK_S: Final = 0.25
"""Between looks at the database: replicas share no memory."""
PING_S: Final = 15.0
"""Proxies close what is silent."""
RETRY_MS: Final = 1000
LIMIT: Final = 100


@dataclass(slots=True)
class Stopping:
    """Tells streams that the server ends: it would wait for them."""

    event: asyncio.Event = field(default_factory=asyncio.Event)


async def changes(
    store: Store,
    wanted: Filter,
    *,
    after: int,
    case_id: str,
    drawn: Callable[[AlertCase], str],
    cut_off: Callable[[], bool],
    stopping: Stopping,
) -> AsyncIterator[bytes]:
    """Yield events for ever.

    `case` has a row, or null where it left the queue; `counts` how many there are; `cut-off`
    whether the console itself hears nothing new.

    Args:
        store: that is followed.
        wanted: the queue.
        after: the last change that the browser has.
        case_id: only of this case; empty for the whole queue.
        drawn: gives a row's HTML.
        cut_off: tells whether no broker answers.
        stopping: ends the stream.
    """
    yield format_sse_event(comment="live", retry=RETRY_MS)
    if after > await asyncio.to_thread(store.database.change):
        after = 0  # of another database, which was lost: all is new
    silent, first = 0.0, True
    told: bool | None = None  # the browser may know it otherwise, of another stream
    while not stopping.event.is_set():
        if (now := cut_off()) != told:
            told = now
            yield format_sse_event(event="cut-off", data_str=json.dumps(told))
        cases = await asyncio.to_thread(store.changes, after, case_id, LIMIT)
        for place, case in enumerate(cases):
            last = place + 1 == len(cases) or cases[place + 1].changed != case.changed
            html = drawn(case) if wanted.keeps(case) else None
            yield format_sse_event(
                event="case",
                data_str=json.dumps({"id": case.id, "html": html}),
                id=str(case.changed) if last else None,
            )
        if cases or first:  # whoever was cut off may lack the last counts
            after, silent, first = cases[-1].changed if cases else after, 0.0, False
            counts = await asyncio.to_thread(store.counts, wanted)
            yield format_sse_event(event="counts", data_str=json.dumps(counts))
            continue
        try:
            await asyncio.wait_for(stopping.event.wait(), LOOK_S)
        except TimeoutError:
            silent += LOOK_S
        if silent >= PING_S:
            silent = 0.0
            yield format_sse_event(comment="ping")
