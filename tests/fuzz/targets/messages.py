"""Customs messages in JSON, through the stage."""

import json
from datetime import timedelta
from functools import cache

from obstore.store import MemoryStore

from schemas import codec
from schemas.records import Declaration
from schemas.topics import DECLARATIONS
from streams.intake.store import S3Ledgers
from streams.kafka.events import Inbound
from streams.settings import Settings
from streams.stages.intake import Intake
from tests.fakes import NOW
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import run, target
from tests.fuzz.targets.stages import declaration, fate
from tests.fuzz.targets.values import _text

WRITERS = {7: codec.schema("declaration")}
CONTENT_TYPES = (
    b"application/cloudevents+json", b"application/json; charset=utf-16", b"", b"text/xml",
    b"application/cloudevents-batch+json", b"\xff", b"application/octet-stream",
)  # fmt: skip


@cache
def intake():
    """The stage; declarations in JSON leave nothing in its store."""
    ledgers = S3Ledgers(Settings())
    ledgers._store = MemoryStore()
    return Intake(
        schema_id=7,
        ledgers=ledgers,
        now=lambda: NOW,
        wait=timedelta(hours=1),
        attempts=1,
        delay_s=0,
    )


@target("message in JSON", "declared", weight=4)
def message(choices: Choices) -> str:
    """A declaration, alone or in an envelope, of which some is as nobody should send it."""
    declared = declaration(choices)
    content = _text(declared.to_avro())
    if not choices.one_in(3):
        envelope = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
        for name in (*envelope, "time", "traceparent", "extension"):
            if choices.one_in(6):
                envelope[name] = choices.pick((None, "", 7, [], {}, mutations.text(choices)))
        content = envelope | {"data": content}
    value = (
        mutations.json_text(choices, content)
        if choices.one_in(2)
        else json.dumps(content).encode("utf-8", "surrogatepass")
    )
    event = Inbound.bounded(
        topic="customs-messages",
        partition=0,
        offset=0,
        key=choices.pick(
            (declared.declaration_id.encode(errors="replace"),) * 4 + (None, b"other")
        ),
        value=value,
        timestamp=NOW.timestamp(),
        headers=[("content-type", choices.pick(CONTENT_TYPES))] if choices.one_in(2) else [],
    )
    ((result,),) = run(intake()([event]))
    if result.topic is not DECLARATIONS:
        assert len(dict(result.headers)["__streams.errors.message"]) < 400
        return fate((result,))
    assert codec.decode(result.value, Declaration, WRITERS, 1 << 30).declaration_id
    return "declared"
