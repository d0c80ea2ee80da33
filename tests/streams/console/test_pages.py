"""The pages without a browser: who may see and do what, and that nothing from outside is markup."""

import html
import re
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient

from models.hs.nomenclature import LANGUAGES
from schemas.reasons import TEXTS, Reason
from schemas.records import AlertItem, Degradation, Signal
from streams.console.state.ingest import case_id_of, ingest
from streams.console.state.users import User
from streams.console.web.identity import Identity, Misconfigured
from streams.console.web.pages import application
from streams.console.web.translations import Language, reason_text
from streams.settings import Settings
from tests.streams.console import samples

UTC_ZONE = ZoneInfo("UTC")
MARKUP = """<script>alert(1)</script><img src=x onerror="alert(2)">{{ 7 * 7 }}' onmouseover='x"""
ANN = {
    "X-Redlane-Proxy-Secret": "s3cret",
    "X-Forwarded-User": "ann",
    "X-Forwarded-Groups": "staff, redlane-inspector",
}


def put(console, *alerts):
    ingest(
        console.store.database,
        [*alerts, *map(samples.assessment, alerts), *map(samples.explanation, alerts)],
        {},
    )
    return [case_id_of(alert.declaration_id, alert.declaration_version) for alert in alerts]  # fmt: skip


def token(text):
    return re.search(r'name="token" value="([\w.-]+)"', text)[1]


def test_goods_text_with_markup_is_inert(console, client):
    """In the queue, on the alert's page, in the stream, in notes and names."""
    alert = samples.alert()
    item = replace(alert.items[0], description=MARKUP, commodity_code="64062090")
    (case,) = put(console, replace(alert, items=(item,), declaration_office="<b>"))
    page = client.get(f"/alerts/{case}")
    client.post(f"/alerts/{case}/note", data={"token": token(page.text), "text": MARKUP})
    for path in ("/", f"/alerts/{case}"):
        text = client.get(path).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<b>\n" not in text
        assert "49" not in re.findall(r"onerror=.{0,30}", text)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_every_answer_leaves_a_browser_no_room(console, client):
    """No inline script or style, no frame, nothing kept; pages have no handlers of their own."""
    (case,) = put(console, samples.alert())
    for path in ("/", f"/alerts/{case}", "/static/console.js", "/alerts/none"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        if "html" in answer.headers["content-type"]:
            assert not re.search(r"\s(on\w+|style)=|<style|javascript:|https?://", answer.text)
            assert re.findall(r"<script[^>]*>", answer.text) == ['<script src="/static/console.js" defer>']  # fmt: skip
    assert client.get("/openapi.json").status_code == 404


def test_another_host_name_is_refused(client):
    """A page elsewhere may have made its name point here; a probe may use any name."""
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/livez", headers={"host": "10.0.0.7:6070"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (ANN, 200),
        ({}, 401),
        (ANN | {"X-Redlane-Proxy-Secret": "wrong"}, 401),
        ({"X-Forwarded-User": "ann", "X-Forwarded-Groups": "redlane-inspector"}, 401),
        (ANN | {"X-Forwarded-User": " "}, 401),
        (ANN | {"X-Forwarded-Groups": "staff"}, 403),
        (ANN | {"X-Forwarded-Groups": "redlane-viewer"}, 200),
    ],
)
def test_only_the_proxys_headers_are_trusted(behind_proxy, headers, status):
    """With its secret, and for a group that has a role."""
    client, console = behind_proxy
    (case,) = put(console, samples.alert())
    for path in ("/", f"/alerts/{case}", f"/alerts/{case}/items/1/photos/0"):
        assert client.get(path, headers=headers).status_code == status
    if status != 200:
        assert client.get("/live", headers=headers).status_code == status


