"""Who is not let in is told so: one line with what to do, an exit status, no secret, no hang."""

import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from confluent_kafka.admin import AclBindingFilter, AdminClient
from structlog.testing import capture_logs
from typer.testing import CliRunner

from schemas.topics import INSPECTION_OUTCOMES
from streams.cli import app
from streams.evidence.embedding_cache import EmbeddingCache
from streams.kafka.delivery import Deliveries, producer
from streams.local.certificates import Authority
from streams.local.kafka import ADMIN
from streams.local.process import LOOPBACK, free_port
from streams.object_storage import Denied, ObjectStorage
from streams.operations.access import acl, grant, rights
from streams.redis.client import redis_client
from tests.access.tls_proxy import TlsProxy
from tests.conftest import ready

LONGEST_S = 20
COMMANDS = (
    "learn",
    "console --demo-user ann",
    "dead-letters list",
    *(
        pytest.param(words, marks=pytest.mark.slow)
        for words in ("deploy", "doctor", "profile list")
    ),
)
USER = {"dead-letters list": "dead-letters", "profile list": "intelligence service"}
WRONG = "a-wrong-secret"
EXPIRED = timedelta(days=-1)
CREDENTIALS = "check REDLANE_KAFKA_USERNAME and REDLANE_KAFKA_PASSWORD"
CERTIFICATES = "check REDLANE_KAFKA_CA_FILE, and when the certificates of both sides expire"


@pytest.fixture
def denied(secured, tmp_path):
    """Cases: name → settings that Kafka refuses, and what the operator is told."""
    elsewhere = Authority(tmp_path / "elsewhere")
    certificate, key = secured.authority.issue("redlane-learn", valid=EXPIRED)
    mutual = {
        "kafka_security_protocol": "SSL",
        "kafka_bootstrap_servers": secured.kafka.mutual_servers,
    }
    with TlsProxy(free_port(), secured.authority.issue("expired", valid=EXPIRED)) as expired:
        yield {
            "wrong password": ({"kafka_password": WRONG}, CREDENTIALS),
            "unknown user": ({"kafka_username": "nobody"}, CREDENTIALS),
            "unknown authority": ({"kafka_ca_file": elsewhere.ca_file}, CERTIFICATES),
            "expired certificate of the server": (
                {"kafka_bootstrap_servers": f"{LOOPBACK}:{expired.port}"},
                CERTIFICATES,
            ),
            "expired certificate of the client": (
                mutual | {"kafka_certificate_file": certificate, "kafka_key_file": key},
                CERTIFICATES,
            ),
            "no certificate": (mutual, CERTIFICATES),
        }


def invoke(secured, monkeypatch, words, component, **settings):
    """Run a command in this process; return its exit status and all that it printed."""
    more = {"log_level": "ERROR", "health_port": free_port()} | settings
    for name, value in secured.environment(component, **more).items():
        monkeypatch.setenv(name, value)
    port = ["--port", str(free_port())] if words.startswith("console") else []
    start = time.monotonic()
    done = CliRunner().invoke(app, [*words.split(), *port])
    assert time.monotonic() - start < LONGEST_S
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize("words", COMMANDS)
def test_who_is_refused_is_told_in_one_line(secured, denied, monkeypatch, words):
    """By every command that uses Kafka, within seconds."""
    component = USER.get(words, words.split()[0])
    for case, (settings, remedy) in denied.items():
        status, output = invoke(secured, monkeypatch, words, component, **settings)
        told = [line for line in output.splitlines() if remedy in line]
        assert (status != 0, len(told)) == (True, 1), (case, output)
        assert "Traceback" not in output
        assert not [secret for secret in (*secured.passwords.values(), WRONG) if secret in output]  # fmt: skip
        if words != "doctor":  # which examines the other services too
            assert output.splitlines() == told, (case, output)


@pytest.mark.parametrize("words", ["learn", "console --demo-user ann", "doctor"])
def test_a_user_with_other_rights_is_told_which_are_missing(secured, monkeypatch, words):
    """A component does not begin what it may not finish."""
    component = words.split()[0]
    redis_url = secured.environment("learn")["REDLANE_REDIS_URL"]
    status, output = invoke(secured, monkeypatch, words, "customs IT", redis_url=redis_url)
    (told,) = [line for line in output.splitlines() if "Kafka does not let" in line]
    assert status != 0
    assert "redlane-customs-it" in told
    assert f"as `{component}` does" in told
    assert "redlane deploy --acls" in output


