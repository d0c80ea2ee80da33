"""Requests → the queue, one alert, its pictures; and forms → what inspectors do."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode, urlsplit
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from models.hs.nomenclature import LANGUAGES
from schemas.records import Finding
from streams.console.state.actions import KINDS, CaseActions, Conflict, Refused, amount
from streams.console.state.queries import SHOWN, AlertCase, Filter, Store
from streams.console.state.users import User
from streams.console.web.csrf import Tokens
from streams.console.web.event_stream import Stopping, changes
from streams.console.web.identity import Identity, Untrusted
from streams.console.web.pictures import Pictures
from streams.console.web.security import Guard
from streams.console.web.translations import (
    LANGUAGE_NAMES,
    Language,
    preferred_language,
    translations,
)
from streams.console.web.view import SIGNALS, Page, page, photo_of
from streams.evidence.photos import NoPhoto

HERE: Final = Path(__file__).parent
SNOOZES: Final = (1, 4, 24, 72)
"""Hours."""
COOKIE: Final = "redlane_language"
YEAR_S: Final = 31_536_000
SUGGESTIONS: Final = 8
STATUS: Final = {"no_case": 404, "not_allowed": 403, "not_known": 401, "token_wrong": 403}
"""Of a refusal; else 400, and 409 where somebody was faster."""
MISSED: Final = (404, 405)
"""Of an address or a method that there is not."""
FILTERS: Final = tuple(one.name for one in fields(Filter) if one.name != "user")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the pages need; the composition root brings it."""

    store: Store
    work: CaseActions
    identity: Identity
    tokens: Tokens
    pictures: Pictures
    zone: ZoneInfo
    hosts: tuple[str, ...]
    sent: Callable[[], None]
    """Told that a decision waits."""
    healthy: Callable[[], str]
    """Returns what is wrong; empty where nothing is."""
    ready: Callable[[], bool]
    cut_off: Callable[[], bool]
    """Tells whether no broker answers."""
    stopping: Stopping


def application(parts: Parts) -> ASGIApp:
    """Return the console as an ASGI application."""
    for language in LANGUAGES:
        translations(language)  # a catalogue that cannot be read should fail here, not on a page
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.parts = parts
    app.state.templates = _templates()
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.include_router(router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _no_page)
    app.add_exception_handler(RequestValidationError, _no_page)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, hosts=parts.hosts)  # outside of all, so that it sees every answer


router: Final = APIRouter(default_response_class=HTMLResponse)


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def _language(request: Request) -> Language:
    asked = request.query_params.get("language") or request.cookies.get(COOKIE, "")
    code = (
        asked
        if asked in LANGUAGES
        else preferred_language(request.headers.get("accept-language", ""))
    )
    return Language(code, _parts(request).zone)


def _user(request: Request) -> User:
    """Return who asks; they may look."""
    address = request.client.host if request.client else ""
    try:
        user = _parts(request).identity.user(request.headers, address)
    except Untrusted as error:
        raise Refused("not_known") from error
    if not user.looks:
        raise Refused("not_allowed")
    return user


Here = Annotated[Parts, Depends(_parts)]
Who = Annotated[User, Depends(_user)]
Tongue = Annotated[Language, Depends(_language)]


@dataclass(frozen=True, slots=True)
class Act:
    """A form that somebody who may act has sent from our own page."""

    user: User
    form: FormData


async def _act(request: Request, parts: Here, user: Who) -> Act:
    origin = request.headers.get("origin")
    same = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not same or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Refused("token_wrong")
    form = await request.form(max_files=0, max_fields=500)
    if not parts.tokens.holds(user, str(form.get("token", ""))):
        raise Refused("token_wrong")
    if not user.inspects:
        raise Refused("not_allowed")
    return Act(user, form)


Acting = Annotated[Act, Depends(_act)]


@router.get("/")
def queue(request: Request, parts: Here, user: Who, lang: Tongue) -> Response:
    """Show the queue."""
    wanted = _filter(request, user)
    return _rendered(
        request,
        "queue.html",
        lang,
        user,
        queue=parts.store.queue(wanted),
        wanted=wanted,
        offices=parts.store.offices(),
        signals=SIGNALS,
        most=SHOWN,
        live_query=urlencode(_kept(wanted)),
        view_query=lambda view: urlencode(_kept(wanted) | {"view": view}),
    )


