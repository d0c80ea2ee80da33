"""The real services, once a session; and a worker on them."""

import models  # noqa: F401 - first: it pins the arithmetic of NumPy, which fakeredis loads

# isort: split
import contextlib
import logging
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
import structlog
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis
from stamina.instrumentation import set_on_retry_hooks

from models.training.bundle_builder import default_bundle
from streams.local.process import LOOPBACK, Process, free_port
from streams.local.stack import local_stack
from streams.operations.deploy import deploy
from streams.synthetic.sample_catalogue import sample

TESTS = Path(__file__).parent
TOOLS = {"helm", "rendered", "kubeconform", "promtool", "compose_go"}
"""Built in Go on a fresh clone."""
HEAVY_FIXTURES = TOOLS | {"stack", "bundle", "goods_folder", "postgres", "page", "fitted"}
"""They start a service or a browser, train, or take minutes on a fresh clone."""
HEAVY_VARIANTS = {"valkey", "seaweedfs", "postgres"}
"""Parameters with which a fixture asks for one of them while it runs."""
HEAVY_FOLDERS = {"training", "networks", "evaluation", "e2e", "chaos"}
"""Their tests train or export networks, or run workers."""


def pytest_addoption(parser):
    """Options of tests/chaos; here, because pytest reads them before it looks into folders."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-seed", type=int, help="repeat a run; a random seed by default")
    group.addoption("--chaos-json", metavar="FILE", help="write the figures there")
    group.addoption("--chaos-scale", type=float, default=1.0, help="number of faults, relative")
    group.addoption("--minutes", type=float, default=60.0, help="of the soak")
    group.addoption("--chaos-minutes", type=float, help="begin no test later; in seeded order")


def pytest_collection_modifyitems(items):
    """Mark what needs more than Python and seconds, so that `make unit` leaves it out."""
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        variants = {value for value in parameters if isinstance(value, str)}
        if (
            HEAVY_FIXTURES.intersection(item.fixturenames)
            or HEAVY_VARIANTS & variants
            or HEAVY_FOLDERS.intersection(item.path.relative_to(TESTS).parts)
        ):
            item.add_marker("heavy")


@pytest.fixture(autouse=True)
def logging_as_before():
    """A command that a test runs in this process configures the logging of all."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    sys.excepthook, threading.excepthook = hooks
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    set_on_retry_hooks(None)


@pytest.fixture(scope="session")
def stack():
    """Kafka, registry, Valkey and SeaweedFS, with topics and schemas deployed."""
    with local_stack(kafka_proxies=[free_port()]) as running:
        deploy(running.settings())
        yield running


@pytest.fixture(scope="session")
def bundle():
    """The packaged model bundle, built the first time."""
    return default_bundle()


@pytest.fixture(scope="session")
def goods_folder():
    """The sample catalogue, fetched the first time."""
    return sample()


@pytest.fixture(params=["fake", "valkey"])
async def redis(request):
    """An empty Redis: the fake, and the real one."""
    if request.param == "fake":
        client = FakeAsyncRedis()
    else:
        client = Redis.from_url(request.getfixturevalue("stack").valkey.url, protocol=3)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def start_worker(stack, bundle):
    """Starts workers, with a bug of some lines of code if given; stopped at the end."""
    with worker_starter(stack, bundle) as start:
        yield start


@contextlib.contextmanager
def worker_starter(stack, bundle):
    """The same for other scopes than a test's."""
    workers = []

    def start(name="screen", *, bug="", **settings):
        port = free_port()
        environment = stack.environment() | {
            "REDLANE_BUNDLE": str(bundle),
            "REDLANE_HEALTH_PORT": str(port),
        }
        environment |= {f"REDLANE_{name.upper()}": value for name, value in settings.items()}
        directory = stack.directory / f"{name}-{port}"
        run = f"{bug}; import runpy; runpy.run_module('streams.cli', run_name='__main__')"
        command = [sys.executable, *(("-c", run) if bug else ("-m", "streams.cli"))]
        worker = Process(
            name,
            command + name.split(),
            directory=directory,
            environment=environment,
            stop_within_s=90,
        )
        workers.append(worker)
        worker.health = f"http://{LOOPBACK}:{port}"
        return worker.start()

    try:
        yield start
    finally:
        for worker in workers:
            worker.stop()


def ready(worker):
    """Whether the worker says that it is ready."""
    with (
        contextlib.suppress(OSError),
        urllib.request.urlopen(f"{worker.health}/readyz", timeout=1),
    ):
        return True
    return False
