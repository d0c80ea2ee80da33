"""Requests → one alert's page; forms → what inspectors do with its case."""

from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup
from starlette.datastructures import FormData

from schemas.records import Finding
from schemas.rules import bare_code
from streams.console.state.actions import Refused, amount
from streams.console.web.rendering import SNOOZES, rendered
from streams.console.web.requests import LanguageDep, PartsDep, SubmissionDep, UserDep
from streams.console.web.translations import Language
from streams.console.web.view import Page, page

SUGGESTIONS: Final = 8
"""Most codes that a page suggests to establish."""

router: Final = APIRouter(prefix="/alerts/{case_id}")


@router.get("")
def alert(
    request: Request, parts: PartsDep, case_id: str, user: UserDep, lang: LanguageDep
) -> Response:
    """Show one alert."""
    # Read before the rest: the stream then repeats what changes in between.
    change = parts.store.database.change()
    detail = parts.store.detail(case_id)
    if detail is None:
        raise Refused("no_case")
    content = page(detail, lang)
    token = parts.tokens.give(user)
    return rendered(
        request,
        "alert.html",
        lang,
        user,
        page=content,
        change=change,
        selection=_selection(content, lang),
        suggestions=_suggestions(content),
        unsent=parts.actions.unsent(case_id),
        csrf=Markup('<input type="hidden" name="token" value="{}">').format(token),
    )


@router.post("/assign")
def assign(parts: PartsDep, case_id: str, submission: SubmissionDep) -> Response:
    """Take a case."""
    parts.actions.assign(case_id, submission.user)
    return _back(case_id)


@router.post("/release")
def release(parts: PartsDep, case_id: str, submission: SubmissionDep) -> Response:
    """Give a case back."""
    parts.actions.release(case_id, submission.user)
    return _back(case_id)


@router.post("/snooze")
def snooze(parts: PartsDep, case_id: str, submission: SubmissionDep) -> Response:
    """Put a case off, or bring it back."""
    given = str(submission.form.get("hours", ""))
    hours = next((hours for hours in SNOOZES if given == str(hours)), 0)
    until = datetime.now(UTC) + timedelta(hours=hours) if hours else None
    parts.actions.snooze(case_id, submission.user, until)
    return _back(case_id)


@router.post("/note")
def note(parts: PartsDep, case_id: str, submission: SubmissionDep) -> Response:
    """Write a note."""
    parts.actions.note(case_id, submission.user, str(submission.form.get("text", "")))
    return _back(case_id)


@router.post("/decision")
def decide(parts: PartsDep, case_id: str, submission: SubmissionDep) -> Response:
    """Decide on a case."""
    form = submission.form
    result = str(form.get("result", ""))
    findings = _findings(form) if result == "irregular" else ()
    parts.actions.decide(case_id, submission.user, result, findings, str(form.get("note", "")))
    parts.on_decision()
    return _back(case_id)


@router.post("/reopen")
def reopen(parts: PartsDep, case_id: str, submission: SubmissionDep) -> Response:
    """Open a decided case again."""
    parts.actions.reopen(case_id, submission.user)
    return _back(case_id)


def _selection(content: Page, lang: Language) -> str:
    """Say why the declaration was selected; empty where that is not known."""
    selection = content.detail.alert.selection
    if selection is None and content.detail.assessment is not None:
        selection = content.detail.assessment.selection
    if selection is None or not lang.has(f"selection_{selection.basis}"):
        return ""
    return lang.t(f"selection_{selection.basis}", id=selection.profile_id)


def _suggestions(content: Page) -> list[str]:
    """Return codes that an inspector may establish."""
    likely = [code.code for item in content.items[:1] for code in item.codes if not code.declared]
    suggested = [item.alerted.suggested_hs6 for item in content.items]
    return list(dict.fromkeys((*filter(None, suggested), *likely)))[:SUGGESTIONS]


def _findings(form: FormData) -> tuple[Finding, ...]:
    columns = ("item", "kind", "code", "recovered")
    values = ([str(value) for value in form.getlist(name)] for name in columns)
    try:
        return tuple(
            Finding(
                sequence_number=int(item) if item.isdecimal() else -1,
                kind=kind,
                established_code=bare_code(code),
                revenue_recovered=amount(recovered),
            )
            for item, kind, code, recovered in zip(*values, strict=True)
        )
    except ValueError as error:
        raise Refused("finding_missing") from error


def _back(case_id: str) -> Response:
    return RedirectResponse(f"/alerts/{case_id}", 303)
