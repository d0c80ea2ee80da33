"""References of photos, and what an object storage and a registry answer."""

import json
import socket
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

from confluent_kafka.schema_registry import SchemaRegistryClient
from yarl import URL

from schemas import codec
from schemas.records import Declaration, ImageReference
from schemas.topics import DECLARATIONS
from streams.evidence.photo_folder import PhotoFolder
from streams.evidence.photos import NoPhoto, Photos
from streams.kafka.registry import NotDeployed, Registry, RegistryFailed
from streams.local.process import LOOPBACK
from streams.object_storage import KeyRefused, NoSuchKey, ObjectStorage, Redirected, TooLarge
from streams.settings import Settings
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import run, target, watch

PARTS = (
    "s3://", "S3://", "http://", "//", "goods-photos", "goods-photos.evil", "/", "..", ".", "%2e%2e", "\\", "@", ":8333", "?x=",
    "#", "key", "é", "\u202e", "\0", "\n", "\r\nHost: evil", " ", "\ud800", "169.254.169.254", "[::1]", "k" * 1100,
)  # fmt: skip


class Fails:
    """A bucket whose client raises."""

    def __init__(self, choices):
        self._choices = choices

    async def read(self, key, *, max_bytes):
        key.encode()
        assert ".." not in key.split("/")
        raise self._choices.pick((NoSuchKey("x"), KeyRefused("x"), TooLarge("x"), Redirected("x"), TimeoutError(), OSError(), ValueError("x"), MemoryError(), RecursionError()))  # fmt: skip


@cache
def folder():
    """A folder with a photo, and one beside it that is out of bounds."""
    inside = Path(mkdtemp()) / "photos"
    inside.mkdir()
    (inside / "key").write_bytes(b"inside")
    (inside.parent / "secret").write_bytes(b"outside")
    return inside


@target("reference of a photo", "fetched", weight=6)
def references(choices: Choices) -> list[str]:
    """Any reference, in a storage and in a folder."""
    uri = "".join(choices.pick(PARTS) for _ in range(choices.below(9)))
    if choices.one_in(2):
        uri = "s3://goods-photos/" + uri
    reference = ImageReference(
        uri=uri, sha256=choices.pick(("", "a" * 64, mutations.text(choices, most=300)))
    )
    fetched = run(
        Photos({"goods-photos": Fails(choices)}, concurrency=1, deadline_s=1, max_bytes=9).fetch(
            reference
        )
    )
    local = run(PhotoFolder(folder(), max_bytes=9).fetch(reference))
    assert isinstance(local, NoPhoto) or local.data == b"inside"
    with suppress(UnicodeEncodeError):
        url = URL("http://127.0.0.1:8333" + quote(f"/goods-photos/{uri}"), encoded=True)
        assert (url.host, url.port) == ("127.0.0.1", 8333)
    return [fetched.reason, local.reason if isinstance(local, NoPhoto) else "fetched"]


class Server:
    """Answers every request with the same bytes, in a thread; pieces may drip."""

    def __init__(self):
        self._socket = socket.create_server((LOOPBACK, 0))
        self.address = self._socket.getsockname()
        self.answers = lambda _request: [b""]
        """Request → the pieces of its answer."""
        self.pause_s = 0.0
        watch().allowed.add(self.address)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self):
        return f"http://{LOOPBACK}:{self.address[1]}"

    def _serve(self):
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with suppress(OSError), connection:
            connection.settimeout(3)
            request = connection.recv(65_536)
            for piece in self.answers(request):
                connection.sendall(piece)
                if self.pause_s:
                    threading.Event().wait(self.pause_s)


@cache
def server():
    """One server for all cases."""
    return Server()


def _answered(body: bytes) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


STATUSES = (
    200,
    200,
    200,
    204,
    206,
    301,
    302,
    307,
    400,
    401,
    403,
    404,
    409,
    414,
    418,
    429,
    500,
    503,
    100,
    101,
    199,
    999,
    0,
)
NAMES = ("Content-Length", "Transfer-Encoding", "Content-Encoding", "Location", "Content-Type", "Connection", "Set-Cookie", "X", "Content-Range", "Upgrade", "Trailer", "Retry-After")  # fmt: skip
VALUES = (
    "0", "1", "5", "20", "-1", "99999999999999999999", "+5", "5, 6", "chunked", "gzip", "identity", "deflate, gzip", "br", "close",
    "keep-alive", "http://169.254.169.254/latest", "//evil.example/", "/again", "a=b; Domain=evil", "x" * 9000, "\xff", "websocket",
)  # fmt: skip