def test_the_broker_logs_who_was_denied(secured, denied, monkeypatch):
    """For those who watch over the installation."""
    invoke(secured, monkeypatch, "learn", "learn", **denied["wrong password"][0])
    producing = Deliveries(producer(secured.settings("learn")))
    producing.put("alerts", value=b"x")
    with pytest.raises(Exception, match="authorization failed"):
        producing.wait()
    log = secured.kafka.brokers[0].log.read_text()
    assert "Failed authentication" in log
    assert "User:redlane-learn is Denied operation" in log


@pytest.mark.parametrize("resource", ["group", pytest.param("topic", marks=pytest.mark.slow)])
def test_a_worker_that_loses_a_right_ends_and_says_why(secured, start, resource):
    """The client of Faust, which is another than the one that checks at the start."""
    worker = start("learn")
    worker.wait_until(lambda: ready(worker), within_s=60)
    with revoked(secured, "learn", resource, "read"):
        events = Deliveries(producer(secured.settings(ADMIN)))
        events.put(INSPECTION_OUTCOMES.name, key=b"x", value=b"nonsense")
        events.wait()
        deadline = time.monotonic() + 60
        while worker.returncode is None:
            assert time.monotonic() < deadline, worker.tail()
            time.sleep(0.1)
    log = worker.log.read_text()
    assert worker.returncode == 1
    assert "Traceback" not in log, log
    assert "redlane deploy --acls" in log


@contextmanager
def revoked(secured, component, resource, operation):
    """Takes rights away meanwhile."""
    settings = secured.settings(ADMIN)
    admin = AdminClient(settings.confluent())
    for right in rights(settings):
        if (right.component, right.resource, right.operation) == (component, resource, operation):
            one = acl(right)
            found = AclBindingFilter(one.restype, one.name, one.resource_pattern_type, one.principal, one.host, one.operation, one.permission_type)  # fmt: skip
            for future in admin.delete_acls([found]).values():
                assert future.result()
    yield
    grant(settings, say=lambda _: None)


@pytest.mark.parametrize("case", ["password", "authority"])
def test_learning_does_not_begin_without_redis(secured, monkeypatch, tmp_path, case):
    """It does nothing else than to write there."""
    settings = {
        "password": {
            "redis_url": f"rediss://redlane-learn:{WRONG}@{LOOPBACK}:{secured.redis_port}"
        },
        "authority": {"redis_ca_file": Authority(tmp_path).ca_file},
    }[case]
    status, output = invoke(secured, monkeypatch, "learn", "learn", **settings)
    (told,) = output.splitlines()
    assert status == 2
    assert "REDLANE_REDIS_" in told
    assert WRONG not in told


async def test_a_denied_redis_is_told_and_gone_without(secured):
    """With what to check: it degrades verdicts for as long as nobody does."""
    address = f"{LOOPBACK}:{secured.redis_port}"
    cases = {
        f"rediss://redlane-screen:wrong-secret@{address}": "REDLANE_REDIS_URL",
        f"rediss://redlane-doctor:{secured.passwords['redlane-doctor']}@{address}": "--print-acls",
    }
    for url, remedy in cases.items():
        await gone_without(secured.settings("screen", redis_url=url), remedy)


async def test_a_redis_of_an_unknown_authority_is_told_and_gone_without(secured, tmp_path):
    """Somebody else may answer there."""
    elsewhere = Authority(tmp_path).ca_file
    await gone_without(secured.settings("screen", redis_ca_file=elsewhere), "REDLANE_REDIS_CA_FILE")


async def gone_without(settings, remedy):
    redis = redis_client(settings)
    cache = EmbeddingCache(redis, ttl=timedelta(days=1), pause_s=5)
    with capture_logs() as logs:
        assert await cache.get(["embedding:2:e:x"], 4) == {}
    await redis.aclose()
    (told,) = logs
    assert told["log_level"] == "error"
    assert remedy in told["remedy"]
    assert not [secret for secret in (*settings.redis_url.get_secret_value().split(":")[2:],) if secret in str(logs)]  # fmt: skip


async def test_a_storage_that_refuses_is_told_once(secured, tmp_path):
    """Each photo would meet it."""
    elsewhere = Authority(tmp_path).ca_file
    for settings, remedy in (
        (secured.settings("screen", s3_secret_access_key=WRONG), "REDLANE_S3_ACCESS_KEY_ID"),
        (secured.settings("screen", s3_ca_file=elsewhere), "REDLANE_S3_CA_FILE"),
    ):
        storage = ObjectStorage(settings)
        with capture_logs() as logs:
            for _ in range(3):
                with pytest.raises(Denied):
                    await storage.bucket("goods-photos").read("none", max_bytes=1)
        await storage.close()
        (told,) = logs
        assert told["log_level"] == "error"
        assert remedy in told["remedy"]
