"""Webhooks to a real HTTP server: taken, refused, tried again, and what must never happen."""

import asyncio
import base64
import json
import ssl
import time
from dataclasses import replace

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from schemas import json_form
from schemas.codec import Undecodable
from schemas.examples import examples
from schemas.records import Alert
from streams.kafka.events import FATE, Inbound, cloud_event
from streams.local.certificates import Authority
from streams.operations import doctor
from streams.settings import NotConfigured, Settings
from streams.webhook import receiver as module
from streams.webhook.event import Webhook, webhook
from streams.webhook.receiver import Receiver, ReceiverFailed, retry_after
from streams.webhook.signature import signed, signing_keys
from tests.fakes import NOW
from tests.streams.webhook.endpoint import OTHER, SECRET, Endpoint, verifier

ALERT = next(record for _, record in examples("alert"))
EVENT = Webhook("event-1", b'{"a": 1}')


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.05)


def settings(url, **fields):
    given = {"deliver_secret": SecretStr(SECRET), "deliver_retry_s": 0.3} | fields
    return Settings(deliver_url=url, **given)


async def deliver(endpoint, *events, **fields):
    """Deliver events, one after the other."""
    receiver = Receiver(settings(endpoint.url, **fields))
    try:
        for event in events or (EVENT,):
            await receiver.deliver("alerts", event)
    finally:
        await receiver.close()


def cause(**fields):
    """An alert as `screen` publishes it."""
    headers = cloud_event("alert", id_="id-1", source="redlane/screen", time=NOW, traceparent="00-1-2-01", extensions=[(FATE, "fate-1")])  # fmt: skip
    given = {"headers": headers, "topic": "alerts", "partition": 1, "offset": 2, "key": b"D1", "value": b"v", "timestamp": 3.0}  # fmt: skip
    return Inbound(**given | fields)


def test_an_event_is_a_cloud_event_with_the_json_of_the_contract():
    """Its data can be read back; the same event gives the same bytes."""
    made = webhook(cause(), ALERT)
    event = json.loads(made.body)
    assert json_form.read(json.dumps(event.pop("data")), Alert) == ALERT
    assert event == {
        "specversion": "1.0",
        "id": "id-1",
        "source": "redlane/screen",
        "type": "redlane.alert",
        "subject": ALERT.declaration_id,
        "time": "2026-11-02T09:30:00.000+00:00",
        "datacontenttype": "application/json",
        "redlanefate": "fate-1",
        "traceparent": "00-1-2-01",
    }
    assert webhook(cause(), ALERT) == made


def test_an_event_without_our_headers_has_an_id_too():
    """Of its place; and one that no header of HTTP can hold is replaced, always by the same."""
    bare = json.loads(webhook(cause(headers=()), replace(ALERT, declaration_id="")).body)
    assert (bare["id"], bare["source"], bare["time"]) == ("alerts/1/2", "redlane", "1970-01-01T00:00:03.000+00:00")  # fmt: skip
    assert not bare.keys() & {"subject", "redlanefate", "traceparent"}
    odd = cause(headers=(("ce_id", "straße 1".encode()),))
    assert webhook(odd, ALERT).id == webhook(odd, ALERT).id != webhook(cause(), ALERT).id
    assert webhook(odd, ALERT).id.isascii()


