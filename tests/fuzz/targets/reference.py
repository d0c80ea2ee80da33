"""Compacted topics: tombstones, garbage, records of other topics and schemas, extremes."""

from datetime import UTC, datetime
from functools import cache

from models.risk.exchange import comparable
from models.risk.tariff import Tariff
from models.selection.profiles import DECLARATION_FIELDS, ITEM_FIELDS, OPERATORS, Matcher
from schemas import codec
from schemas.reasons import Reason
from schemas.records import (
    Condition,
    DeadLetterReplay,
    Declaration,
    ExchangeRate,
    GoodsItem,
    RiskProfile,
    TariffMeasure,
)
from schemas.topics import DEAD_LETTER_REPLAYS, TOPICS
from streams.kafka.registry import Decoder
from streams.operations.dead_letters import replays_of
from streams.reference.state import ReferenceState, Snapshot
from tests.fakes import NOW
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import target

KINDS = {
    "risk-profiles": RiskProfile,
    "tariff-measures": TariffMeasure,
    "exchange-rates": ExchangeRate,
}
FIELDS = sorted(DECLARATION_FIELDS | ITEM_FIELDS)


@cache
def nothing() -> Snapshot:
    """No reference data."""
    return Snapshot((), Matcher(()), Tariff())


class Log:
    """Keeps why events were not taken."""

    def __init__(self):
        self.reasons = []

    def bind(self, **_):
        return self

    def warning(self, event, *, reason="ignored", **_):
        self.reasons.append(reason if reason in set(Reason) else "ignored")


def writers(topic):
    """The allow-list of each topic."""
    return {1: codec.schema(topic.schema)}


def record(choices: Choices, kind):
    """A record of a reference topic that has something to say, mostly."""
    made = mutations.record(choices, kind)
    if choices.one_in(5):
        return made
    datum = made.to_avro()
    usual = {
        RiskProfile: {"lane": "red", "author": "a", "approver": "b", "valid_from": datetime(1, 1, 1, tzinfo=UTC), "valid_until": datetime(9999, 12, 31, tzinfo=UTC)},
        TariffMeasure: {"commodity_code": choices.pick(("64", "640411", "64041100")), "duty_rate": choices.pick((0.0, 17.0, 1e308)), "country_of_origin": choices.pick(("", "CN"))},
        ExchangeRate: {"currency": choices.pick(("USD", "gbp", "€")), "rate": choices.pick((1.1, 1e-4, 1e8))},
    }[kind]  # fmt: skip
    made = kind.from_avro(datum | usual)
    if kind is RiskProfile:
        conditions = tuple(
            Condition(field=choices.pick(FIELDS), operator=choices.pick(OPERATORS), values=(mutations.text(choices, most=2000),))
            for _ in range(1 + choices.below(2))
        )  # fmt: skip
        made = RiskProfile.from_avro(
            made.to_avro() | {"conditions": [each.to_avro() for each in conditions]}
        )
    return made


def state(choices: Choices) -> tuple[ReferenceState, list[str]]:
    """A follower's state after some events, and how each ended."""
    log = Log()
    followed = ReferenceState(writers, log)
    ends = []
    for offset in range(choices.below(6)):
        name = choices.pick(tuple(KINDS))
        kind = KINDS[name] if not choices.one_in(12) else choices.pick(tuple(KINDS.values()))
        made = record(choices, kind)
        value = mutations.wire(choices, kind, made, choices.pick((1, 1, 1, 1, 99)))
        if choices.one_in(6):
            value = choices.pick((None, b"", bytes(1 << 20 | 1), mutations.damaged(choices, value)))
        key = (
            getattr(made, TOPICS[name].key, "other").encode()
            if not choices.one_in(12)
            else choices.pick((None, b"", b"\xff"))
        )
        log.reasons.clear()
        followed.take(name, key, value, offset)
        ends += log.reasons or ["taken"]
    return followed, ends


@target("reference", "taken", "ignored", weight=6)
def reference(choices: Choices) -> list[str]:
    """Events of the reference topics; then the data is used."""
    followed, ends = state(choices)
    snapshot = followed.snapshot()
    declared = Declaration(
        declaration_id="D",
        declaration_office=mutations.text(choices, most=300_000),
        acceptance_time=mutations.moment(choices),
        goods_items=(GoodsItem(commodity_code="64041100", country_of_origin="CN", description=mutations.text(choices), item_amount=mutations.decimal(choices, 16, 2), item_currency=choices.pick(("USD", "GBP", "xyz", mutations.text(choices)))),),
    )  # fmt: skip
    snapshot.matcher.matching(declared, NOW)
    snapshot.tariff.duty("64041100", "cn", declared.acceptance_time)
    comparable(declared, snapshot.rates, declared.acceptance_time)
    return ends


@target("replays", "read", weight=6)
def replays(choices: Choices) -> str:
    """The marks of dead letters that were sent again."""
    values = []
    for _ in range(choices.below(5)):
        made = mutations.record(choices, DeadLetterReplay)
        value = mutations.wire(choices, DeadLetterReplay, made, choices.pick((1, 1, 1, 99)))
        values.append(
            None
            if choices.one_in(6)
            else mutations.damaged(choices, value)
            if choices.one_in(3)
            else value
        )
    good = DeadLetterReplay(replayed_event="good", replays=2)
    decode = Decoder(writers, [DEAD_LETTER_REPLAYS])
    marks = replays_of(
        [*values, codec.encode(good, 1)],
        lambda value: decode(DEAD_LETTER_REPLAYS, value, DeadLetterReplay),
    )
    assert marks["good"] >= 2
    return "read"
