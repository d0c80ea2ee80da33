"""Borders that take bytes or text alone: events in Avro and JSON, goods texts, settings."""

import math
import os
from datetime import timedelta
from unittest.mock import patch

import numpy as np
from fakeredis import FakeAsyncRedis

from models.encoding.markup import shown
from models.encoding.ngrams import hashed
from models.encoding.text import MAX_CHARACTERS, normalise
from models.risk.vagueness import texts_to_read, vague
from schemas import codec, json_form, rules
from schemas.codec import Undecodable
from schemas.examples import EVENTS, examples
from schemas.json_form import Malformed
from schemas.records import Declaration, GoodsItem, InspectionOutcome
from streams.pseudonym import pseudonym
from streams.selection.capacity import Capacity
from streams.settings import NotConfigured, Settings
from tests.fakes import FakeScorer
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import target

KINDS = tuple(EVENTS.values())
WRITERS = {7: codec.schema("declaration")} | {
    number: codec.schema(kind.SCHEMA) for number, kind in enumerate(KINDS, 10)
}
EXAMPLES = tuple(record for _, record in examples())
CHAPTERS = np.arange(1, 98)
ALIKE = np.full(97, 1 / 97, np.float32)


@target("codec", "decoded", weight=8)
def values(choices: Choices) -> str:
    """A value of a topic."""
    kind = choices.pick(KINDS)
    number = 10 + KINDS.index(kind)
    record = mutations.record(choices, kind)
    value = mutations.wire(choices, kind, record, choices.pick((number, number, number, 7, 99)))
    if choices.one_in(2):
        value = mutations.damaged(choices, value)
    try:
        decoded = codec.decode(value, kind, WRITERS)
        if isinstance(decoded, Declaration):
            decoded = rules.check(decoded, decoded.declaration_id.encode())
        if isinstance(decoded, InspectionOutcome):
            rules.check_outcome(decoded, decoded.declaration_id.encode())
    except Undecodable as undecodable:
        return undecodable.reason
    assert codec.decode(codec.encode(decoded, number), kind, WRITERS) == decoded
    return "decoded"


@target("json", "read", "malformed", weight=6)
def event_in_json(choices: Choices) -> str:
    """An event as a person writes it, and `redlane assess` reads it."""
    example = choices.pick(EXAMPLES)
    datum = (
        example.to_avro()
        if choices.one_in(2)
        else mutations.record(choices, type(example)).to_avro()
    )
    written = mutations.json_text(choices, _text(datum))
    try:
        record = json_form.read(written, type(example))
    except Malformed as malformed:
        assert len(str(malformed)) < 500
        return "malformed"
    value = codec.encode(record, 7) if _is_finite(record) else b""
    if value:
        codec.decode(value, type(example), {7: codec.schema(example.SCHEMA)}, 1 << 30)
    return "read"


def _text(value):
    if isinstance(value, dict):
        return {name: _text(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_text(each) for each in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _is_finite(record):
    return codec._is_finite(record.to_avro())


@target("text", "read", "nothing to read", weight=6)
def goods_text(choices: Choices) -> str:
    """The texts of a goods item."""
    texts = [mutations.text(choices, most=900_000) for _ in range(2)]
    if choices.one_in(2):
        texts[0] = "".join(
            choices.pick((*mutations.PIECES, "<", ">", "</", "&", ";", "-->"))
            for _ in range(choices.below(3000))
        )
    item = GoodsItem(description=texts[0], product_title=texts[1])
    normal = normalise(item.description)
    assert len(normal) <= MAX_CHARACTERS
    shown(item.description[:4096])
    hashed(normal)
    vague(item.description, ALIKE, CHAPTERS)
    pseudonym(b"key", f"name {item.product_title[:4096]}")
    return "read" if texts_to_read(item).first else "nothing to read"


NAMES = tuple(f"REDLANE_{name.upper()}" for name in Settings.model_fields)
PLAIN = {
    "REDLANE_CAPACITY": '{"yellow": 0.08, "red": 0.02, "random": 0.01, "offices": {"BEANR000": {"yellow": 0.5, "red": 0.1}}}',
    "REDLANE_CONSOLE_ROLES": '{"redlane-viewer": "viewer"}',
    "REDLANE_S3_ENDPOINT": "http://[::1]:8333/x",
    "REDLANE_KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2",
    "REDLANE_REDIS_URL": "rediss://user:password@host:6379/0",
    "REDLANE_CONSOLE_TIME_ZONE": "Europe/Brussels",
}


@target("settings", "configured", "not configured", weight=5)
def settings(choices: Choices) -> str:
    """The environment."""
    given = {"REDLANE_PSEUDONYM_KEY": "p", "REDLANE_SELECTION_KEY": "s"}
    for _ in range(1 + choices.below(3)):
        name = choices.pick(NAMES)
        plain = PLAIN.get(name, "1")
        hostile = (
            lambda plain=plain: mutations.damaged(choices, plain.encode()),
            lambda: mutations.text(choices, most=100_000).encode(),
            lambda: str(choices.pick((*mutations.INTEGERS[:-1], *mutations.FLOATS))).encode(),
            lambda: mutations.json_text(
                choices, {"yellow": 0.08, "red": 0.02, "offices": {"": {"yellow": 1e308}}}
            ),
        )
        given[name] = os.fsdecode(choices.pick(hostile)().replace(b"\0", b"?"))
    with patch.dict(os.environ, given):
        try:
            read = Settings()
            read.confluent()
            read.secret_keys()
            for days in (read.signals_ttl_days, read.cache_ttl_days):
                timedelta(days=days)
            for seconds in (value for value in dict(read).values() if isinstance(value, float)):
                assert math.isfinite(seconds)
            if read.capacity is not None:
                Capacity(
                    FakeAsyncRedis(),
                    budget=read.capacity,
                    fallback=FakeScorer.thresholds,
                    window=timedelta(seconds=read.capacity_window_s),
                    pause_s=1,
                )
        except NotConfigured as problem:
            assert "Traceback" not in str(problem)
            return "not configured"
    return "configured"
