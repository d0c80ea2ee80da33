"""With what keeps a promise switched off in the worker, the proof fails: the verifier names how.

Each case injects the fault that the part is there for; with the part in place the same faults are
found to break nothing.
"""

import time
from dataclasses import dataclass

import pytest
from confluent_kafka import Producer

from models.datasets.goods import read
from schemas.topics import DECLARATIONS
from streams.kafka.registry import Registry
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.send import new_run
from tests.chaos.fleet import TOPICS
from tests.chaos.patches import patch
from tests.chaos.verifier import committed, examine, unfinished

SENT = 24
SHARES = {"clean": 0.35, "wrong_photo": 0.3, "malformed": 0.35}
SLOW_ALL = patch("slow_publishing", 1.0)
SLOW_SOME = patch("slow_publishing_of_some", 3.0)
AFTER_COMMIT = patch("die_after_commit", 2)


@dataclass(frozen=True)
class Sabotage:
    """A part that is switched off, and what shows it."""

    off: str
    """Name in `tests.chaos.patches`."""
    promise: str
    """That the verifier finds broken."""
    faults: tuple[str, ...] = ()
    """What the worker suffers, as patches; before the sabotage."""
    mended: bool = True
    """Whether a worker without the sabotage does the rest."""
    commits_too_early: bool = False
    """Whether the verifier finds events without a fate below the committed offset."""


CASES = {
    "deterministic ids": Sabotage("random_ids", "two_fated", (patch("die_after_publishing", 3),)),
    "awaited delivery": Sabotage(
        "unawaited_delivery", "lost", (SLOW_ALL, AFTER_COMMIT), commits_too_early=True
    ),
    "acks in order": Sabotage(
        "acknowledge_in_any_order", "lost", (SLOW_SOME, AFTER_COMMIT), commits_too_early=True
    ),
    "read_committed": Sabotage("read_uncommitted", "answers_to_nothing"),
    "checks of values": Sabotage("accept_any_value", "refused"),
    "bounds of headers": Sabotage("accept_any_header", "lost", mended=False),
}


@pytest.fixture
def source(stack, goods_folder, dice):
    """Declarations of which many are malformed, in every way."""
    bucket, seed = stack.settings().s3_buckets[0], dice.randrange(1 << 30)
    goods = read(goods_folder)
    return Irregularities(goods, bucket=bucket, run=new_run(), seed=seed, shares=SHARES).consignments(SENT + 8)  # fmt: skip


def send_all(fleet, source):
    """Send declarations; some in a transaction that is aborted, one with headers that are none."""
    settings = fleet.settings
    schema_id = Registry(settings.registry_url).schema_id(DECLARATIONS)
    others = [next(source) for _ in range(8)]
    good = [each for each in others if each.truth.kind != "malformed"]
    values = [(each.truth.declaration_id, each.value(schema_id)) for each in good]
    transaction = Producer(settings.confluent() | {"transactional.id": new_run()})
    transaction.init_transactions(30)
    transaction.begin_transaction()
    for key, value in values[1:]:
        transaction.produce(DECLARATIONS.name, key=key, value=value)
    transaction.flush(30)
    transaction.abort_transaction(30)
    plain = Producer(settings.confluent())
    plain.produce(DECLARATIONS.name, key=values[0][0], value=values[0][1], headers=[("ce_id", None)])  # fmt: skip
    assert plain.flush(30) == 0
    fleet.send(SENT, source)


def run(fleet, *patches):
    """Let a worker screen until nothing is left, or it ended; then it is killed."""
    worker = fleet.start(*patches)
    deadline = time.monotonic() + 120
    while worker.returncode is None and fleet.lag():
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.2)
    fleet.kill(worker, may_have_failed=True)


@pytest.mark.slow
@pytest.mark.parametrize("off", CASES)
def test_sabotage_is_found(fleet, source, figures, off):
    sabotage = CASES[off]
    send_all(fleet, source)
    run(fleet, *sabotage.faults, patch(sabotage.off))
    too_early = unfinished(fleet.read(), committed(fleet.settings, fleet.group))
    if sabotage.mended:
        fleet.start_ready()
        fleet.finish()
        fleet.stop()
    else:
        run(fleet, patch(sabotage.off))
    seen = fleet.read(TOPICS)
    broken = examine(seen, malformed=fleet.malformed).broken
    figures.faults, figures.records = 1, len(seen.inputs)
    caught = [*broken, *(["committed too early"] if too_early else [])]
    figures.more |= {"off": off, "caught by": ", ".join(caught)}
    assert sabotage.promise in broken
    assert bool(too_early) == sabotage.commits_too_early


@pytest.mark.slow
def test_the_same_faults_alone_break_nothing(fleet, source, figures):
    send_all(fleet, source)
    for case in CASES.values():
        if case.faults:
            fleet.send(SENT)
            run(fleet, *case.faults)
            figures.faults += 1
    run(fleet)
    assert fleet.judge().duplicates