def test_the_signature_is_that_of_the_specification():
    """The example of Standard Webhooks, computed by its reference libraries."""
    keys = signing_keys(SecretStr(SECRET))
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', at=1614265330, keys=keys)  # fmt: skip
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_the_program_of_the_document_refuses_what_is_false():
    """Another body, id, time or secret; what is too old."""
    verify, now = verifier(), int(time.time())
    good = dict(signed("id", b"body", at=now, keys=signing_keys(SecretStr(f"{OTHER} {SECRET}"))))
    verify(SECRET, good, b"body")
    verify(OTHER, good, b"body")
    old = dict(signed("id", b"body", at=now - 400, keys=signing_keys(SecretStr(SECRET))))
    third = "whsec_" + base64.b64encode(b"x" * 24).decode()
    for secret, headers, body in (
        (SECRET, good, b"Body"),
        (SECRET, good | {"webhook-id": "other"}, b"body"),
        (SECRET, good | {"webhook-timestamp": str(now + 1)}, b"body"),
        (SECRET, good | {"webhook-signature": "v1,"}, b"body"),
        (SECRET, old, b"body"),
        (third, good, b"body"),
    ):
        with pytest.raises(ValueError, match=r"wrong signature|too old"):
            verify(secret, headers, body)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "plain", "whsec_c2hvcnQ=", f"{SECRET} {OTHER} {SECRET}", "whsec_?", "whsec_é", "whsec_" + "A" * 100],
)  # fmt: skip
def test_a_secret_of_another_form_is_refused_and_not_quoted(secret):
    with pytest.raises(NotConfigured, match="Set REDLANE_DELIVER_SECRET") as caught:
        signing_keys(SecretStr(secret))
    told = str(caught.value)
    assert not [part for part in secret.split() if len(part) > len("whsec_") and part in told]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "Set REDLANE_DELIVER_URL"),
        ("ftp://cases.example/", "write https:// or http://"),
        ("https://", "write https:// or http://"),
        ("http://cases.example/", "REDLANE_DELIVER_PLAIN_HTTP"),
        ("http://127.0.0.1.cases.example/", "REDLANE_DELIVER_PLAIN_HTTP"),
        ("https://ann:s3cret@cases.example/", "neither a user nor a fragment"),
    ],
)
def test_an_address_that_may_not_be_used(url, told):
    with pytest.raises(NotConfigured, match=told) as caught:
        Receiver(settings(url))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "plain_http"),
    [
        ("https://cases.example/redlane?tenant=1", False),
        ("http://localhost:8080/", False),
        ("http://[::1]:8080/", False),
        ("http://cases.example/", True),
    ],
)
def test_an_address_that_may_be_used(url, plain_http):
    Receiver(settings(url, deliver_plain_http=plain_http))


async def test_an_event_is_posted_once_where_it_is_taken():
    """Signed, as it is, and with nothing else said of us."""
    with Endpoint(201) as endpoint:
        await deliver(endpoint)
    (posted,) = endpoint.taken
    assert (posted.id, posted.body) == (EVENT.id, EVENT.body)
    assert posted.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert "Cookie" not in posted.headers


@pytest.mark.parametrize("answer", [500, 502, 503, 408, 404, 401, 410, 302, "hang"])
async def test_what_fails_for_a_while_is_posted_again(answer):
    """The same body under the same id, signed anew; a redirect is not followed."""
    turned = (answer, {"Location": "/other"}) if answer == 302 else answer
    with Endpoint(turned, turned) as endpoint:
        await deliver(endpoint, deliver_timeout_s=0.1)
    assert len(endpoint.posted) == 3
    assert {(each.id, each.body, each.path) for each in endpoint.posted} == {(EVENT.id, EVENT.body, "/redlane")}  # fmt: skip
    assert len(endpoint.taken) == 1


@pytest.mark.parametrize("answer", [500, 429, 404, 410, 301, "hang"])
async def test_a_receiver_that_takes_nothing_stops_the_worker(answer):
    """After a while, and says why; it has a name that supervisors see, not a trace."""
    with Endpoint() as endpoint:
        endpoint.answer = lambda _: answer
        begun = time.monotonic()
        with capture_logs() as logged, pytest.raises(ReceiverFailed, match=r"127\.0\.0\.1 took nothing for .* s: (status \d+|TimeoutError)\."):  # fmt: skip
            await deliver(endpoint, deliver_timeout_s=0.1)
        assert 0.3 <= time.monotonic() - begun < 3
    assert len(endpoint.posted) > 1
    assert SECRET not in str(logged)