def answer(choices: Choices, body: bytes) -> bytes:
    """An answer in HTTP whose parts lie."""
    lines = [
        f"{choices.pick(('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/9.9', 'ICY'))} {choices.pick(STATUSES)} {choices.pick(('OK', '', 'x' * 9000))}"
    ]
    if choices.one_in(2):
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{choices.pick(NAMES)}: {choices.pick(VALUES)}" for _ in range(choices.below(4))]
    if choices.one_in(20):
        lines += [f"X-{number}: {'y' * 1000}" for number in range(choices.pick((10, 200, 20_000)))]
    chunks = (
        b"".join(
            b"%x%s\r\n%s\r\n" % (len(piece), choices.pick((b"", b";x=" + b"y" * 5000)), piece)
            for piece in (body[:5], body[5:])
        )
        + b"0\r\n\r\n"
    )
    head = "\r\n".join(lines).encode("latin-1") + choices.pick(
        (b"\r\n\r\n", b"\r\n\r\n", b"\n\n", b"")
    )
    return mutations.damaged(choices, head + choices.pick((body, body, chunks)), most=2)


@target("storage", "fetched", weight=0.4)
def storage(choices: Choices) -> list[str]:
    """What an object storage answers to a read."""
    service = server()
    body = choices.pick((b"photo", b"", b"x" * 50, b"\x1f\x8b\x08" + bytes(20), b"y" * 3_000_000))
    first = choices.pick((b"", b"HTTP/1.1 100 Continue\r\n\r\n" * choices.pick((1, 3, 50_000))))
    pieces = [first + answer(choices, body)]
    service.pause_s = 0.0
    if choices.one_in(12):
        service.pause_s = 0.02
        pieces = [bytes([byte]) for byte in pieces[0][:200]]
    service.answers = lambda _request: pieces

    async def read():
        settings = Settings(
            s3_endpoint=service.url,
            photo_deadline_s=0.4,
            s3_access_key_id="k",
            s3_secret_access_key="s",  # noqa: S106 - of nobody
        )
        client = ObjectStorage(settings)
        photos = Photos(
            {"goods-photos": client.bucket("goods-photos")},
            concurrency=1,
            deadline_s=0.5,
            max_bytes=20,
        )
        try:
            return await photos.fetch(ImageReference(uri="s3://goods-photos/key"))
        finally:
            await client.close()

    fetched = run(read())
    assert isinstance(fetched, NoPhoto) or len(fetched.data) <= 20
    return [fetched.reason if isinstance(fetched, NoPhoto) else "fetched"]


@target("registry", "not deployed", "failed", "allowed", weight=0.6)
def registry(choices: Choices) -> str:
    """What a schema registry answers about a topic."""
    service = server()
    schema = codec.schema_text("declaration") if choices.one_in(2) else mutations.json_text(choices, mutations.schema_json("declaration")).decode(errors="replace")  # fmt: skip
    documents = (
        {"subject": "s", "version": 1, "id": 7, "schema": schema, "schemaType": "AVRO"},
        {"error_code": 40401, "message": "x"},
        [1, 2**31],
        {"id": 1},
    )
    bodies = [mutations.json_text(choices, choices.pick(documents)) if choices.one_in(2) else json.dumps(documents[0]).encode(), mutations.json_text(choices, [1, 2]) if choices.one_in(4) else b"[1]"]  # fmt: skip
    pieces = [[answer(choices, body) if choices.one_in(4) else _answered(body)] for body in bodies]
    service.pause_s = 0.0
    service.answers = lambda request: pieces[b"/versions?" in request or b"/versions " in request]
    client = Registry(service.url)
    client._settings |= {"max.retries": 0, "timeout": 1}
    client._client = SchemaRegistryClient(client._settings)
    try:
        writers = client.writers(DECLARATIONS)
        if choices.one_in(4):
            client.schema_id(DECLARATIONS)
    except NotDeployed:
        return "not deployed"
    except RegistryFailed:
        return "failed"
    for number in writers:
        value = mutations.wire(choices, Declaration, mutations.record(choices, Declaration), number)
        with suppress(codec.Undecodable):
            codec.decode(value, Declaration, writers)
    return "allowed"
