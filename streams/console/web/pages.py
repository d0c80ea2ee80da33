"""The console's parts → the ASGI application: every page, the probes, and what goes wrong."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from models.hs.nomenclature import LANGUAGES
from streams.console.state.actions import Conflict, Refused
from streams.console.web import case_routes, picture_routes, queue_routes
from streams.console.web.rendering import rendered, templates
from streams.console.web.requests import Parts, PartsDep, language_of
from streams.console.web.security import Guard
from streams.console.web.translations import translations

STATIC: Final = Path(__file__).parent / "static"
STATUS: Final = {"no_case": 404, "not_allowed": 403, "not_known": 401, "token_wrong": 403}
"""HTTP status of a refusal; else 409 of a conflict and 400 of any other."""
NO_PAGE: Final = (404, 405)
"""HTTP status of an unknown address, and of a method that an address does not have."""

probes: Final = APIRouter()


def application(parts: Parts) -> ASGIApp:
    """Return the console as an ASGI application."""
    for language in LANGUAGES:
        translations(language)  # a catalogue that cannot be read should fail here, not on a page

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await parts.pictures.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.parts = parts
    app.state.templates = templates()
    app.mount("/static", StaticFiles(directory=STATIC))
    for router in (queue_routes.router, case_routes.router, picture_routes.router, probes):
        app.include_router(router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(RequestValidationError, _not_served)
    app.add_exception_handler(Exception, _failed)
    return Guard(app, hosts=parts.hosts)  # outermost, so that it sees every answer


@probes.get("/livez")
def livez(parts: PartsDep) -> Response:
    """Answer 200 while topics are read and decisions sent."""
    problem = parts.problem()
    return Response(f"{problem or 'live'}\n", 503 if problem else 200, media_type="text/plain")


@probes.get("/readyz")
def readyz(parts: PartsDep) -> Response:
    """Answer 200 when topics are read."""
    ready = parts.ready()
    text = "ready\n" if ready else "No partition is assigned yet.\n"
    return Response(text, 200 if ready else 503, media_type="text/plain")


async def _refused(request: Request, error: Exception) -> Response:
    """Say why an act is refused."""
    assert isinstance(error, Refused)  # noqa: S101 - registered for it
    status = 409 if isinstance(error, Conflict) else STATUS.get(error.key, 400)
    return _problem_page(request, status, error.key, error.words)


async def _not_served(request: Request, error: Exception) -> Response:
    """Answer an unknown address or method, or a form that cannot be read."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    response = _problem_page(request, status, "no_page" if status in NO_PAGE else "unreadable", {})
    if isinstance(error, HTTPException):
        response.headers.update(error.headers or {})
    return response


async def _failed(request: Request, _: Exception) -> Response:
    """Answer where our own code failed; the server logs the error."""
    return _problem_page(request, 500, "broken", {})


def _problem_page(request: Request, status: int, key: str, words: Mapping[str, str]) -> Response:
    lang = language_of(request)
    problem = lang.t(key, **words)
    return rendered(request, "problem.html", lang, None, status=status, problem=problem)
