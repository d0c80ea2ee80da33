"""Requests → the queue, and its changes as they come."""

from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from streams.console.state.queries import SHOWN, AlertCase
from streams.console.web.event_stream import changes
from streams.console.web.rendering import rendered
from streams.console.web.requests import LanguageDep, PartsDep, UserDep, filter_of, query_of
from streams.console.web.view import SIGNALS

MAX_CHANGE_DIGITS: Final = 18
"""Of a change's number: what the database's integers hold."""

router: Final = APIRouter()


@router.get("/")
def queue(request: Request, parts: PartsDep, user: UserDep, lang: LanguageDep) -> Response:
    """Show the queue."""
    queue_filter = filter_of(request, user)
    query = query_of(queue_filter)
    return rendered(
        request,
        "queue.html",
        lang,
        user,
        queue=parts.store.queue(queue_filter),
        queue_filter=queue_filter,
        offices=parts.store.offices(),
        signals=SIGNALS,
        most=SHOWN,
        live_query=urlencode(query),
        view_query=lambda view: urlencode(query | {"view": view}),
    )


@router.get("/live")
async def live(request: Request, parts: PartsDep, user: UserDep, lang: LanguageDep) -> Response:
    """Send changes as they come, from the last that the browser has seen."""
    asked = request.query_params
    last = request.headers.get("last-event-id", "") or asked.get("after", "")
    queue_filter = filter_of(request, user)
    template = request.app.state.templates.get_template("row.html")

    def render_row(case: AlertCase) -> str:
        module = template.make_module({"l": lang, "user": user, "queue_filter": queue_filter})
        return str(module.row(case))

    events = changes(
        parts.store,
        queue_filter,
        after=int(last[:MAX_CHANGE_DIGITS]) if last.isdecimal() else 0,
        case_id=asked.get("case", ""),
        render_row=render_row,
        cut_off=parts.cut_off,
        stopping=parts.stopping,
    )
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )
