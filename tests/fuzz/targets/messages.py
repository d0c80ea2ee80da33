"""Customs messages, through the stage."""

import json
from datetime import timedelta
from xml.sax.saxutils import escape

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
from tests.streams.intake.messages import item, pointed
from tests.streams.intake.messages import message as in_xml

WRITERS = {7: codec.schema("declaration")}
CONTENT_TYPES = (
    b"application/cloudevents+json", b"application/json; charset=utf-16", b"", b"text/xml",
    b"application/cloudevents-batch+json", b"\xff", b"application/octet-stream",
)  # fmt: skip


def intake():
    """The stage, which knows no declaration yet."""
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
    (result,) = run(intake()([event]))
    return end(result)


@target("message in XML", "declared", "waits", weight=4)
def message_in_xml(choices: Choices) -> list[str]:
    """An original and its amendment, of which some is as nobody should send it."""
    number = choices.pick((1, 2, 0, -1, 99_999, 10**30, "x"))
    texts = {
        name: choices.pick(("1", "", "1e999999999", "-0", "NaN", mutations.text(choices, most=200)))
        for name in ("net", "gross", "currency", "unit", "description")
        if choices.one_in(4)
    }
    texts = {name: escape(text, {'"': ""}) for name, text in texts.items()}
    goods = [item(n, **texts) for n in (1, number)[: 1 + choices.one_in(4)]]
    header = pointed(
        ("68A", number), (choices.pick(("23A", "x", "")), 1, choices.pick(("137", "")))
    )
    values = (
        in_xml(*goods, mrn=choices.pick(("", "26GB1"))),
        in_xml(*goods[:1], function="13", header=header, type_=choices.pick(("COR", "INV"))),
    )
    batch = [
        Inbound.bounded(
            topic="customs-messages",
            partition=0,
            offset=offset,
            key=b"LRN1",
            value=mutations.damaged(choices, value) if choices.one_in(3) else value,
            timestamp=NOW.timestamp(),
            headers=[],
        )
        for offset, value in enumerate(values)
    ]
    return [end(result) for result in run(intake()(batch))]


def end(results) -> str:
    """How a message ended."""
    if not results:
        return "waits"
    for result in results:
        if result.topic is not DECLARATIONS:
            assert len(dict(result.headers)["__streams.errors.message"]) < 400
            return fate((result,))
        assert codec.decode(result.value, Declaration, WRITERS, 1 << 30).declaration_id
    return "declared"
