"""Changes of the store → server-sent events, from the change that a browser saw last.

The id of an event is the number of the last change that the browser has seen with it. A change of
many cases carries its number only with the last of them: a browser that loses its connection in
between gets all of them again, and a repeated row replaces itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from fastapi.sse import format_sse_event

from streams.console.state.queries import AlertCase, Filter, Store

POLL_S: Final = 0.25
"""Between queries of the database: replicas share no memory."""
PING_S: Final = 15.0
"""Proxies close silent connections."""
RETRY_MS: Final = 1000
LIMIT: Final = 100
"""Most cases of a query, unless a single change has more."""


@dataclass(slots=True)
class Stopping:
    """Ends the streams when the server stops, which would wait for them otherwise."""

    event: asyncio.Event = field(default_factory=asyncio.Event)


async def changes(
    store: Store,
    queue_filter: Filter,
    *,
    after: int,
    case_id: str,
    render_row: Callable[[AlertCase], str],
    cut_off: Callable[[], bool],
    stopping: Stopping,
) -> AsyncIterator[bytes]:
    """Yield events until the server stops.

    `case` carries a row, or null if the case left the queue; `counts` the number of cases in each
    view; `cut-off` whether the console itself is cut off from the broker.

    Args:
        store: whose changes are sent.
        queue_filter: the queue that the browser shows.
        after: the last change that the browser has seen.
        case_id: the only case to follow; empty for the whole queue.
        render_row: returns a row's HTML.
        cut_off: returns whether no broker answers.
        stopping: ends the stream.
    """
    yield format_sse_event(comment="live", retry=RETRY_MS)
    if after > await asyncio.to_thread(store.database.change):
        after = 0  # the browser knows another database, which was lost: send everything
    silent_s, first = 0.0, True
    shown: bool | None = None  # unknown: an earlier stream may have sent either
    while not stopping.event.is_set():
        if (now := cut_off()) != shown:
            shown = now
            yield format_sse_event(event="cut-off", data_str=json.dumps(now))
        cases = await asyncio.to_thread(store.changes, after, case_id, LIMIT)
        for number, case in enumerate(cases, 1):
            last = number == len(cases) or cases[number].changed != case.changed
            html = render_row(case) if queue_filter.keeps(case) else None
            yield format_sse_event(
                event="case",
                data_str=json.dumps({"id": case.id, "html": html}),
                id=str(case.changed) if last else None,
            )
        if cases or first:  # a browser that comes back may lack the last counts
            after, silent_s, first = cases[-1].changed if cases else after, 0.0, False
            counts = await asyncio.to_thread(store.counts, queue_filter)
            yield format_sse_event(event="counts", data_str=json.dumps(counts))
            continue
        try:
            await asyncio.wait_for(stopping.event.wait(), POLL_S)
        except TimeoutError:
            silent_s += POLL_S
        if silent_s >= PING_S:
            silent_s = 0.0
            yield format_sse_event(comment="ping")
