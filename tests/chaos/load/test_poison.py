"""Poison among declarations, and as many large ones as at once: their neighbours go on.

Latency is from the broker's time of a declaration to the worker's time of its assessment.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from schemas.codec import encode
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS
from streams.kafka.delivery import Deliveries, producer
from streams.kafka.registry import Registry
from streams.synthetic.large import large
from streams.synthetic.send import Sender, new_run
from tests.chaos.supervisor import Supervisor, behind
from tests.chaos.traffic import Load, arrivals, half_new, source
from tests.chaos.verifier import assert_exactly_one_fate, ends, read_all

TOPICS = (DECLARATIONS, ASSESSMENTS, ALERTS, DEAD_LETTERS)
RATE = 10.0
"""Declarations a second."""
BLOCK_S = 15
BLOCKS = 40
"""Every other one with poison: ten minutes."""
POISON = 0.01
"""Share of the declarations of such a block."""
HOSTILE = {"malformed": 0.5, "broken_photo": 0.5}
"""No Avro, other schemas, 10 MB, nothing; no image, half of one, a bomb, references to elsewhere."""
HEADERS = (
    [("ce_id", None), ("traceparent", None)],
    [("ce_id", b"\xff\xfe"), ("traceparent", b"\0" * 600_000)],
    [("ce_id", b"x" * 600_000)],
    [(f"h{number}", b"x" * 100) for number in range(5_000)],
)
"""Of an event that is as it should be otherwise."""
TOLERATED = 1.1
"""Ratio of the neighbours' p99 latencies, with poison and without."""
RESAMPLED = 2_000
SMALL_RATE = 2.0
SMALL_S = 30
"""Small declarations are sent at least for so long beside large ones."""
MOST_MORE_MB = 200
"""Memory that large declarations may take, in all: two are worked on at a time, each with up to
999 × 5 vectors (25 MB) and a slice of 16 decoded photos; the others wait as bytes, 1 MB each."""


@pytest.fixture
def supervisor(start_worker):
    """A worker that screens, ready."""
    supervisor = Supervisor(start_worker, dead_letter_share="1.0")
    supervisor.wait_ready()
    return supervisor


@pytest.fixture
def clean(stack, goods_folder, dice):
    """Clean ones, half of goods that were never seen."""
    return half_new(source(stack.settings(), goods_folder, dice).consignments(100_000), dice)