async def test_a_receiver_that_is_not_there():
    endpoint = Endpoint()
    with pytest.raises(ReceiverFailed, match="ClientConnectorError"):
        await deliver(endpoint)


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
async def test_an_event_that_is_refused_is_not_posted_again(status):
    with Endpoint(status) as endpoint:
        with pytest.raises(Undecodable, match=f"delivery_refused: .*: status {status}$") as caught:
            await deliver(endpoint)
        assert caught.value.reason == "delivery_refused"
    assert len(endpoint.posted) == 1


@pytest.mark.parametrize(("status", "error"), [(500, Undecodable), (404, Undecodable), (429, ReceiverFailed), (503, ReceiverFailed)])  # fmt: skip
async def test_an_event_on_which_alone_the_receiver_fails(status, error):
    """It must not hold up all others for ever; but who is busy says nothing of the event."""
    with Endpoint() as endpoint:
        endpoint.answer = lambda posted: status if posted.id == EVENT.id else 204
        receiver = Receiver(settings(endpoint.url))
        failing = asyncio.create_task(receiver.deliver("alerts", EVENT))
        await asyncio.sleep(0.1)
        await receiver.deliver("alerts", replace(EVENT, id="event-2"))
        with pytest.raises(error, match=f"status {status}"):
            await failing
        await receiver.close()


async def test_a_receiver_is_left_alone_for_as_long_as_it_asks():
    with Endpoint((429, {"Retry-After": "1"})) as endpoint:
        begun = time.monotonic()
        await deliver(endpoint, deliver_retry_s=5)
        assert 1 <= time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("7", 7),
        ("0", 0),
        ("9" * 5000, 60),
        ("-1", 0),
        ("soon", 0),
        ("", 0),
        ("²", 0),
        ("Mon, 02 Nov 2026 09:30:20 GMT", 20),
        ("Mon, 02 Nov 2026 09:29:00 GMT", 0),
        ("Mon, 02 Nov 2099 09:29:00 GMT", 60),
        ("Mon, 02 Nov 99999 09:29:00 GMT", 0),
    ],
)
def test_how_long_a_receiver_asks_for(header, wait_s):
    assert retry_after(header, NOW.timestamp()) == wait_s


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    """Events would go to whoever set the variable."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Endpoint() as endpoint:
        await deliver(endpoint)
    assert len(endpoint.taken) == 1


async def test_the_doctor_connects_and_posts_nothing(tmp_path):
    """So that a wrong address, network or certificate is found before the first alert."""
    authority = Authority(tmp_path)
    look, safe = asyncio.to_thread, {"deliver_ca_file": authority.ca_file}
    with Endpoint(certificate=authority.issue("receiver")) as endpoint:
        found = await look(doctor._receiver, settings(endpoint.url, **safe))
        with pytest.raises(ssl.SSLCertVerificationError):
            await look(doctor._receiver, settings(endpoint.url))
    assert found == f"127.0.0.1:{endpoint.port} answers; nothing was posted"
    assert endpoint.posted == []
    with pytest.raises(ConnectionRefusedError):
        await look(doctor._receiver, settings(endpoint.url, **safe))
    with pytest.raises(NotConfigured, match="REDLANE_DELIVER_SECRET"):
        doctor._receiver(settings(endpoint.url, deliver_secret=SecretStr("")))


def test_an_authority_that_is_none(tmp_path):
    """Found at the start: later, every event would be a dead letter."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(NotConfigured, match="Correct REDLANE_DELIVER_CA_FILE"):
        Receiver(settings("https://cases.example/", deliver_ca_file=tmp_path / "ca.pem"))


async def test_a_receiver_is_known_by_its_certificate(tmp_path):
    """Of the authority in the settings; without it nothing is posted."""
    authority = Authority(tmp_path)
    with Endpoint(certificate=authority.issue("receiver")) as endpoint:
        await deliver(endpoint, deliver_ca_file=authority.ca_file)
        with pytest.raises(ReceiverFailed, match="ClientConnectorCertificateError"):
            await deliver(endpoint)
    assert len(endpoint.posted) == 1