@router.get("/live")
async def live(request: Request, parts: Here, user: Who, lang: Tongue) -> Response:
    """Send changes as they come, from the last one that the browser has."""
    asked = request.query_params
    last = request.headers.get("last-event-id", "") or asked.get("after", "")
    wanted = _filter(request, user)
    row = request.app.state.templates.get_template("row.html")

    def drawn(one: AlertCase) -> str:
        return str(row.make_module({"l": lang, "user": user, "wanted": wanted}).row(one))

    stream = changes(
        parts.store,
        wanted,
        after=int(last[:18]) if last.isdecimal() else 0,
        case_id=asked.get("case", ""),
        drawn=drawn,
        cut_off=parts.cut_off,
        stopping=parts.stopping,
    )
    return StreamingResponse(
        stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


@router.get("/alerts/{case_id}")
def alert(request: Request, case_id: str, user: Who, lang: Tongue) -> Response:
    """Show one alert."""
    return _alert_page(request, case_id, user, lang)


@router.get("/alerts/{case_id}/items/{number}/photos/{place}")
async def photo(parts: Here, _: Who, case_id: str, number: int, place: int) -> Response:
    """Send a declared photo."""
    found = await asyncio.to_thread(parts.store.alert, case_id)
    items = found.items if found else ()
    uris = next((one.images for one in items if one.sequence_number == number), ())
    return await _picture(uris, place, parts.pictures.photo, "image/jpeg")


@router.get("/alerts/{case_id}/items/{number}/heat-maps/{place}")
async def heat_map(parts: Here, _: Who, case_id: str, number: int, place: int) -> Response:
    """Send a photo's heat map."""
    found = await asyncio.to_thread(parts.store.explanation, case_id)
    items = found.items if found else ()
    uris = next((one.heat_maps for one in items if one.sequence_number == number), ())
    return await _picture(uris, place, parts.pictures.heat_map, "image/png")


@router.get("/alerts/{case_id}/items/{number}/similar/{place}")
async def similar(parts: Here, _: Who, case_id: str, number: int, place: int) -> Response:
    """Send the photo of similar goods."""
    found = await asyncio.to_thread(parts.store.explanation, case_id)
    items = found.items if found else ()
    goods = next((one.similar_goods for one in items if one.sequence_number == number), ())
    uris = tuple(photo_of(one) for one in goods)
    return await _picture(uris, place, parts.pictures.photo, "image/jpeg")


@router.post("/alerts/{case_id}/assign")
def assign(parts: Here, case_id: str, act: Acting) -> Response:
    """Take a case."""
    parts.work.assign(case_id, act.user)
    return _back(case_id)


@router.post("/alerts/{case_id}/release")
def release(parts: Here, case_id: str, act: Acting) -> Response:
    """Give a case back."""
    parts.work.release(case_id, act.user)
    return _back(case_id)


@router.post("/alerts/{case_id}/snooze")
def snooze(parts: Here, case_id: str, act: Acting) -> Response:
    """Put a case off, or bring it back."""
    given = str(act.form.get("hours", ""))
    hours = int(given) if given.isdecimal() and int(given) in SNOOZES else 0
    until = datetime.now(UTC) + timedelta(hours=hours) if hours else None
    parts.work.snooze(case_id, act.user, until)
    return _back(case_id)


@router.post("/alerts/{case_id}/note")
def note(parts: Here, case_id: str, act: Acting) -> Response:
    """Note something."""
    parts.work.note(case_id, act.user, str(act.form.get("text", "")))
    return _back(case_id)


@router.post("/alerts/{case_id}/decision")
def decide(parts: Here, case_id: str, act: Acting) -> Response:
    """Decide."""
    result = str(act.form.get("result", ""))
    findings = _findings(act.form) if result == "irregular" else ()
    text = str(act.form.get("note", ""))
    parts.work.decide(case_id, act.user, result, findings, text)
    parts.sent()
    return _back(case_id)


@router.post("/alerts/{case_id}/reopen")
def reopen(parts: Here, case_id: str, act: Acting) -> Response:
    """Open a decided case again."""
    parts.work.reopen(case_id, act.user)
    return _back(case_id)


@router.get("/livez")
def livez(parts: Here) -> Response:
    """Answer 200 while topics are read and decisions sent."""
    wrong = parts.healthy()
    return Response(f"{wrong or 'live'}\n", 503 if wrong else 200, media_type="text/plain")


@router.get("/readyz")
def readyz(parts: Here) -> Response:
    """Answer 200 when topics are read."""
    ready = parts.ready()
    text = "ready\n" if ready else "No partition is assigned yet.\n"
    return Response(text, 200 if ready else 503, media_type="text/plain")


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,  # goods text comes from outside
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "names": LANGUAGE_NAMES,
        "odds": lambda weight: 1 / (1 + math.exp(-weight)),
        "snoozes": SNOOZES,
        "kinds": KINDS,
    }
    return environment