class Poison:
    """Sends hostile events, one at a call: values and photos of every kind, then headers."""

    def __init__(self, settings, consignments):
        self._sender = Sender(settings)
        self._schema_id = Registry(settings.registry_url).schema_id(DECLARATIONS)
        self._deliveries = Deliveries(producer(settings, max_message_mb=16))
        self._consignments = consignments
        self.sent = 0

    def __call__(self):
        """Send the next one."""
        self.sent += 1
        consignment = next(self._consignments)
        if self.sent % 4:
            self._sender.send(consignment)
            return
        value = encode(consignment.declaration, self._schema_id)
        headers = HEADERS[self.sent // 4 % len(HEADERS)]
        key = consignment.declaration.declaration_id.encode()
        self._deliveries.put(DECLARATIONS.name, key=key, value=value, headers=headers)

    def flush(self):
        """Wait until the broker has all."""
        self._sender.flush()
        self._deliveries.wait()


@pytest.fixture
def neighbours(stack, goods_folder, clean, dice, faults):
    """Clean consignments block by block, poison slipped in before some of every other block."""
    settings = stack.settings()
    hostile = source(settings, goods_folder, dice, shares=HOSTILE).consignments(10_000)
    poison = Poison(settings, hostile)
    number = int(RATE * BLOCK_S)
    blocks = [[] for _ in range(2 * faults(BLOCKS // 2))]
    """Keys of each."""

    def made():
        for turn, keys in enumerate(blocks):
            places = dice.sample(range(number), round(number * POISON)) if turn % 2 else ()
            for place in range(number):
                if place in places:
                    poison()
                consignment = next(clean)
                keys.append(key_of(consignment))
                yield consignment
        poison.flush()

    return made(), blocks, poison


def ratio(waits, share):
    """Return the ratio of a percentile of the latencies, odd blocks to even ones, as figures.

    Its 95 % interval is by resampling of whole blocks: neighbours in time are alike.

    Args:
        waits: latencies of each block, in order.
        share: which percentile.
    """
    dice = np.random.default_rng(0)
    arms = waits[0::2], waits[1::2]
    without, with_ = (float(np.percentile(np.concatenate(arm), share)) for arm in arms)
    ratios = []
    for _ in range(RESAMPLED):
        drawn = [[arm[n] for n in dice.integers(len(arm), size=len(arm))] for arm in arms]
        base, other = (np.percentile(np.concatenate(arm), share) for arm in drawn)
        ratios.append(other / base)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return {
        f"p{share}_without_s": round(without, 3),
        f"p{share}_with_s": round(with_, 3),
        f"p{share}_ratio": round(with_ / without, 3),
        f"p{share}_ratio_low": round(float(low), 3),
        f"p{share}_ratio_high": round(float(high), 3),
    }


@pytest.mark.slow
def test_neighbours_of_poison_are_not_slowed(stack, supervisor, neighbours, figures):
    """One event in a hundred is poisonous in every other block of a stream.

    It fails where the ratio is above what is tolerated beyond doubt; `resolved` says whether it is
    below beyond doubt: on a busy machine the p99 of two equal blocks differ by more.
    """
    settings, (consignments, blocks, poison) = stack.settings(), neighbours
    mark = ends(settings, TOPICS)
    with Load(settings, consignments, rate=RATE) as load:
        supervisor.wait(lambda: load.is_over, within_s=len(blocks) * BLOCK_S * 2)
    target = ends(settings, (DECLARATIONS,))
    supervisor.wait(lambda: not behind(settings, target), within_s=120)
    assert supervisor.exits == []
    assert supervisor.worker.stop() == 0
    seen = read_all(settings, TOPICS, since=mark)
    assert_exactly_one_fate(seen, figures=figures)
    figures.faults = poison.sent
    assert figures.records == load.sent + poison.sent
    declared, assessed = arrivals(settings, DECLARATIONS), arrivals(settings, ASSESSMENTS)
    waits = [[assessed[key] - declared[key] for key in keys] for keys in blocks]
    figures.more |= ratio(waits, 50) | ratio(waits, 99)
    figures.more["resolved"] = int(figures.more["p99_ratio_high"] <= TOLERATED)
    assert figures.more["p99_ratio_low"] <= TOLERATED


def peak_mb(worker):
    """Most memory that a process ever had. Unit: MB."""
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024)


@pytest.fixture
def huge(stack, goods_folder, dice, faults):
    """20 declarations of 999 goods items with four photos each."""
    made, run = source(stack.settings(), goods_folder, dice), new_run()
    return [large(made, f"26BE{run}L{number}", photos=4) for number in range(faults(20))]


@pytest.mark.slow
def test_large_declarations_at_once_take_bounded_memory(stack, supervisor, huge, clean, figures):
    """999 goods items × 4 photos × 20, while small ones come: these do not wait for those."""
    settings = stack.settings()
    mark, keys = ends(settings, TOPICS), []

    def small():
        for consignment in clean:
            keys.append(key_of(consignment))
            yield consignment

    with Load(settings, small(), rate=SMALL_RATE) as load:
        supervisor.sleep(SMALL_S)
    target = ends(settings, (DECLARATIONS,))
    supervisor.wait(lambda: not behind(settings, target), within_s=120)
    before, alone = peak_mb(supervisor.worker), len(keys)
    sender = Sender(settings)
    with Load(settings, small(), rate=SMALL_RATE) as load_beside:
        for consignment in huge:
            sender.send(consignment)
        sender.flush()
        begun, target = time.monotonic(), ends(settings, (DECLARATIONS,))
        supervisor.sleep(SMALL_S)
        supervisor.wait(lambda: not behind(settings, target), within_s=1_800)
        figures.more["large_done_s"] = round(time.monotonic() - begun)
    target = ends(settings, (DECLARATIONS,))
    supervisor.wait(lambda: not behind(settings, target), within_s=120)
    peak = peak_mb(supervisor.worker)
    assert supervisor.exits == []
    assert supervisor.worker.stop() == 0
    assert_exactly_one_fate(read_all(settings, TOPICS, since=mark), figures=figures)
    figures.faults = len(huge)
    assert figures.records == load.sent + load_beside.sent + len(huge)
    declared, assessed = arrivals(settings, DECLARATIONS), arrivals(settings, ASSESSMENTS)
    # The last one of each load was made, and not sent any more.
    first, beside = (
        [assessed[key] - declared[key] for key in some if key in declared]
        for some in (keys[:alone], keys[alone:])
    )
    assert len(first) + len(beside) == load.sent + load_beside.sent
    heavy = [assessed[key] - declared[key] for key in map(key_of, huge)]
    figures.more |= {
        "mb_before": before,
        "mb_peak": peak,
        "small_p99_alone_s": round(float(np.percentile(first, 99)), 2),
        "small_p99_beside_s": round(float(np.percentile(beside, 99)), 2),
        "small_most_s": round(max(beside), 2),
        "large_first_s": round(min(heavy), 1),
        "large_last_s": round(max(heavy), 1),
    }
    assert peak - before <= MOST_MORE_MB
    assert max(beside) < min(heavy)


def key_of(consignment):
    """Return the key of its event."""
    return consignment.declaration.declaration_id.encode()