def test_the_proxys_address_may_be_what_is_trusted():
    """Alone, or together with the secret; and somebody must be."""
    settings = Settings(console_proxy_addresses="10.1.0.0/16, 127.0.0.1")
    identity = Identity(settings, host="192.0.2.1", demo_user=None)
    groups = {"X-Forwarded-User": "eva", "X-Forwarded-Groups": "redlane-viewer,redlane-supervisor"}
    assert identity.user(groups, "10.1.2.3") == User(id="eva", name="eva", role="supervisor")
    with pytest.raises(Exception, match="address"):
        identity.user(groups, "10.2.2.3")
    with pytest.raises(Misconfigured):
        Identity(Settings(), host="127.0.0.1", demo_user=None)
    for host, user in (("192.0.2.1", "ann"), ("127.0.0.1", "ann:root"), ("console.example", "ann")):
        with pytest.raises(Misconfigured):
            Identity(Settings(), host=host, demo_user=user)


def test_a_viewer_looks_but_does_not_act(behind_proxy):
    """Even with a token of the page."""
    client, console = behind_proxy
    (case,) = put(console, samples.alert())
    viewer = ANN | {"X-Forwarded-Groups": "redlane-viewer"}
    page = client.get(f"/alerts/{case}", headers=viewer).text
    assert 'method="post"' not in page
    valid = console.tokens.give(User(id="ann", name="ann", role="viewer"))
    answer = client.post(f"/alerts/{case}/assign", data={"token": valid}, headers=viewer)
    assert answer.status_code == 403
    assert console.store.detail(case).journal == ()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 303),
        ({"token": ""}, 403),
        ({"token": "0" * 64}, 403),
        ({"token": "é"}, 403),
        ({"user": "bram"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://["}, 403),
        ({"site": "cross-site"}, 403),
    ],
)
def test_a_form_must_be_from_our_own_page(behind_proxy, changes, status):
    """The token is the user's, and the browser says where the form was."""
    client, console = behind_proxy
    (case,) = put(console, samples.alert())
    given = token(client.get(f"/alerts/{case}", headers=ANN).text)
    headers = ANN | {
        "X-Forwarded-User": changes.get("user", "ann"),
        "Origin": changes.get("origin", "http://testserver"),
        "Sec-Fetch-Site": changes.get("site", "same-origin"),
    }
    answer = client.post(
        f"/alerts/{case}/assign",
        data={"token": changes.get("token", given)},
        headers=headers,
        follow_redirects=False,
    )
    assert answer.status_code == status
    assert bool(console.store.detail(case).case.assignee) == (status == 303)


