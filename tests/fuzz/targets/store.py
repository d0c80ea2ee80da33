"""Contents of Redis: of other versions, of other types, by hand; and with figures that cannot be."""

import json
from dataclasses import replace
from decimal import Decimal

import obstore

from schemas import codec
from schemas.records import Declaration, GoodsItem, ImageReference, InspectionOutcome, Party
from streams.evidence.past_inspections import read_decision, read_remembered
from streams.evidence.signals import read_signals
from streams.kafka.events import Inbound
from streams.selection.capacity import read_risk, read_thresholds
from tests.fakes import NOW
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import run, target
from tests.fuzz.targets import photos
from tests.fuzz.targets.stages import Stages, event, fate

NUMBERS = (
    "0", "-1", "1", "150.0", "1e308", "-1e308", "5e-324", "709.8", "-750.0", "nan", "inf", "1e999", "-0.0",
    "9" * 30, "9" * 400, "9" * 5000, "0x10", "1_0", "٣", "", "1.0",
)  # fmt: skip
READERS = (read_signals, read_thresholds, read_risk, read_remembered, read_decision)
PARTY = Party(identification="BE1", country="BE")
SHOES = Declaration(
    importer=PARTY, seller=Party(identification="CN1"), declarant=PARTY,
    acceptance_time=NOW, goods_items=(
        GoodsItem(sequence_number=1, commodity_code="64041100", description="running shoes black", country_of_origin="CN", item_amount=Decimal("40.00"), item_currency="EUR", net_mass=Decimal(2), images=(ImageReference(uri="s3://goods-photos/photo"),)),
    ),
)  # fmt: skip


def hostile(choices: Choices, content: bytes) -> bytes:
    """What somebody else wrote in place of a content, in its own form mostly."""
    if choices.one_in(4):
        return choices.pick(
            (b"", b"null", b"\xff\xfe", b"[" * 5000, b"9" * 5000, choices.bytes(30))
        )
    try:
        value = json.loads(content)
    except ValueError:
        parts = content.split(b"|")
        for place in range(len(parts)):
            if choices.one_in(4):
                parts[place] = choices.pick(NUMBERS).encode()
        member = b"|".join(parts)
        if b" " in member and choices.one_in(2):
            member = member.partition(b" ")[0] + b" " + choices.pick(NUMBERS).encode()
        return member if choices.one_in(2) else mutations.damaged(choices, member, most=2)
    return mutations.json_text(choices, figures(choices, value))


def figures(choices: Choices, value):
    """A JSON value with other numbers in it."""
    if isinstance(value, dict):
        return {name: figures(choices, each) for name, each in value.items()}
    if isinstance(value, list):
        return [figures(choices, each) for each in value]
    if isinstance(value, int | float) and choices.one_in(4):
        return choices.pick((*mutations.INTEGERS, *mutations.FLOATS))
    return value


async def spoil(choices: Choices, redis) -> None:
    """Write over some keys."""
    for key in [key async for key in redis.scan_iter()]:
        kind = await redis.type(key)
        if choices.one_in(3):
            continue
        if choices.one_in(10):
            await redis.delete(key)
            await (redis.rpush(key, "x") if kind == b"string" else redis.set(key, "x"))
        elif kind == b"zset":
            for member, score in await redis.zrange(key, 0, -1, withscores=True):
                at = (
                    score
                    if choices.one_in(2)
                    else choices.pick((0.0, 1e308, -1e308, float("inf"), float("-inf")))
                )
                members = {hostile(choices, member): at for _ in range(1 + choices.below(3))}
                if choices.one_in(8):  # as many as make peers
                    members |= {_other(member, number): score for number in range(12)}
                await redis.zadd(key, members)
        else:
            plain = await redis.get(key) if kind == b"string" else b""
            await redis.set(key, hostile(choices, plain))


def _other(member: bytes, number: int) -> bytes:
    """A member of another declaration and of other traders."""
    parts = member.split(b"|")
    return b"|".join(f"{number:024x}".encode() if len(part) == 24 else part for part in parts)


@target("redis", "green", "yellow", "red", "explained", "learned", weight=0.5)
def contents(choices: Choices) -> list[str]:
    """Declarations and an outcome before and after somebody wrote to Redis."""

    stages = Stages()
    obstore.put(stages.bucket, "photo", photos.files()[0][1])
    numbered = [replace(SHOES, declaration_id=f"D{n}", seller=Party(identification=f"CN{n}"), importer=Party(identification=f"BE{n}")) for n in range(3)]  # fmt: skip
    batch = [event(Choices(b""), each, n) for n, each in enumerate(numbered)]
    ends, _ = run(stages.through(batch))
    run(stages.signals.remember([]))
    outcome = InspectionOutcome(
        outcome_id="o", declaration_id="D0", result="irregular", decided_at=NOW
    )
    learned = Inbound.bounded(topic="inspection-outcomes", partition=0, offset=1, key=b"D0", value=codec.encode(outcome, 9), timestamp=NOW.timestamp(), headers=())  # fmt: skip
    run(stages.learn([learned]))
    run(spoil(choices, stages.redis))
    more, _ = run(
        stages.through([*batch, event(Choices(b""), replace(numbered[0], declaration_id="D9"), 9)])
    )
    (outcome,) = run(stages.learn([replace(learned, value=codec.encode(replace(InspectionOutcome(outcome_id="o2", result="conforming", decided_at=NOW), declaration_id=choices.pick(("D0", "D1"))), 9))]))  # fmt: skip
    return ends + more + [fate(outcome) if outcome else "learned"]


@target("readers", "read", "absent", weight=10)
def readers(choices: Choices) -> str:
    """One content by itself."""
    read = choices.pick(READERS)
    plain = {
        read_signals: {"items": [{"price": {"count": 9, "median": 1.0, "spread": 0.5}, "photo": {"same_heading": 1, "other_heading": 2, "other_trader": 0, "price": None, "example": "D"}, "rates": {"all": {"inspected": 9, "irregular": 1}}}], "importer_day": 1, "seller_day": 1, "small_count": 0, "small_value": 0.0, "importer_day_ignored": 0, "arrived": 1.7e9},
        read_thresholds: {"yellow": 0.5, "red": 0.9, "random": 0.01},
        read_remembered: {"arrived": 1.7e9, "trader": "a" * 24, "histories": {"1": ["code:" + "b" * 24]}},
        read_decision: [1.7e9, "o1"],
        read_risk: "0123456789ab 0.5",
    }[read]  # fmt: skip
    content = hostile(
        choices, plain.encode() if isinstance(plain, str) else json.dumps(plain).encode()
    )
    try:
        read(content)
    except ValueError:
        return "absent"
    return "read"
