"""Each fault of the proxy, with a server that answers every byte with itself."""

import contextlib
import random
import socket
import socketserver
import threading
import time

import pytest

from streams.local.process import LOOPBACK
from tests.chaos.services.proxy import TO_CLIENT, TO_SERVER, Fault, Proxy


class Echo(socketserver.BaseRequestHandler):
    """Answers until the client has ended; notes the sizes of what arrives."""

    sizes: list

    def handle(self):
        with contextlib.suppress(ConnectionError):  # a fault ended it
            while data := self.request.recv(1 << 16):
                self.sizes.append(len(data))
                self.request.sendall(data)


@pytest.fixture
def sizes():
    """Of what each recv of the server returned."""
    return []


@pytest.fixture
def proxy(sizes):
    """In front of the server."""
    handler = type("Handler", (Echo,), {"sizes": sizes})
    with socketserver.ThreadingTCPServer((LOOPBACK, 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with Proxy(server.server_address[1], dice=random.Random(1)) as running:
            yield running
        server.shutdown()


@pytest.fixture
def connect(proxy):
    """Connects through the proxy."""
    connections = []

    def connected():
        connections.append(socket.create_connection((LOOPBACK, proxy.port), timeout=5))
        return connections[-1]

    yield connected
    for connection in connections:
        connection.close()


def echo(client, data):
    """Send bytes and return as many of the answer; raises where the connection ends before."""
    client.sendall(data)
    answer = b""
    while len(answer) < len(data):
        part = client.recv(1 << 16)
        if not part:
            raise EOFError(answer)
        answer += part
    return answer


def timed(client, data):
    """Return how long the answer takes. Unit: s."""
    begun = time.monotonic()
    assert echo(client, data) == data
    return time.monotonic() - begun


def test_without_a_fault_everything_passes(connect):
    """Megabytes, and the end of a side."""
    client, data = connect(), random.Random(2).randbytes(3 << 20)
    threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
    answer = b""
    while len(answer) < len(data):
        answer += client.recv(1 << 16)
    assert answer == data
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""


def test_latency_delays_both_directions_and_keeps_the_order(proxy, connect):
    """Twice the delay there and back; jitter reorders nothing."""
    client = connect()
    proxy.inject(Fault(latency_s=0.1, jitter_s=0.1))
    assert 0.2 <= timed(client, b"x") < 1
    data = bytes(range(256)) * 4
    for number in range(0, len(data), 64):
        client.sendall(data[number : number + 64])
    answer = b""
    while len(answer) < len(data):
        answer += client.recv(1 << 16)
    assert answer == data
    proxy.heal()
    assert timed(client, b"x") < 0.1


def test_down_ends_and_refuses_connections(proxy, connect):
    """Until it is over."""
    client = connect()
    assert echo(client, b"x") == b"x"
    proxy.inject(Fault(down=True))
    with pytest.raises((ConnectionError, EOFError)):
        echo(client, b"x")
    with pytest.raises(ConnectionRefusedError):
        connect()
    proxy.heal()
    assert echo(connect(), b"x") == b"x"


@pytest.mark.parametrize(("held", "arrives"), [(TO_SERVER, []), (TO_CLIENT, [1])])
def test_one_direction_is_held(proxy, connect, sizes, held, arrives):
    """The other one goes on; what was held arrives in the end."""
    client = connect()
    proxy.inject(Fault(held=frozenset({held})))
    client.sendall(b"x")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert sizes == arrives
    proxy.heal()
    client.settimeout(5)
    assert client.recv(1) == b"x"


def test_bandwidth_is_limited(proxy, connect):
    """20 kB at 50 kB a second take 0.4 s."""
    client = connect()
    proxy.inject(Fault(bytes_s=50_000))
    assert 0.35 < timed(client, bytes(20_000)) < 2


def test_slicing_sends_tiny_segments(proxy, connect, sizes):
    """The server gets 100 bytes in many parts, and all of them."""
    client = connect()
    proxy.inject(Fault(slice_bytes=3))
    assert echo(client, bytes(range(100))) == bytes(range(100))
    assert len(sizes) > 1
    assert sum(sizes) == 100


def test_truncation_ends_a_connection_after_some_bytes(proxy, connect):
    """Of those to the client; a new one gets as many."""
    for client in (connect(), connect()):
        proxy.inject(Fault(truncate_at=40))
        with pytest.raises(EOFError) as caught:
            echo(client, bytes(range(100)))
        assert caught.value.args == (bytes(range(40)),)


def test_reset_ends_old_and_new_connections_by_rst(proxy, connect):
    """Not by an orderly end."""
    client = connect()
    assert echo(client, b"x") == b"x"
    proxy.inject(Fault(reset=True))
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionResetError):
        echo(connect(), b"x")
    proxy.heal()
    assert echo(connect(), b"x") == b"x"


def test_a_connection_closes_slowly(proxy, connect):
    """Its end is passed on later: each way by the delay."""
    client = connect()
    assert echo(client, b"x") == b"x"
    proxy.inject(Fault(slow_close_s=0.2))
    client.shutdown(socket.SHUT_WR)
    begun = time.monotonic()
    assert client.recv(1) == b""
    assert 0.4 <= time.monotonic() - begun < 2


def test_a_server_that_is_gone_refuses(connect):
    """A proxy without a server ends each connection."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        gone = taken.getsockname()[1]
    with Proxy(gone) as proxy:
        client = socket.create_connection((LOOPBACK, proxy.port), timeout=5)
        with pytest.raises((ConnectionError, EOFError)):
            echo(client, b"x")
        client.close()
