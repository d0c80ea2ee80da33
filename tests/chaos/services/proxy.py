"""A TCP proxy on the loopback address that does to connections what networks do."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from dataclasses import dataclass, field

from streams.local.process import LOOPBACK, free_port

CHUNK = 1 << 16
TO_SERVER, TO_CLIENT = "to server", "to client"
SEGMENT_S = 0.001
"""Between two tiny segments, or the kernel would join them."""
RST_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing sends RST."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of connections and bytes; nothing by default."""

    down: bool = False
    """Connections are refused, and those that there are end."""
    reset: bool = False
    """Connections end with RST: those that there are at once, new ones with their first bytes."""
    held: frozenset[str] = frozenset()
    """Directions whose bytes are kept back until the fault is over, as TCP would send them again."""
    latency_s: float = 0.0
    """Delay of all bytes, in both directions."""
    jitter_s: float = 0.0
    """Further delay of up to so much, by chance. Bytes keep their order."""
    bytes_s: int = 0
    """Most bytes a second in each direction of a connection; 0 for no limit."""
    slice_bytes: int = 0
    """Bytes are sent in segments of so many; 0 for as they come."""
    truncate_at: int | None = None
    """A connection ends after so many more bytes to the client."""
    slow_close_s: float = 0.0
    """Delay of the end of a connection."""


NOTHING = Fault()


class Cut(Exception):  # noqa: N818 - says what happened
    """A fault ended this connection."""


class Proxy:
    """Forwards connections to a port of the loopback address; a context manager."""

    def __init__(self, target, *, port=0, dice=None):
        """Take the port that it forwards to, its own, and what jitter is drawn from."""
        self.port = port or free_port()
        self.fault = NOTHING
        self.dice = dice or random.Random()
        self.connections = set()
        self.changed = asyncio.Event()
        self._target = target
        self._server = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self):
        self._thread.start()
        self.inject(NOTHING)
        return self

    def __exit__(self, *_):
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def inject(self, fault):
        """Begin a fault, in place of the one before."""
        self._call(self._begin(fault))

    def heal(self):
        """End the fault."""
        self.inject(NOTHING)

    def _call(self, coroutine):
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _begin(self, fault):
        self.fault = fault
        self.changed.set()
        self.changed = asyncio.Event()
        if fault.down or fault.reset:
            for connection in list(self.connections):
                connection.end()
        if fault.down and self._server is not None:
            self._server.close()
            self._server = None
        elif not fault.down and self._server is None:
            self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)

    async def _close(self):
        await self._begin(Fault(down=True))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader, writer):
        try:
            server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(
            self,
            Line(self, TO_SERVER, reader, server_writer),
            Line(self, TO_CLIENT, server_reader, writer),
        )
        self.connections.add(connection)
        with contextlib.suppress(asyncio.CancelledError):  # by a fault; nobody awaits this task
            await connection.run()
        self.connections.discard(connection)


class Connection:
    """Two lines, which end together when one is cut."""

    def __init__(self, proxy, *lines):
        self._proxy = proxy
        self._lines = lines
        self._task = asyncio.current_task()

    async def run(self):
        """Forward until both sides have ended, or one is gone."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for line in self._lines:
                    tasks.create_task(line.read())
                    tasks.create_task(line.write())
        except* (OSError, Cut):
            pass  # the other side learns of it, below
        finally:
            self._abort()

    def end(self):
        """End it at once; what is under way is lost."""
        self._abort()
        self._task.cancel()

    def _abort(self):
        for line in self._lines:
            sock = line.writer.get_extra_info("socket")
            if self._proxy.fault.reset and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
            line.writer.transport.abort()


@dataclass(slots=True)
class Line:
    """One direction of a connection."""

    proxy: Proxy
    way: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    queue: asyncio.Queue = field(default_factory=lambda: asyncio.Queue(64))
    """Bytes that are delayed, each with the time at which they go on; empty ones for the end."""

    async def read(self):
        """Take bytes until the end, and give each chunk its time."""
        loop, due = asyncio.get_running_loop(), 0.0
        while data := await self.reader.read(CHUNK):
            fault = self.proxy.fault
            if fault.reset:
                raise Cut
            delay = fault.latency_s + self.proxy.dice.uniform(0, fault.jitter_s)
            due = max(due, loop.time() + delay)
            await self.queue.put((due, data))
        await self.queue.put((max(due, loop.time() + self.proxy.fault.slow_close_s), b""))

    async def write(self):
        """Send them on."""
        loop, cutting, sent = asyncio.get_running_loop(), NOTHING, 0
        while True:
            due, data = await self.queue.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                await self._released()
                self.writer.write_eof()
                return
            while data:
                await self._released()
                fault = self.proxy.fault
                if fault is not cutting:
                    cutting, sent = fault, 0
                part = data[: self._most(fault, sent)]
                self.writer.write(part)
                await self.writer.drain()
                data, sent = data[len(part) :], sent + len(part)
                if self.way == TO_CLIENT and sent == fault.truncate_at:
                    raise Cut
                pause = SEGMENT_S if fault.slice_bytes else 0.0
                await asyncio.sleep(len(part) / fault.bytes_s if fault.bytes_s else pause)

    async def _released(self):
        while self.way in self.proxy.fault.held:
            await self.proxy.changed.wait()

    def _most(self, fault, sent):
        """Return how many bytes may go at once."""
        most = fault.slice_bytes or CHUNK
        if fault.bytes_s:
            most = min(most, max(1, fault.bytes_s // 20))
        if fault.truncate_at is not None and self.way == TO_CLIENT:
            most = min(most, fault.truncate_at - sent)
        return most
