"""The seed of a run's faults, and the figures that each test leaves (`make chaos`)."""

import json
import random
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from models.datasets.goods import read
from streams.synthetic.irregularities import DEFAULT_SHARES, Irregularities
from streams.synthetic.send import new_run
from tests.chaos.fleet import Fleet

GOODS = 40
"""Of the sample catalogue; so few that their embeddings are soon cached."""
MANY = 1_000
FIGURES = pytest.StashKey[list]()
SEED = pytest.StashKey[int]()
BEGIN = pytest.StashKey[float]()
LEFT = pytest.StashKey[list]()
"""Tests that did not begin, because the time was over."""


@dataclass
class Figures:
    """What one test did and found: a row of the matrix in docs/reliability.md."""

    test: str
    seed: int
    faults: int = 0
    """Faults that were injected."""
    records: int = 0
    """Events that were sent."""
    lost: int = 0
    """Events without a fate."""
    conflicting: int = 0
    """Event ids with more than one value under them."""
    two_fated: int = 0
    """Events with more than one fate."""
    duplicates: int = 0
    """Events that were delivered more than once, before readers drop what they know."""
    recovery_s: list[float] = field(default_factory=list)
    """From the end of each fault to the first new fate. Unit: s."""
    seconds: float = 0.0
    """That the test took."""
    more: dict[str, float | int | str] = field(default_factory=dict)
    """Other figures of this test, by name."""


def pytest_configure(config):
    """Choose the seed, unless it is given."""
    given = config.getoption("--chaos-seed")
    config.stash[SEED] = secrets.randbelow(1 << 31) if given is None else given
    config.stash[FIGURES] = []
    config.stash[LEFT] = []
    config.stash[BEGIN] = time.monotonic()


def pytest_collection_modifyitems(config, items):
    """Where only a part can run, take another part with every seed."""
    if config.getoption("--chaos-minutes"):
        chance = random.Random(config.stash[SEED])
        # The tests of a file share services.
        files = {path: chance.random() for path in dict.fromkeys(item.path for item in items)}
        items.sort(key=lambda item: (files[item.path], chance.random()))


def pytest_runtest_protocol(item):
    """Begin no test once the time is over; returns true for those that are left out."""
    minutes = item.config.getoption("--chaos-minutes")
    if not minutes or time.monotonic() - item.config.stash[BEGIN] < minutes * 60:
        return None
    item.config.stash[LEFT].append(item.name)
    return True


def pytest_report_header(config):
    """Say the seed, so that a run can be repeated."""
    return f"chaos: --chaos-seed {config.stash[SEED]}"


def pytest_terminal_summary(terminalreporter, config):
    """Print the matrix, and write it where asked for."""
    rows = config.stash[FIGURES]
    if rows:
        terminalreporter.section(f"chaos, seed {config.stash[SEED]}")
    for row in rows:
        recovery = f"{max(row.recovery_s):.1f}" if row.recovery_s else "-"
        more = " ".join(f"{name}={value}" for name, value in row.more.items())
        terminalreporter.line(
            f"{row.test}: faults {row.faults}, records {row.records}, lost {row.lost}, "
            f"conflicting {row.conflicting}, two-fated {row.two_fated}, "
            f"duplicates {row.duplicates}, recovery {recovery} s, {row.seconds:.0f} s {more}"
        )
    if left := config.stash[LEFT]:
        terminalreporter.line(f"the time was over for {len(left)}: {', '.join(left)}")
    if file := config.getoption("--chaos-json"):
        Path(file).write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


@pytest.fixture
def figures(request):
    """The figures of this test, which it fills in; kept even where the test fails."""
    row = Figures(request.node.name, request.config.stash[SEED])
    request.config.stash[FIGURES].append(row)
    start = time.monotonic()
    yield row
    row.seconds = round(time.monotonic() - start, 1)


@pytest.fixture
def dice(request):
    """The random choices of this test: the same for the same seed."""
    return random.Random(f"{request.config.stash[SEED]} {request.node.name}")


@pytest.fixture
def faults(request):
    """Scale a number of faults by --chaos-scale, at least 1."""
    scale = request.config.getoption("--chaos-scale")
    return lambda number: max(1, round(number * scale))


@pytest.fixture
def consignments(stack, goods_folder, dice):
    """Declarations of a few goods, irregular and malformed ones among them, without end."""
    goods = sorted(read(goods_folder), key=lambda each: each.item_id)[:GOODS]
    run = new_run()
    return (
        consignment
        for turn in range(MANY)
        for consignment in Irregularities(
            goods,
            bucket=stack.settings().s3_buckets[0],
            run=f"{run}{turn:04d}",
            seed=dice.randrange(1 << 30),
            shares=DEFAULT_SHARES,
        ).consignments(200)
    )


@pytest.fixture
def fleet(stack, start_worker, consignments, dice, figures):
    """Workers of a consumer group of its own, stopped at the end, what they did removed."""
    fleet = Fleet(stack, start_worker, consignments, group=f"chaos-{new_run()}", dice=dice, figures=figures)  # fmt: skip
    yield fleet
    fleet.clean_up()