def _rendered(
    request: Request,
    name: str,
    lang: Language,
    user: User | None,
    *,
    status: int = 200,
    **more: Any,
) -> Response:
    def language_query(code: str) -> str:
        return urlencode({**request.query_params, "language": code})

    given = {"l": lang, "user": user, "language_query": language_query, "problem": ""} | more
    text = request.app.state.templates.get_template(name).render(given)
    answer = HTMLResponse(text, status, headers={"Content-Language": lang.code})
    if request.query_params.get("language") in LANGUAGES:
        answer.set_cookie(COOKIE, lang.code, max_age=YEAR_S, httponly=True, samesite="lax")
    return answer


def _alert_page(request: Request, case_id: str, user: User, lang: Language) -> Response:
    parts = _parts(request)
    change = parts.store.database.change()  # before the rest: what changes between is told again
    detail = parts.store.detail(case_id)
    if detail is None:
        raise Refused("no_case")
    shown = page(detail, lang)
    token = parts.tokens.give(user)
    return _rendered(
        request,
        "alert.html",
        lang,
        user,
        page=shown,
        change=change,
        selection=_selection(shown, lang),
        suggestions=_suggestions(shown),
        unsent=parts.work.unsent(case_id),
        csrf=Markup('<input type="hidden" name="token" value="{}">').format(token),
    )


def _selection(shown: Page, lang: Language) -> str:
    found = shown.detail.alert.selection
    if found is None and shown.detail.assessment is not None:
        found = shown.detail.assessment.selection
    if found is None or not lang.has(f"selection_{found.basis}"):
        return ""
    return lang.t(f"selection_{found.basis}", id=found.profile_id)


def _suggestions(shown: Page) -> list[str]:
    """Return codes that an inspector may establish."""
    codes = [code.code for item in shown.items[:1] for code in item.codes if not code.declared]
    suggested = [item.alerted.suggested_hs6 for item in shown.items if item.alerted.suggested_hs6]
    return list(dict.fromkeys((*suggested, *codes)))[:SUGGESTIONS]


def _findings(form: FormData) -> tuple[Finding, ...]:
    columns = [[str(v) for v in form.getlist(name)] for name in ("item", "kind", "code")]
    recovered = [str(v) for v in form.getlist("recovered")]
    try:
        return tuple(
            Finding(
                sequence_number=int(item) if item.isdecimal() else -1,
                kind=kind,
                established_code=code.strip(),
                revenue_recovered=amount(revenue),
            )
            for item, kind, code, revenue in zip(*columns, recovered, strict=True)
        )
    except ValueError as error:
        raise Refused("finding_missing") from error


def _filter(request: Request, user: User) -> Filter:
    given = {name: request.query_params.get(name, "")[:100] for name in FILTERS}
    return Filter(user=user.id, **{name: value for name, value in given.items() if value})


def _kept(wanted: Filter) -> dict[str, str]:
    return {name: getattr(wanted, name) for name in FILTERS if getattr(wanted, name)}


async def _picture(
    uris: tuple[str, ...],
    place: int,
    fetch: Callable[[str], Awaitable[bytes | NoPhoto]],
    media_type: str,
) -> Response:
    """Send the picture at a place of an event's own list: no reference comes from the browser."""
    if not 0 <= place < len(uris) or not uris[place]:
        return Response("No such picture.\n", 404, media_type="text/plain")
    found = await fetch(uris[place])
    if isinstance(found, NoPhoto):
        return Response(f"{found.reason}\n", 404, media_type="text/plain")
    headers: Mapping[str, str] = {"Cache-Control": "private, max-age=3600"}
    return Response(found, media_type=media_type, headers=headers)


def _back(case_id: str) -> Response:
    return RedirectResponse(f"/alerts/{case_id}", 303)


async def _refused(request: Request, error: Exception) -> Response:
    """Say why not, and leave the page as it is."""
    assert isinstance(error, Refused)  # noqa: S101 - registered for it
    status = 409 if isinstance(error, Conflict) else STATUS.get(error.key, 400)
    return _sorry(request, status, error.key, error.words)


async def _no_page(request: Request, error: Exception) -> Response:
    """Answer an address or a method that there is not, or a form that cannot be read."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    answer = _sorry(request, status, "no_page" if status in MISSED else "unreadable", {})
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    return answer


async def _broken(request: Request, _: Exception) -> Response:
    """Answer where our own code failed; the server logs the error."""
    return _sorry(request, 500, "broken", {})


def _sorry(request: Request, status: int, key: str, words: Mapping[str, str]) -> Response:
    lang = _language(request)
    problem = lang.t(key, **words)
    return _rendered(request, "problem.html", lang, None, status=status, problem=problem)
