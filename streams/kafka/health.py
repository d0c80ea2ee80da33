"""/livez, /readyz and /metrics: whether events make progress, not whether a port is open."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams import metrics
from streams.kafka.acker import Acker
from streams.settings import NotConfigured


class Stalled(Exception):  # noqa: N818 - says what it is
    """An event has made no progress for too long: only a restart helps."""


class CutOff(Exception):  # noqa: N818 - says what it is
    """No broker has answered for too long."""


def check_free(host: str, port: int, settings: str) -> None:
    """Check that an address can be listened on, before anything is loaded or read.

    Args:
        host: address of this machine.
        port: 0 for any free one.
        settings: that name the two.

    Raises:
        NotConfigured: it cannot.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            pass
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]
        raise NotConfigured(
            f"{host}:{port} cannot be listened on ({why}): stop what uses it, or set {settings}."
        ) from error


@dataclass(slots=True)
class Health:
    """The health of a worker."""

    acker: Acker
    assigned: Callable[[], int]
    """Number of partitions assigned to this worker."""
    stall_limit_s: float
    model_warm: bool = False
    cut_off_s: Callable[[], float] = lambda: 0.0
    """For how long no broker has answered. Unit: s."""
    cut_off_limit_s: float = 60.0

    def check_progress(self) -> None:
        """Refresh the gauges.

        Raises:
            Stalled: an event has made no progress for longer than the limit.
            CutOff: no broker has answered for longer than the limit.
        """
        metrics.UNDER_WAY.set(self.acker.under_way)
        metrics.OLDEST_SECONDS.set(self.acker.oldest_age)
        metrics.ASSIGNED.set(self.assigned())
        silence = self.acker.longest_silence
        if silence > self.stall_limit_s:
            raise Stalled(f"An event has made no progress for {silence:.0f} s.")
        cut_off = self.cut_off_s()
        if cut_off > self.cut_off_limit_s:
            raise CutOff(f"Kafka has not answered for {cut_off:.0f} s.")

    async def livez(self, _request: web.Request) -> web.Response:
        """Answer 200 while events make progress and Kafka is within reach, else 503."""
        try:
            self.check_progress()
        except (Stalled, CutOff) as problem:
            return web.Response(status=503, text=f"{problem}\n")
        return web.Response(text="live\n")

    async def readyz(self, _request: web.Request) -> web.Response:
        """Answer 200 when the model is warm, partitions are assigned and Kafka answers."""
        if not self.model_warm:
            return web.Response(status=503, text="The model is not warm.\n")
        if cut_off := self.cut_off_s():
            return web.Response(status=503, text=f"Kafka has not answered for {cut_off:.0f} s.\n")
        if not self.assigned():
            return web.Response(status=503, text="No partition is assigned yet.\n")
        return web.Response(text="ready\n")

    async def metrics(self, _request: web.Request) -> web.Response:
        """Answer with the metrics in Prometheus' text format."""
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def serve(self, host: str, port: int) -> web.AppRunner:
        """Start serving; the runner's `addresses` name the port, its `cleanup` stops it."""
        app = web.Application()
        app.router.add_get("/livez", self.livez)
        app.router.add_get("/readyz", self.readyz)
        app.router.add_get("/metrics", self.metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        return runner