def test_a_form_that_cannot_be_read_is_no_missing_page(client):
    """And a method that there is not names those that there are."""
    kind = {"Content-Type": "multipart/form-data"}
    answer = client.post("/alerts/x/note", content=b"junk", headers=kind)
    assert (answer.status_code, "cannot read this request" in answer.text) == (400, True)
    answer = client.post("/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_a_form_too_large_is_not_read(client):
    """Nor one of unknown length."""
    assert client.post("/alerts/x/note", content=b"a" * 300_000).status_code == 413
    assert client.post("/alerts/x/note", content=iter([b"a"])).status_code == 413


@pytest.mark.parametrize("hours", ["9" * 5000, "٤", "-4", "5", ""])
def test_a_case_is_put_off_for_an_offered_time_alone(console, client, hours):
    """Whatever a browser sends in its place, an endless number too."""
    (case,) = put(console, samples.alert())
    given = token(client.get(f"/alerts/{case}").text)
    form = {"token": given, "hours": hours}
    answer = client.post(f"/alerts/{case}/snooze", data=form, follow_redirects=False)
    assert answer.status_code == 303
    assert console.store.detail(case).case.snoozed is None


def test_a_decision_goes_into_the_outbox_once(console, client):
    """The form sent twice; then somebody else's decision is a conflict."""
    (case,) = put(console, samples.alert())
    form = {
        "token": token(client.get(f"/alerts/{case}").text),
        "result": "irregular",
        "item": ["1", "1"],
        "kind": ["misclassification", "undervaluation"],
        "code": ["6404.11.00 00", ""],
        "recovered": ["13,89", ""],
        "note": "a note",
    }
    for _ in range(2):
        assert "Being sent" in client.post(f"/alerts/{case}/decision", data=form).text
    assert console.actions.unsent() == 1
    outcome = console.actions.claim(1000).outcome
    assert [finding.kind for finding in outcome.findings] == form["kind"]
    assert [finding.established_code for finding in outcome.findings] == ["6404110000", ""]
    assert client.post(f"/alerts/{case}/decision", data=form | {"note": "x"}).status_code == 409
    wrong = client.post(f"/alerts/{case}/decision", data=form | {"recovered": ["x", ""]})
    assert (wrong.status_code, 'role="alert">The amount' in wrong.text) == (400, True)


def test_pictures_come_only_from_the_events_own_list(console, client):
    """As new JPEG and PNG files; whatever is no picture is none."""
    (case,) = put(console, samples.alert())
    base = f"/alerts/{case}/items/1"
    for path, kind, start in (
        ("photos/0", "image/jpeg", b"\xff\xd8"),
        ("heat-maps/0", "image/png", b"\x89PNG"),
        ("similar/0", "image/jpeg", b"\xff\xd8"),
    ):
        answer = client.get(f"{base}/{path}")
        assert (answer.headers["content-type"], answer.content[: len(start)]) == (kind, start)
        assert answer.headers["cache-control"] == "private, max-age=3600"
    for path in ("photos/1", "photos/-1", "similar/1", "heat-maps/9"):
        assert client.get(f"{base}/{path}").status_code in {404, 422}
    alert = samples.alert(1)
    script = replace(alert.items[0], images=(f"s3://{samples.PHOTOS}/page.html",))
    (case,) = put(console, replace(alert, items=(script,)))
    console.pictures._files["page.html"] = b"<html><script>alert(1)</script>"
    assert client.get(f"/alerts/{case}/items/1/photos/0").status_code == 404


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_in_every_language(console, client, language):
    """All texts are there, and the choice stays."""
    alert = samples.alert(5, degraded=(samples.without_photo(None),))
    (case,) = put(console, alert)
    for path in (f"/?language={language}", f"/alerts/{case}", "/?view=decided", "/alerts/none"):
        answer = client.get(path)
        assert answer.headers["content-language"] == language
        assert f'<html lang="{language}">' in answer.text
    assert Language(language, UTC_ZONE).t("irregular") in client.get(f"/alerts/{case}").text


def test_an_alert_without_any_evidence_is_shown(console, client):
    """No photo, no price, no candidates, no explanation."""
    alert = samples.alert(items=(AlertItem(sequence_number=1, commodity_code="640411"),))
    ingest(console.store.database, [alert], {})
    page = client.get(f"/alerts/{case_id_of(alert.declaration_id, 1)}").text
    assert "No photo was declared." in page
    assert "No explanation yet" in page


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "No code was declared."), ("fr", "Aucun code n’a été déclaré."), ("nl", "Er is geen code aangegeven."), ("de", "Es wurde kein Code angemeldet.")],
)  # fmt: skip
def test_goods_without_a_code_are_shown_as_such(console, client, language, text):
    """Candidates are there, none is called declared."""
    alert = samples.alert()
    assert text not in client.get(f"/alerts/{put(console, alert)[0]}?language={language}").text
    items = tuple(replace(item, commodity_code="") for item in alert.items)
    uncoded = replace(alert, declaration_id="D", assessment_id="uncoded", items=items)
    (case,) = put(console, uncoded)
    page = client.get(f"/alerts/{case}?language={language}").text
    assert text in page
    assert f'<span class="code">{uncoded.items[0].suggested_hs6}</span>' in page
    assert f'<span class="tag">{Language(language, UTC_ZONE).t("declared")}</span>' not in page


def test_any_declared_time_is_shown(console, client):
    """The last day that a calendar has, too: it must not take the queue from everybody."""
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    (case,) = put(console, samples.alert(acceptance_time=last))
    for path in ("/", f"/alerts/{case}"):
        assert "31/12/9999" in client.get(path).text


