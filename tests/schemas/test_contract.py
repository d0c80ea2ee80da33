"""The contract: schemas, examples, topics and generated files agree."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from avro.schema import parse

from schemas import codec, compat, examples, generate
from schemas.reasons import TEXTS, Reason
from schemas.topics import TOPICS

STEMS = sorted(generate.event_schemas())
EXAMPLES = dict(examples.examples())


def records_of(stem):
    return list(generate.records(generate.event_schemas()[stem]))


@pytest.mark.parametrize("stem", STEMS)
def test_every_event_has_an_example(stem):
    """An event without an example is not documented."""
    assert [name for name in EXAMPLES if name.startswith(f"{stem}/")]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_survives_the_wire(name):
    """Encoding and decoding an example gives the same record."""
    record = EXAMPLES[name]
    writers = {7: codec.schema(record.SCHEMA)}
    assert codec.decode(codec.encode(record, 7), type(record), writers) == record


@pytest.mark.parametrize("stem", STEMS)
def test_every_field_is_defaulted_and_tells_its_unit(stem):
    """FULL_TRANSITIVE needs a default; a reader needs the unit."""
    units = ("No unit.", "Unit:", "Fraction", "From 1.", "-1")
    for record in records_of(stem):
        for field in record["fields"]:
            assert "default" in field, (record["name"], field["name"])
            assert any(unit in field["doc"] for unit in units), (record["name"], field["name"])


def test_declared_data_elements_name_their_standard():
    """What a declarant declares has its WCO name."""
    ours = {"ImageReference", "images", "product_title", "product_url", "data_set"}
    for record in records_of("declaration"):
        for field in record["fields"]:
            if record["name"] not in ours and field["name"] not in ours:
                assert field["doc"].startswith("WCO: "), field["name"]


def test_topics_name_existing_schemas_and_writers():
    """A topic is a value: name, key and schema together."""
    for topic in TOPICS.values():
        assert topic.schema is None or topic.schema in STEMS
        assert topic.writers
        assert topic.compacted != bool(topic.retention_days)


def test_every_reason_code_has_a_text():
    """A code without a text is no reason for an inspector."""
    assert set(Reason) == set(TEXTS)


@pytest.mark.parametrize("module", ["schemas.generate --check", "schemas.compat"])
def test_generated_files_and_compatibility_hold(module):
    """What is committed is what the sources say, and every version reads every other."""
    subprocess.run([sys.executable, "-m", *module.split()], check=True)


def test_a_breaking_change_is_found_in_both_directions():
    """Dropping a default breaks readers of old data; adding a field without one too."""
    old = json.loads(codec.schema_text("tariff-measure"))
    new = json.loads(codec.schema_text("tariff-measure"))
    new["fields"].append({"name": "added", "type": "string", "doc": "No unit."})
    problems = compat.breaks({"old": parse(json.dumps(old)), "new": parse(json.dumps(new))})
    assert [problem.partition(":")[0] for problem in problems] == ["new cannot read what old wrote"]


def test_schemas_import_no_kafka_and_no_torch():
    """The contract can be used without the rest."""
    code = (
        "import sys, schemas.codec, schemas.records, schemas.rules, schemas.topics;"
        "print([m for m in ('torch', 'faust', 'confluent_kafka', 'models', 'streams')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def test_imports_go_one_way():
    """Imports go schemas ← models ← streams, never back."""
    root = Path(generate.__file__).parent.parent
    forbidden = {"schemas": ("models", "streams"), "models": ("streams",)}
    for package, others in forbidden.items():
        for path in (root / package).rglob("*.py"):
            lines = [line.split() for line in path.read_text().splitlines()]
            imported = [
                words[1].partition(".")[0]
                for words in lines
                if words[:1] in (["import"], ["from"]) and len(words) > 1
            ]
            assert not set(imported) & set(others), path
