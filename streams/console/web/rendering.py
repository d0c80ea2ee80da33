"""A template and what it shows → the answer with the page."""

import math
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.hs.nomenclature import LANGUAGES
from streams.console.state.actions import KINDS
from streams.console.state.users import User
from streams.console.web.requests import COOKIE
from streams.console.web.translations import LANGUAGE_NAMES, Language

TEMPLATES: Final = Path(__file__).parent / "templates"
SNOOZES: Final = (1, 4, 24, 72)
"""For how long a case may be put off. Unit: hours."""
YEAR_S: Final = 31_536_000


def templates() -> Environment:
    """Return the templates, with what all of them use."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # goods text comes from outside
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "language_names": LANGUAGE_NAMES,
        "probability": lambda log_odds: 1 / (1 + math.exp(-log_odds)),
        "snoozes": SNOOZES,
        "kinds": KINDS,
    }
    return environment


def rendered(
    request: Request,
    template: str,
    lang: Language,
    user: User | None,
    *,
    status: int = 200,
    **variables: Any,
) -> Response:
    """Return a page, and a cookie where the address chooses a language.

    Args:
        request: that is answered.
        template: name of its file.
        lang: the page's language.
        user: who looks; None if not identified.
        status: of HTTP.
        variables: of the template, besides those of every page.
    """

    def language_query(code: str) -> str:
        return urlencode({**request.query_params, "language": code})

    always = {"l": lang, "user": user, "language_query": language_query, "problem": ""}
    page = request.app.state.templates.get_template(template).render(always | variables)
    response = HTMLResponse(page, status, headers={"Content-Language": lang.code})
    if request.query_params.get("language") in LANGUAGES:
        response.set_cookie(COOKIE, lang.code, max_age=YEAR_S, httponly=True, samesite="lax")
    return response
