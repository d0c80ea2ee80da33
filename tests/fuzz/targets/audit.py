"""The decision log: entries of any event, logs that somebody wrote, and anchors."""

from schemas import codec
from schemas.codec import Undecodable
from schemas.records import DecisionLogEntry
from streams.audit.anchors import BadAnchors, by_chain, read_anchors
from streams.audit.chain import Check, Head, Placed
from streams.audit.sources import RECORDS, SOURCES, logged
from streams.kafka.events import Inbound
from streams.kafka.registry import Decoder
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import target
from tests.fuzz.targets.stages import headers

DECODE = Decoder(lambda topic: {1: codec.schema(topic.schema)}, SOURCES)
ENTRIES = {1: codec.schema(DecisionLogEntry.SCHEMA)}
TIMES = (1.7e9, 0.0, None, -1.0, 4e9, 253_402_300_799.0, 1e15, 9.2e15)


@target("audit", "logged", "sound", "altered", "missing", "reordered", "truncated", weight=2)
def audit(choices: Choices) -> list[str]:
    """Events of the sources in one chain; then somebody writes to the log."""
    topic = choices.pick(SOURCES)
    kind = RECORDS[topic.name]
    head, lying = Head(), []
    for offset in range(choices.below(4)):
        value = mutations.wire(
            choices, kind, mutations.record(choices, kind), choices.pick((1, 1, 9))
        )
        event = Inbound.bounded(
            topic=topic.name,
            partition=0,
            offset=offset,
            key=choices.pick((b"D", None, b"\xff", b"k" * 1000)),
            value=None if choices.one_in(8) else mutations.damaged(choices, value),
            timestamp=choices.pick(TIMES),
            headers=headers(choices),
        )
        entry = head.next(logged(event, DECODE))
        head = Head.of(entry)
        lying.append(codec.encode(entry, 1))
    ends = ["logged"]
    chain = f"{topic.name}/0"
    check = Check(chain, {len(lying): head.hash} if choices.one_in(2) else {})
    placed = []
    for offset, written in enumerate(lying):
        value = written
        if choices.one_in(3):
            made = mutations.record(choices, DecisionLogEntry)
            value = choices.pick((b"", mutations.damaged(choices, written), mutations.wire(choices, DecisionLogEntry, made, 1)))  # fmt: skip
        try:
            placed.append(Placed(offset, codec.decode(value, DecisionLogEntry, ENTRIES)))
        except Undecodable as bad:
            ends.append(bad.reason)
            placed.append(Placed(offset, None))
    list(check.entries(iter(placed)))
    ends.append(check.problem.kind if check.problem else "sound")
    return ends


@target("anchors", "read", "refused", weight=3)
def anchors(choices: Choices) -> str:
    """Anchors as they were kept elsewhere."""
    plain = {
        "chain": "assessments/0",
        "length": 3,
        "hash": "a" * 64,
        "at": "2026-11-02T09:30:00+00:00",
    }
    lines = [mutations.json_text(choices, plain) for _ in range(choices.below(4))]
    try:
        by_chain(read_anchors(b"\n".join(lines).decode(errors="replace")))
    except BadAnchors as bad:
        assert len(str(bad)) < 1000
        return "refused"
    return "read"
