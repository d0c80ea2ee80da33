"""docs/integrating.md: its programs end with an alert, its mistakes with the codes that it names."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from schemas import codec
from schemas.topics import ALERTS, ASSESSMENTS, DECLARATIONS, TOPICS
from streams.operations.watch import Watch, until_silent
from streams.synthetic.send import new_run
from tests import java, node
from tests.chaos.verifier import ends
from tests.conftest import ready, worker_starter

GUIDE = Path(__file__).parents[2] / "docs" / "integrating.md"
PROGRAMS = GUIDE.with_suffix("")
CONTEXT = SerializationContext(DECLARATIONS.name, MessageField.VALUE)
LOOK_UP = {"auto.register.schemas": False, "use.latest.version": True}


@pytest.fixture(scope="module")
def screening(stack, bundle):
    """The stack with one worker that screens."""
    with worker_starter(stack, bundle) as start:
        worker = start(dead_letter_share="1.0")
        worker.wait_until(lambda: ready(worker), within_s=90)
        pass_over(stack.settings())
        yield stack


def pass_over(settings):
    """Let the programs' groups begin behind what other tests left, which need not be Avro."""
    places = [
        TopicPartition(*place, end) for place, end in ends(settings, (ASSESSMENTS, ALERTS)).items()
    ]
    for language in ("python", "node", "java"):
        group = {"group.id": f"first-alert-{language}"}
        consumer = Consumer(settings.confluent() | group)
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()


@pytest.fixture
def registry(stack):
    """The registry as everybody reaches it, without the right to register."""
    return SchemaRegistryClient({"url": stack.registry.url})


def python(environment, _):
    return subprocess.run(
        [sys.executable, PROGRAMS / "python" / "first_alert.py"],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=90,
    ).stdout


def in_node(environment, folder):
    packages = json.loads((PROGRAMS / "node" / "package.json").read_text())["dependencies"]
    (folder / "node_modules").symlink_to(
        node.modules(*("@".join(package) for package in packages.items())) / "node_modules"
    )
    program = shutil.copy(PROGRAMS / "node" / "first-alert.mjs", folder)
    return node.run("node", program, cwd=folder, environment=environment)


def in_java(environment, folder):
    return java.run(PROGRAMS / "java", "FirstAlert", cwd=folder, environment=environment)


@pytest.mark.parametrize("program", [python, in_node, in_java])
def test_each_program_sends_a_declaration_and_prints_its_alert(
    screening, registry, program, tmp_path
):
    """As it lies in docs/, with the settings of `redlane up`; and it registers no schema."""
    topics = [topic for topic in TOPICS.values() if topic.schema]
    before = {topic: registry.get_versions(topic.subject) for topic in topics}
    written = program(os.environ | screening.environment(), tmp_path)
    assert re.search(
        r"^(PYTHON|NODE|JAVA)-\d+: lane (yellow|red), risk \d\d%$", written, re.MULTILINE
    )
    assert "Alert, goods item 1: declared 490199, likely 8517" in written
    assert re.search(r"^  code_not_in_text: .+\.$", written, re.MULTILINE)
    assert {topic: registry.get_versions(topic.subject) for topic in topics} == before


if shutil.which("mvn") and shutil.which("javac"):

    @pytest.mark.slow
    def test_maven_runs_the_program_in_java(screening, tmp_path):
        """As the guide says, for who has it."""
        project = shutil.copytree(
            PROGRAMS / "java", tmp_path / "java", ignore=lambda *_: ["target"]
        )
        done = subprocess.run(
            [shutil.which("mvn"), "-q", "-B", "compile", "exec:java"],
            cwd=project,
            env=os.environ | screening.environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert "Alert, goods item 1: declared 490199, likely 8517" in done.stdout, done


def mistakes(registry, run):
    """The guide's mistakes that reach Kafka: name → key and value."""
    serialize = AvroSerializer(registry, conf=LOOK_UP)
    schema_id = registry.get_latest_version(DECLARATIONS.subject).schema_id

    def event(name, **fields):
        item = {"sequence_number": 1, "commodity_code": "640411", "description": "Running shoes"}
        return {"declaration_id": f"{run}-{name}", "goods_items": [item | fields]}

    good = serialize(event("good"), CONTEXT)
    of_another_topic = registry.get_latest_version(ASSESSMENTS.subject).schema_id
    photo = {"uri": "s3://somewhere-else/shoes.jpg", "media_type": "image/jpeg"}
    values = {
        "JSON instead of Avro": json.dumps(event("json")).encode(),
        "Avro without the schema's id": good[codec.PREFIX.size :],
        "An unknown schema id": codec.PREFIX.pack(0, of_another_topic) + good[codec.PREFIX.size :],
        "Bytes of another schema under our id": codec.PREFIX.pack(0, schema_id) + b"\x02x",
        "The wrong key": good,
        "A missing field": {"goods_item": [{}]},
        "A commodity code that is none": event("code", commodity_code="shoes"),
        "No value": None,
        "A photo elsewhere": event("photo", images=[photo]),
    }
    for number, (name, value) in enumerate(values.items()):
        key = f"{run}-{number}"
        written = isinstance(value, dict)
        yield name, key, serialize(value | {"declaration_id": key}, CONTEXT) if written else value


def test_each_mistake_of_the_guide_has_the_code_that_it_names(screening, registry):
    """All that reach Kafka, in one go, and those that the registry refuses."""
    run, seen, names = new_run(), {}, {}
    producer = Producer({"bootstrap.servers": screening.kafka.bootstrap_servers})
    with Watch(screening.settings()) as watch:
        for name, key, value in mistakes(registry, run):
            names[key] = name
            producer.produce(DECLARATIONS.name, key=key, value=value)
        assert producer.flush(30) == 0
        for verdict in until_silent(watch, frozenset(names), silence_s=30):
            lanes = verdict.outcome != "dead_letter"
            seen[names[verdict.declaration_id]] = verdict.degraded if lanes else verdict.reasons
    seen |= {name: (code,) for name, code in refused_by_the_registry(registry)}
    named = dict(re.findall(r"^### (.+): `(\w+)`$", GUIDE.read_text(), re.MULTILINE))
    assert {name: named.get(name) for name in seen} == {
        name: codes[0] for name, codes in seen.items()
    }
    assert seen.keys() == named.keys()


def refused_by_the_registry(registry):
    """The guide's mistakes that reach the registry alone: name → HTTP status or its code."""
    schema = registry.get_latest_version(DECLARATIONS.subject).schema.schema_str
    of_java = schema.replace(
        '"type":"string"', '"type":{"type":"string","avro.java.string":"String"}'
    )
    assert of_java != schema
    own = json.dumps({"type": "record", "name": "Declaration", "fields": []})
    with pytest.raises(SchemaRegistryError) as default:
        AvroSerializer(registry, own)({}, CONTEXT)
    yield "A serializer's default settings", str(default.value.http_status_code)
    conf = {"auto.register.schemas": False}
    with pytest.raises(SchemaRegistryError, match="does not match any schema") as java_string:
        AvroSerializer(registry, of_java, conf=conf)({"declaration_id": "x"}, CONTEXT)
    yield "Java's strings, `avro.java.string`", str(java_string.value.error_code)
    assert AvroSerializer(registry, of_java, conf=LOOK_UP)({"declaration_id": "x"}, CONTEXT)
