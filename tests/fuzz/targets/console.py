"""The console: events of any content, then its pages, forms and the proxy's headers."""

import logging
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote

from fastapi.testclient import TestClient

from schemas import codec, rules
from schemas.codec import Undecodable
from schemas.records import Alert, AlertItem, Assessment, Explanation, InspectionOutcome
from streams.console.state.ingest import case_id_of, ingest
from streams.console.state.queries import Filter
from streams.console.web.identity import Identity, Untrusted
from streams.console.web.pages import application
from streams.console.web.requests import FILTERS
from streams.settings import Settings
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import target, watch
from tests.fuzz.targets.stages import finite
from tests.streams.console import samples, screenshots

KINDS = (Alert, Assessment, Explanation, InspectionOutcome)
WRITERS = {1: codec.schema("alert"), 2: codec.schema("assessment"), 3: codec.schema("explanation"), 4: codec.schema("inspection-outcome")}  # fmt: skip
STATUSES = ("200", "204", "303", "307", "400", "403", "404", "405", "409", "413", "421", "422")
FIELDS = (
    "token",
    "result",
    "item",
    "kind",
    "code",
    "recovered",
    "note",
    "text",
    "hours",
    "unknown",
)
WORDS = (
    "irregular", "conforming", "1", "misclassification", "undervaluation", "640411", "6404.11 00", "13,89", "1.234", "€ 5", "4", "24",
    "9" * 5000, "٣", "²", "1e400", "-0", "NaN", "Infinity", "0x1", "\0", "\ud83d", "a\0b", "99999999999999999999",
)  # fmt: skip
ACTS = ("assign", "release", "snooze", "note", "decision", "reopen", "", "x")


@cache
def files():
    """Pictures of the samples, made once."""
    return samples.pictures()


@cache
def folder():
    """Where databases lie."""
    logging.getLogger("httpx").setLevel(logging.ERROR)
    return Path(tempfile.mkdtemp())


def event(choices: Choices, kind, alert):
    """An event of the case, decoded as the console does."""
    if kind is Alert and not choices.one_in(2):
        made = alert
    else:
        made = replace(finite(mutations.record(choices, kind)), declaration_id=alert.declaration_id, declaration_version=alert.declaration_version)  # fmt: skip
    number = KINDS.index(kind) + 1
    value = (
        mutations.wire(choices, kind, made, number)
        if choices.one_in(6)
        else codec.encode(made, number)
    )
    read = codec.decode(value, kind, WRITERS, 4 << 20)
    if isinstance(read, InspectionOutcome):
        rules.check_outcome(read, read.declaration_id.encode())
    return read


@target("console", *STATUSES, "stored", weight=0.5)
def console(choices: Choices) -> list[str]:
    """One case from its events, and what a browser may ask of it."""
    database = folder() / "case.db"
    for each in folder().glob("case.db*"):
        each.unlink()
    active, watch().active = (
        watch().active,
        False,
    )  # asyncio connects two ends of a socket of its own
    parts = screenshots.parts(f"sqlite:///{database}", files=files())
    watch().active = active
    ends = []
    try:
        alert = samples.alert(
            declaration_id=mutations.text(choices, most=2000),
            acceptance_time=mutations.moment(choices),
        )
        if choices.one_in(2):
            alert = replace(
                finite(mutations.record(choices, Alert, long_lists=60)), declaration_version=1
            )
            alert = alert if alert.items else replace(alert, items=(AlertItem(),))
        events = [alert]
        for kind in (choices.pick(KINDS) for _ in range(choices.below(5))):
            try:
                events.append(event(choices, kind, alert))
            except Undecodable as bad:
                ends.append(bad.reason)
        ingest(parts.store.database, events, {("alerts", 0): 1})
        ends.append("stored")
        browser = TestClient(application(parts), follow_redirects=False)
        case = case_id_of(alert.declaration_id, alert.declaration_version)
        ends += [
            str(ask(choices, browser, case, parts).status_code) for _ in range(1 + choices.below(5))
        ]
        parts.store.queue(
            Filter(user="u", **{name: mutations.text(choices, most=200) for name in FILTERS})
        )
    finally:
        parts.store.database.close()
    return ends


def ask(choices: Choices, browser: TestClient, case: str, parts):
    """A request of a browser, or of somebody else."""
    language = choices.pick(("en", "de", "fr", "nl", "xx"))
    path = f"/alerts/{quote(choices.pick((case, case, case, mutations.text(choices, most=300)))) or 'x'}"
    if choices.one_in(2):
        query = {name: mutations.text(choices, most=300) for name in FILTERS if choices.one_in(3)}
        where = choices.pick((path, "/", f"{path}/items/{choices.pick(WORDS[:20])}/photos/0", f"{path}/items/1/heat-maps/{choices.pick(('0', '-1', '9' * 30))}"))  # fmt: skip
        headers = {
            "accept-language": choices.pick(("de;q=0.5, fr", "x" * 5000, ";;;q=nan", "fr;q=1e400"))
        }
        return browser.get(where, params=query | {"language": language}, headers=headers)
    token = parts.tokens.give(screenshots.ANN)
    form = {"token": token if not choices.one_in(12) else mutations.text(choices, most=300)}
    for name in FIELDS[1:]:
        if choices.one_in(2):
            form[name] = [_field(choices) for _ in range(1 + choices.below(3))]
    act = choices.pick(ACTS)
    if choices.one_in(12):
        content = mutations.damaged(choices, b"token=" + token.encode() + b"&text=%ff%00&hours=4")
        kind = choices.pick(
            (
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "multipart/form-data",
                "text/plain",
            )
        )
        return browser.post(f"{path}/{act}", content=content, headers={"Content-Type": kind})
    return browser.post(f"{path}/{act}", data=form, headers={"origin": choices.pick(("http://testserver", "http://testserver", "null", "http://["))})  # fmt: skip


def _field(choices: Choices) -> str:
    word = choices.pick(WORDS) if not choices.one_in(3) else mutations.text(choices, most=3000)
    return word.encode(errors="replace").decode()


@target("identity", "known", "unknown", weight=6)
def identity(choices: Choices) -> str:
    """Headers of the OIDC proxy, or of somebody who pretends to be it."""
    settings = Settings(
        console_proxy_secret="s3cret",  # noqa: S106 - of this test alone
        console_proxy_addresses=("10.0.0.0/8", "::1"),
    )
    known = Identity(settings, host="127.0.0.1", demo_user=None)
    names = (
        settings.console_user_header,
        settings.console_name_header,
        settings.console_groups_header,
    )
    headers = {
        name: mutations.text(choices, most=9000).encode().decode("latin-1") for name in names
    }
    headers[settings.console_proxy_secret_header] = choices.pick(("s3cret", "", "s3cr\xe9t"))
    address = choices.pick(
        ("10.1.2.3", "::1", "", "fe80::1%eth0", "999.1.1.1", mutations.text(choices, most=50))
    )
    try:
        user = known.user(headers, address)
    except Untrusted:
        return "unknown"
    assert user.id
    assert len(user.id) <= 120
    assert datetime.now(UTC)
    return "known"
