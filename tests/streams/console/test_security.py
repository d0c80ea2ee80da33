"""Every request passes the guard: host, size, headers; whatever the application answers."""

import pytest
from starlette.testclient import TestClient

from streams.console.web.security import HEADERS, MAX_BODY, Guard


async def _application(scope, receive, send):
    """Answers with what it received, and with headers that the guard must not leave."""
    message = await receive()
    headers = [(b"x-frame-options", b"ALLOWALL")]
    if scope["path"] == "/picture":
        headers.append((b"cache-control", b"private, max-age=3600"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"%d" % len(message.get("body", b""))})


@pytest.fixture
def client():
    """A browser before a guarded application."""
    return TestClient(Guard(_application, hosts=("testserver", "Console.Example", "[::1]")))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("testserver", 200),
        ("testserver:6070", 200),
        ("CONSOLE.example", 200),
        ("console.example:443", 200),
        ("[::1]:6070", 200),
        ("[::1]", 200),
        ("", 421),
        ("evil.example", 421),
        ("testserver.evil.example", 421),
        ("evil.example:testserver", 421),
        ("[::2]:6070", 421),
    ],
)
def test_only_allowed_hosts_are_answered(client, host, status):
    """With or without a port, in any case; the refusal has the headers too."""
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_may_use_any_host(client, path):
    """Orchestrators ask an address."""
    assert client.get(path, headers={"host": "10.0.0.7:6070"}).status_code == 200
    assert client.get(f"{path}/more", headers={"host": "10.0.0.7:6070"}).status_code == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"content-length": str(MAX_BODY)}, 200),
        ({"content-length": str(MAX_BODY + 1)}, 413),
        ({"content-length": "-1"}, 413),
        ({"content-length": "many"}, 413),
        ({"transfer-encoding": "chunked"}, 413),
    ],
)
def test_bodies_are_bounded_before_they_are_read(client, headers, status):
    """By what the request says of its size; one that does not say is refused."""
    assert client.post("/", headers=headers).status_code == status


def test_every_answer_has_the_headers(client):
    """In place of the application's own; pages are not kept, pictures for a while."""
    for path, cached in (("/", "no-store"), ("/picture", "private, max-age=3600")):
        answer = client.get(path)
        assert answer.headers["cache-control"] == cached
        for name, value in HEADERS.items():
            assert answer.headers.get_list(name) == [value]


async def test_what_is_not_http_passes():
    """Start and end of the application."""
    scopes = []

    async def application(scope, _receive, _send):
        scopes.append(scope["type"])

    await Guard(application, hosts=())({"type": "lifespan"}, None, None)
    assert scopes == ["lifespan"]
