"""The client of the object storage: one address, every key, bounded whatever answers."""

import asyncio
import hashlib

import pytest
from aiohttp import web
from pydantic import SecretStr

from streams.local.process import LOOPBACK
from streams.object_storage import (
    KeyRefused,
    NoSuchKey,
    ObjectStorage,
    Redirected,
    StorageFailed,
    TooLarge,
)
from streams.settings import Settings

LEGAL_KEYS = (
    "plain.jpg",
    "a//b.jpg",
    "/leading.jpg",
    "two  blanks + plus.jpg",
    "a%20b.jpg",
    "%2e%2e/c.jpg",
    "%",
    "q?versionId=1&x#fragment",
    "ü/日本/😀.jpg",
    "\u202egpj.exe",
    "tab\tnewline\n\x01\x7f",
    "back\\slash",
    "a&b;c=d,e:f@g$h!i*j'(k)[l]{m}|n^o`p~q\"<r>",
    "dot./e.jpg",
    "deep/" * 200 + "f.jpg",
)
"""That SeaweedFS takes."""
REFUSED_KEYS = ("./b.jpg", "a/./b.jpg", ".", "a/.", "nul\0.jpg", "back\\..\\slash")
"""That S3 allows and SeaweedFS cannot hold."""


@pytest.fixture
async def serve():
    """Starts servers that answer as a handler says; returns their addresses."""
    runners = []

    async def start(handler):
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, 0).start()
        return f"http://{LOOPBACK}:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def storage_at():
    """Connects to addresses."""
    storages = []

    def connect(endpoint, deadline_s=5.0):
        keys = {"s3_access_key_id": "key", "s3_secret_access_key": "secret"}
        settings = Settings(s3_endpoint=endpoint, photo_deadline_s=deadline_s, **keys)
        storages.append(ObjectStorage(settings))
        return storages[-1].bucket("goods-photos")

    yield connect
    for storage in storages:
        await storage.close()


@pytest.fixture
async def seaweedfs(stack):
    storage = ObjectStorage(stack.settings())
    yield storage.bucket("goods-photos")
    await storage.close()


@pytest.mark.heavy
@pytest.mark.parametrize("key", LEGAL_KEYS)
async def test_an_object_is_found_under_exactly_its_key(seaweedfs, key):
    content = hashlib.sha256(key.encode()).digest()
    await seaweedfs.write(key, content, media_type="image/jpeg")
    assert await seaweedfs.read(key, max_bytes=32) == content


@pytest.mark.heavy
@pytest.mark.parametrize("key", REFUSED_KEYS)
async def test_a_key_that_the_storage_cannot_hold_is_refused(seaweedfs, key):
    with pytest.raises(KeyRefused):
        await seaweedfs.read(key, max_bytes=32)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "wrong", [{"s3_access_key_id": "somebody"}, {"s3_secret_access_key": SecretStr("guessed")}]
)
async def test_a_storage_that_does_not_know_the_keys_refuses(stack, wrong):
    """They are not 404 and not taken for a missing photo."""
    settings = stack.settings().model_copy(update=wrong)
    storage = ObjectStorage(settings)
    with pytest.raises(StorageFailed, match="status 403"):
        await storage.bucket("goods-photos").read("plain.jpg", max_bytes=32)
    await storage.close()


async def test_the_body_is_signed(serve, storage_at):
    """And no header that a proxy may change on the way."""
    sent = []

    async def take(request):
        sent.append(request.headers)
        return web.Response()

    await storage_at(await serve(take)).write("a.png", b"png", media_type="image/png")
    assert sent[0]["x-amz-content-sha256"] == hashlib.sha256(b"png").hexdigest()
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date," in sent[0]["authorization"]
    assert sent[0]["content-type"] == "image/png"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
@pytest.mark.parametrize("method", ["read", "write"])
async def test_a_redirect_is_refused(serve, storage_at, status, method):
    """Nothing is asked of the other host, and nothing sent to it."""
    asked = []

    async def elsewhere(request):
        asked.append(request.path)
        return web.Response(body=b"another photo")

    other = await serve(elsewhere)

    async def redirect(request):
        return web.Response(status=status, headers={"Location": f"{other}{request.path}"})

    bucket = storage_at(await serve(redirect))
    act = (
        bucket.read("a.jpg", max_bytes=100)
        if method == "read"
        else bucket.write("a.png", b"png", media_type="image/png")
    )
    with pytest.raises(Redirected):
        await act
    assert asked == []


async def test_a_busy_storage_is_asked_again(serve, storage_at):
    """A few times; then the photo is there."""
    answers = [503, 429, 200]

    async def busy(_):
        return web.Response(status=answers.pop(0), body=b"photo")

    assert await storage_at(await serve(busy)).read("a", max_bytes=5) == b"photo"
    assert answers == []


@pytest.mark.parametrize(
    ("status", "error"), [(404, NoSuchKey), (400, KeyRefused), (403, StorageFailed)]
)
async def test_an_answer_about_the_object_is_not_asked_for_again(serve, storage_at, status, error):
    asked = []

    async def answer(request):
        asked.append(request)
        return web.Response(status=status)

    with pytest.raises(error):
        await storage_at(await serve(answer)).read("a", max_bytes=5)
    assert len(asked) == 1


async def endless(request):
    """Sends zeros until nobody listens."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(1000))
        await asyncio.sleep(0)


async def dripping(request):
    """Sends a byte every tenth of a second."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"\0")
        await asyncio.sleep(0.1)


async def cut_off(request):
    """Promises more than it sends."""
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"half")
    request.transport.abort()
    return response


@pytest.mark.parametrize(
    ("handler", "error"),
    [(endless, TooLarge), (dripping, TimeoutError), (cut_off, StorageFailed)],
)
async def test_whatever_answers_is_bounded(serve, storage_at, handler, error):
    """In bytes and in time."""
    bucket = storage_at(await serve(handler), deadline_s=1.0)
    with pytest.raises(error):
        await bucket.read("a", max_bytes=10_000)


async def test_nothing_is_unpacked(serve, storage_at):
    """A kilobyte stays one."""

    async def packed(_):
        return web.Response(body=b"packed", headers={"Content-Encoding": "gzip"})

    assert await storage_at(await serve(packed)).read("a", max_bytes=10) == b"packed"
