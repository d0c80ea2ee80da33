"""Kafka, Redis and object storage with TLS, users and rights; the registry is the session's.

Every component has a user of its own in each; `environment` gives what its process is started with.
"""

import asyncio
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from streams.local.certificates import Authority
from streams.local.kafka import ADMIN, Kafka, Secured
from streams.local.process import LOOPBACK, Process, free_port
from streams.local.seaweedfs import SeaweedFS, identity
from streams.local.stack import BUCKET
from streams.local.valkey import Valkey
from streams.object_storage import ObjectStorage
from streams.operations.access import buckets, components, grant, user_of
from streams.operations.deploy import deploy
from streams.redis import rights
from streams.settings import Settings
from tests.access.tls_proxy import TlsProxy

SETTINGS = Settings()


@dataclass(frozen=True)
class SecuredServices:
    """The services, and how each component connects to them."""

    kafka: Kafka
    redis_port: int
    storage: SeaweedFS
    authority: Authority
    passwords: dict[str, str]
    """User → password, the same in all services."""
    shared: dict[str, str]
    """Settings without users: the registry and the secret keys."""
    registry_token: str

    def environment(self, component, **settings):
        """The settings (REDLANE_…) of a component's process."""
        user = component if component == ADMIN else user_of(component)
        password, ca_file = self.passwords[user], str(self.authority.ca_file)
        return {
            **self.shared,
            "REDLANE_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "REDLANE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "REDLANE_KAFKA_USERNAME": user,
            "REDLANE_KAFKA_PASSWORD": password,
            "REDLANE_KAFKA_CA_FILE": ca_file,
            "REDLANE_REDIS_URL": f"rediss://{user}:{password}@{LOOPBACK}:{self.redis_port}/0",
            "REDLANE_REDIS_CA_FILE": ca_file,
            "REDLANE_S3_ENDPOINT": self.storage.endpoint,
            "REDLANE_S3_ACCESS_KEY_ID": user,
            "REDLANE_S3_SECRET_ACCESS_KEY": password,
            "REDLANE_S3_CA_FILE": ca_file,
            **{f"REDLANE_{name.upper()}": str(value) for name, value in settings.items()},
        }

    def settings(self, component, **more):
        """The same for a client in this process."""
        fields = {k.removeprefix("REDLANE_").lower(): v for k, v in self.environment(component).items()}  # fmt: skip
        return Settings(**fields | more)


@pytest.fixture(scope="session")
def secured(stack, tmp_path_factory):
    """The secured services, with topics, schemas and rights deployed by those who may."""
    directory = tmp_path_factory.mktemp("secured")
    authority = Authority(directory / "tls")
    users = {component: user_of(component) for component in components()}
    passwords = {user: secrets.token_hex() for user in (ADMIN, *users.values())}
    kafka = Kafka(directory / "kafka", secured=Secured(authority, passwords))
    lines = [rights.line(name, users[name], passwords[users[name]]) for name in rights.KEYS]
    valkey = Valkey(directory / "valkey", users=lines)
    identities = [
        identity(users[name], users[name], passwords[users[name]], [f"{action.title()}:{bucket}" for action, names in actions.items() for bucket in names])
        for name, actions in buckets(SETTINGS).items()
    ]  # fmt: skip
    storage = SeaweedFS(directory / "storage", bucket=BUCKET, users=identities, certificate=authority.issue("storage"))  # fmt: skip
    plain = stack.environment()
    shared = {name: plain[f"REDLANE_{name}"] for name in ("REGISTRY_URL", "PSEUDONYM_KEY", "SELECTION_KEY", "S3_REGION")}  # fmt: skip
    started = [kafka, valkey, storage]
    try:
        for service in started:
            service.start()
        for service in started:
            service.wait()
        for bucket in (SETTINGS.s3_explanations_bucket, SETTINGS.s3_intake_bucket):
            asyncio.run(create_bucket(storage, authority, bucket))
        with TlsProxy(valkey.port, authority.issue("redis")) as proxy:
            running = SecuredServices(kafka, proxy.port, storage, authority, passwords, {f"REDLANE_{name}": value for name, value in shared.items()}, stack.registry.token)  # fmt: skip
            grant(running.settings(ADMIN), say=lambda _: None)
            token = SecretStr(running.registry_token)
            deploy(running.settings("deploy", registry_token=token), say=lambda _: None)
            yield running
    finally:
        for service in started:
            service.stop()


async def create_bucket(storage, authority, name):
    """SeaweedFS creates a bucket with the first object, if who writes is an administrator."""
    settings = Settings(
        s3_endpoint=storage.endpoint,
        s3_access_key_id=storage.access_key,
        s3_secret_access_key=storage.secret_key,
        s3_ca_file=authority.ca_file,
    )
    client = ObjectStorage(settings)
    await client.bucket(name).write(".ready", b"ready", media_type="text/plain")
    await client.close()


@pytest.fixture
def start(secured, bundle, tmp_path):
    """Starts processes as a component's user; they end with the test."""
    started = []

    def start(component, *words, **settings):
        port = free_port()
        more = {"bundle": bundle, "health_port": port} | settings
        command = [sys.executable, "-m", "streams.cli", *(words or [component])]
        process = Process(
            component,
            [*command, *(["--port", str(port)] if component == "console" else [])],
            directory=tmp_path,
            environment=secured.environment(component, **more),
            stop_within_s=90,
        )
        process.health = f"http://{LOOPBACK}:{port}"
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.stop()
        print(process.tail())


@pytest.fixture
def command(secured, bundle):
    """Runs a command as a component's user, to its end."""

    def run(component, *words, **settings):
        return subprocess.run(
            [sys.executable, "-m", "streams.cli", *words],
            check=False,
            env=os.environ | secured.environment(component, bundle=bundle, **settings),
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
