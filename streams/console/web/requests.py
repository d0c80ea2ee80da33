"""A request → who asks, in which language, for which queue, and whether they may act."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from fastapi import Depends, Request
from starlette.datastructures import FormData

from models.hs.nomenclature import LANGUAGES
from streams.console.state.actions import CaseActions, Refused
from streams.console.state.queries import Filter, Store
from streams.console.state.users import User
from streams.console.web.csrf import Tokens
from streams.console.web.event_stream import Stopping
from streams.console.web.identity import Identity, Untrusted
from streams.console.web.pictures import Pictures
from streams.console.web.translations import Language, preferred_language

COOKIE: Final = "redlane_language"
FILTERS: Final = tuple(field.name for field in fields(Filter) if field.name != "user")
"""Names in an address, for what a queue may be filtered and sorted by."""
MAX_FILTER: Final = 100
MAX_FIELDS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the pages need; the composition root brings it."""

    store: Store
    actions: CaseActions
    identity: Identity
    tokens: Tokens
    pictures: Pictures
    zone: ZoneInfo
    hosts: tuple[str, ...]
    on_decision: Callable[[], None]
    """Called when a decision waits to be published."""
    problem: Callable[[], str]
    """Returns what only a restart repairs; empty where nothing is wrong."""
    ready: Callable[[], bool]
    cut_off: Callable[[], bool]
    """Returns whether no broker answers."""
    stopping: Stopping


def parts_of(request: Request) -> Parts:
    """Return the parts of the application that serves a request."""
    parts: Parts = request.app.state.parts
    return parts


def language_of(request: Request) -> Language:
    """Return the language chosen by address or cookie, else the browser's."""
    asked = request.query_params.get("language") or request.cookies.get(COOKIE, "")
    accepted = request.headers.get("accept-language", "")
    code = asked if asked in LANGUAGES else preferred_language(accepted)
    return Language(code, parts_of(request).zone)


def user_of(request: Request) -> User:
    """Return who asks.

    Raises:
        Refused: nobody whom the proxy names, or somebody who may not look at cases.
    """
    address = request.client.host if request.client else ""
    try:
        user = parts_of(request).identity.user(request.headers, address)
    except Untrusted as error:
        raise Refused("not_known") from error
    if not user.looks:
        raise Refused("not_allowed")
    return user


PartsDep = Annotated[Parts, Depends(parts_of)]
UserDep = Annotated[User, Depends(user_of)]
LanguageDep = Annotated[Language, Depends(language_of)]


@dataclass(frozen=True, slots=True)
class Submission:
    """A form that somebody who may act has sent from our own page."""

    user: User
    form: FormData


async def submission_of(request: Request, parts: PartsDep, user: UserDep) -> Submission:
    """Return the form of a request.

    Raises:
        Refused: it is not from our own page, or the user may not act on cases.
    """
    same_site = request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
    if not same_site or not _is_from_own_page(request):
        raise Refused("token_wrong")
    form = await request.form(max_files=0, max_fields=MAX_FIELDS)
    if not parts.tokens.holds(user, str(form.get("token", ""))):
        raise Refused("token_wrong")
    if not user.inspects:
        raise Refused("not_allowed")
    return Submission(user, form)


def _is_from_own_page(request: Request) -> bool:
    origin = request.headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:  # no address at all
        return False


SubmissionDep = Annotated[Submission, Depends(submission_of)]


def filter_of(request: Request, user: User) -> Filter:
    """Return the queue that an address asks for."""
    given = {name: request.query_params.get(name, "")[:MAX_FILTER] for name in FILTERS}
    return Filter(user=user.id, **{name: value for name, value in given.items() if value})


def query_of(queue_filter: Filter) -> dict[str, str]:
    """Return what an address says to ask for a queue: the reverse of `filter_of`."""
    values = {name: getattr(queue_filter, name) for name in FILTERS}
    return {name: value for name, value in values.items() if value}
