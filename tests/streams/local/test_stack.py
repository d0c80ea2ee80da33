"""The local stack: real services, on the loopback address only, gone when we are."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from pydantic import SecretStr
from typer.testing import CliRunner

from schemas import codec
from schemas.topics import DECLARATIONS, TOPICS
from streams.cli import app
from streams.kafka.registry import Registry, RegistryFailed
from streams.local import preflight
from streams.local.kafka import Kafka
from streams.local.process import LOOPBACK, Process, ServiceFailed, free_port
from streams.operations import doctor
from streams.operations.deploy import deploy
from streams.settings import Settings


def children():
    return [p for p in psutil.Process().children(recursive=True) if p.is_running()]


def test_nothing_listens_outside_the_loopback_address(stack):
    """Not Kafka, not the registry's management, not one of SeaweedFS' many ports."""
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for child in children()
        for connection in child.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {LOOPBACK}


def test_the_registry_refuses_a_breaking_change(stack):
    """FULL_TRANSITIVE is in force: a field without a default is a conflict."""
    token = stack.settings().registry_token.get_secret_value()
    client = Registry(stack.registry.url, token=token)._client
    broken = json.loads(codec.schema_text("declaration"))
    broken["fields"].append({"name": "added", "type": "string", "doc": "No unit."})
    with pytest.raises(SchemaRegistryError) as caught:
        client.register_schema(DECLARATIONS.subject, Schema(json.dumps(broken), "AVRO"))
    assert caught.value.http_status_code == 409


def test_only_deployment_may_register_schemas(stack):
    """A producer whose serializer has its default settings is refused; reading needs no right."""
    client = SchemaRegistryClient({"url": stack.registry.url})
    serializer = AvroSerializer(client, '{"type": "string"}')
    for subject in (DECLARATIONS.name, "a-topic-of-nobody"):
        with pytest.raises(SchemaRegistryError) as caught:
            serializer("text", SerializationContext(subject, MessageField.VALUE))
        assert caught.value.http_status_code == 401
    with pytest.raises(SchemaRegistryError) as caught:
        client.set_compatibility(DECLARATIONS.subject, "NONE")
    assert caught.value.http_status_code == 401
    with pytest.raises(SchemaRegistryError) as caught:
        client.delete_subject(DECLARATIONS.subject)
    assert caught.value.http_status_code == 401
    assert DECLARATIONS.subject in client.get_subjects()
    without = stack.settings().model_copy(update={"registry_token": SecretStr("")})
    with pytest.raises(RegistryFailed, match="REDLANE_REGISTRY_TOKEN"):
        deploy(without, say=lambda _: None)


def test_the_doctor_finds_a_whole_stack_well(stack, bundle):
    """Every part is ok, with a detail."""
    settings = stack.settings().model_copy(update={"bundle": bundle})
    findings = doctor.examine(settings)
    assert [(finding.part, finding.problem) for finding in findings] == [
        (part, None)
        for part in (
            "Kafka",
            "schema registry",
            "object storage",
            "Redis",
            "secret keys",
            "model bundle",
        )
    ]
    assert f"all {len(TOPICS)} topics" in findings[0].detail
    assert "Everybody may register" not in findings[1].detail


def test_the_doctor_names_topics_whose_senders_set_the_time(stack):
    """Such as those that somebody created without `redlane deploy`."""
    admin = AdminClient(stack.settings().confluent())

    def dated_by(timestamp_type):
        entry = ConfigEntry(
            "message.timestamp.type",
            timestamp_type,
            incremental_operation=AlterConfigOpType.SET,
        )
        topic = ConfigResource(ResourceType.TOPIC, "declarations", incremental_configs=[entry])
        admin.incremental_alter_configs([topic])[topic].result()

    dated_by("CreateTime")
    try:
        problem = doctor.examine(stack.settings())[0].problem
    finally:
        dated_by("LogAppendTime")
    assert "declarations" in problem
    assert "message.timestamp.type=LogAppendTime" in problem
    assert doctor.examine(stack.settings())[0].problem is None


def test_the_doctor_says_what_to_do_where_nothing_runs(tmp_path):
    """Every part fails, and each has a remedy."""
    nowhere = f"{LOOPBACK}:{free_port()}"
    settings = Settings(
        kafka_bootstrap_servers=nowhere,
        registry_url=f"http://{nowhere}",
        redis_url=f"redis://{nowhere}/0",
        s3_endpoint=f"http://{nowhere}",
        s3_access_key_id="key",
        s3_secret_access_key="secret",  # noqa: S106 - of nothing
        bundle=tmp_path,
    )
    for finding in doctor.examine(settings):
        assert finding.problem, finding.part
        assert "REDLANE_" in finding.remedy


@pytest.mark.parametrize("command", ["screen", "learn"])
def test_a_worker_without_its_secret_keys_says_which(command, monkeypatch):
    """Before it asks any service."""
    monkeypatch.delenv("REDLANE_PSEUDONYM_KEY", raising=False)
    done = CliRunner().invoke(app, [command])
    assert done.exit_code == 2
    assert "REDLANE_PSEUDONYM_KEY" in done.output


@pytest.mark.heavy
def test_three_brokers_outlive_one(tmp_path):
    """With one of three killed, acks=all still succeeds."""
    kafka = Kafka(tmp_path, ports=(0, 0, 0))
    try:
        kafka.start().wait()
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "acks": "all"})
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        admin.create_topics([NewTopic("kept", 1, 3)])["kept"].result()
        kafka.brokers[2].kill()
        errors = []
        for number in range(20):
            producer.produce("kept", str(number), on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(60) == 0
        assert errors == [None] * 20
    finally:
        kafka.stop()


def test_a_killed_parent_leaves_no_process(tmp_path):
    """A service ends even if its parent gets SIGKILL."""
    code = (
        "import sys, time; from pathlib import Path; from streams.local.process import Process\n"
        f"p = Process('sleep', ['sleep', '300'], directory=Path({str(tmp_path)!r})).start()\n"
        "print(p.pid, flush=True); time.sleep(300)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    child.wait(10)
    assert not child.is_running()


def test_a_service_that_exits_shows_its_log(tmp_path):
    """The message has the reason, so nobody must open a file."""
    process = Process("broken", ["sh", "-c", "echo no such setting; exit 3"], directory=tmp_path)
    with pytest.raises(ServiceFailed, match=r"(?s)broken exited with 3.*no such setting"):
        process.start().wait_until(lambda: False, within_s=10)


def test_preflight_names_every_problem_at_once(tmp_path, monkeypatch):
    """A taken port and a full disk: both are named, with the setting to change."""
    monkeypatch.setattr(preflight, "NEEDED_MB", 10**9)
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(preflight.NotReady) as caught:
            preflight.check(tmp_path, {"--kafka-port": port, "--redis-port": 0})
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "REDLANE_CACHE" in lines[0]
    assert f"Port {port} of 127.0.0.1 is taken" in lines[1]
    assert "--kafka-port" in lines[1]


def test_an_unsupported_platform_is_named(tmp_path, monkeypatch):
    """The message names what is supported."""
    monkeypatch.setattr("platform.system", lambda: "Plan9")
    (problem,) = preflight.problems(tmp_path, {})
    assert problem.startswith("Plan9 x86_64 is not supported")
    assert "Linux x86_64" in problem


@pytest.mark.usefixtures("bundle")  # so that `redlane up` need not build one
def test_interrupting_up_leaves_no_process_behind(tmp_path):
    """`redlane up` writes its settings for the owner alone, and SIGINT ends every service."""
    env = tmp_path / "redlane.env"
    command = [sys.executable, "-m", "streams.cli", "up", "--env-file", str(env)]
    command += [f"--{name}-port=0" for name in ("kafka", "registry", "redis", "s3")]
    up = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not env.exists() or not env.read_text():
            assert up.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        started = psutil.Process(up.pid).children(recursive=True)
        assert len(started) == 4
        assert env.stat().st_mode & 0o777 == 0o600
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
        assert [process for process in started if process.is_running()] == []
    finally:
        up.kill()
        up.wait()