def test_missing_evidence_is_no_reason_for_the_risk(console, client):
    """It is shown as missing evidence; fixed texts that an event repeats are not shown twice."""
    alert = samples.alert(0, degraded=(samples.without_photo(None),))
    ingest(console.store.database, [alert], {})
    explained = replace(
        samples.explanation(alert).items[0],
        reasons=(
            Signal(code="code_unlikely", weight=1.0, detail=TEXTS[Reason.CODE_UNLIKELY]),
            Signal(code="unit_price_low", weight=1.0, detail=samples.PRICE),
            Signal(code="declaration_gone"),
            Signal(code="of_tomorrow", detail="new"),
        ),
    )
    ingest(console.store.database, [replace(samples.explanation(alert), items=(explained,))], {})
    page = client.get(f"/alerts/{case_id_of(alert.declaration_id, 1)}?language=fr").text
    banner, reasons = (
        re.search(f'<{tag} class="{name}">(.*?)</{tag}>', page, re.DOTALL)[1]
        for tag, name in (("div", "banner degraded"), ("ul", "reasons"))
    )
    for code in (alert.degraded[0].code, "declaration_gone"):
        assert reason_text(code, "fr") in html.unescape(banner)
        assert reason_text(code, "fr") not in html.unescape(reasons)
    assert "of tomorrow <small" in reasons
    assert "2,10\xa0€ le kg" in reasons
    for english in (samples.PRICE, TEXTS[Reason.CODE_UNLIKELY]):
        assert english not in html.unescape(page)


def test_what_every_item_lacks_is_shown_once(console, client):
    """And a brief explanation is no missing evidence."""
    (item,) = samples.alert().items
    alert = samples.alert(
        items=tuple(replace(item, sequence_number=n + 1) for n in range(4)),
        degraded=(Degradation(code="signals_unavailable"),),
    )
    (explained,) = samples.explanation(samples.alert()).items
    everywhere = ("explained_by_another_bundle", "signals_unavailable")
    items = tuple(
        replace(
            explained,
            sequence_number=n + 1,
            reasons=tuple(
                Signal(code=code)
                for code in (
                    *everywhere,
                    "explained_briefly",
                    *(["photo_changed"] if n == 2 else ()),
                )
            ),
        )
        for n in range(4)
    )
    ingest(
        console.store.database,
        [alert, replace(samples.explanation(samples.alert()), items=items)],
        {},
    )
    page = html.unescape(client.get(f"/alerts/{case_id_of(alert.declaration_id, 1)}").text)
    banner = re.search('<div class="banner degraded">(.*?)</div>', page, re.DOTALL)[1]
    for code, where in zip(
        (*everywhere, "photo_changed"), ("Whole",) * 2 + ("Item 3",), strict=True
    ):
        text = TEXTS[Reason(code)]
        assert (banner.count(text), page.count(text)) == (1, 1), code
        assert re.search(f"<b>{where}[^:]*: {re.escape(text)}", banner), code
    assert TEXTS[Reason.EXPLAINED_BRIEFLY] not in banner
    assert page.count(TEXTS[Reason.EXPLAINED_BRIEFLY]) == 4


def test_an_address_without_a_page_says_so(client):
    """In the user's language, as a page."""
    for path in ("/nowhere", "/alerts/x/items/one/photos/0", "/static/none.js"):
        answer = client.get(path, headers={"Accept-Language": "nl"})
        assert (answer.status_code, "Deze pagina bestaat niet" in answer.text) == (404, True), path


def test_a_fault_of_the_console_says_so(console, monkeypatch):
    """And is logged by the server, not swallowed."""
    monkeypatch.setattr(console.store.database, "change", lambda: 1 / 0)
    with TestClient(application(console), raise_server_exceptions=False) as client:
        answer = client.get("/")
    assert (answer.status_code, "has a fault" in answer.text) == (500, True)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    with TestClient(application(console)) as client, pytest.raises(ZeroDivisionError):
        client.get("/")


def test_the_parties_history_is_shown(console, client):
    """The results for each, or that nothing was ever inspected."""
    (case,) = put(console, samples.alert())
    traders = samples.explanation(samples.alert()).traders
    page = client.get(f"/alerts/{case}").text
    assert len(traders) > 1
    for trader in traders:
        irregular = f"{trader.irregular} of {trader.inspected} inspected items irregular"
        assert (irregular if trader.inspected else "never inspected") in page


def test_the_price_is_compared_in_the_users_language(console, client):
    """From the event's figures: its own words are English."""
    (case,) = put(console, samples.alert())
    page = client.get(f"/alerts/{case}?language=fr").text
    assert "2,10\xa0€ le kg ; 95 % de 64 comparables : 11,00\xa0€ – 34,00\xa0€" in page
    assert "unit price" not in page
