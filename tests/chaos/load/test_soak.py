"""An hour of steady load: nothing is lost, nobody falls behind, and no worker grows (`make soak`)."""

import time

import numpy as np
import psutil
import pytest
from scipy.stats import theilslopes

from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS, EXPLANATIONS
from tests.chaos.traffic import MIXED, Lag, Load, arrivals, half_new, source
from tests.chaos.verifier import assert_exactly_one_fate, read_all
from tests.conftest import ready

RATE = 3.0
"""Declarations a second."""
SAMPLE_S = 1.0
PARTS = 50
"""Of the time after settling; of a soak of an hour, a minute each."""
SETTLING = 1 / 6
"""Share of the time for caches to fill and the allocator to settle."""
MOST_MB_H = 10.0
"""Slope of the memory that is asserted: a worker of 700 MB would take a week to grow to 2.4 GB."""
MB = 1 << 20


def slope(hours, megabytes):
    """Return the robust slope (Theil–Sen) and its 95 % interval, over medians of parts. Unit: MB/h.

    Neighbouring samples are alike: without the medians the interval would be far too narrow.
    """
    parts = zip(np.array_split(hours, PARTS), np.array_split(megabytes, PARTS), strict=True)
    times, values = np.transpose([(np.median(at), np.median(mb)) for at, mb in parts])
    estimate = theilslopes(values, times)
    return [
        round(float(each), 2) for each in (estimate.slope, estimate.low_slope, estimate.high_slope)
    ]


@pytest.fixture
def minutes(request):
    """How long it lasts. Unit: min."""
    return request.config.getoption("--minutes")


@pytest.fixture
def workers(start_worker):
    """Those that must not grow, ready."""
    started = {name: start_worker(name) for name in ("screen", "explain")}
    for worker in started.values():
        worker.wait_until(lambda worker=worker: ready(worker), within_s=120)
    return started


@pytest.fixture
def consignments(stack, goods_folder, dice, minutes):
    """Mostly regular, half of them of goods that were never seen."""
    made = source(stack.settings(), goods_folder, dice, shares=MIXED)
    return half_new(made.consignments(round(RATE * minutes * 60)), dice)


@pytest.mark.slow
@pytest.mark.soak
def test_an_hour_under_load(stack, workers, consignments, figures, minutes):
    """Warm and new goods mixed, at 3 a second: one fate each, lag that ends at 0, flat memory."""
    settings = stack.settings()
    lags = {
        "screen": Lag(settings, settings.consumer_group, DECLARATIONS),
        "explain": Lag(settings, settings.explain_consumer_group, ALERTS),
    }
    memory = {name: [] for name in workers}
    most = dict.fromkeys(workers, 0)
    begun, said = time.monotonic(), 0.0
    with Load(settings, consignments, rate=RATE) as load:
        while not load.is_over:
            hours = (time.monotonic() - begun) / 3600
            for name, worker in workers.items():
                assert worker.returncode is None, worker.tail()
                rss = psutil.Process(worker.pid).memory_info().rss / MB
                memory[name].append((hours, rss))
                most[name] = max(most[name], lags[name]())
            if time.monotonic() - said > 60:
                said = time.monotonic()
                state = ", ".join(
                    f"{n} {memory[n][-1][1]:.0f} MB, lag {lags[n]()}" for n in workers
                )
                print(f"{hours * 60:.0f} of {minutes:g} min: sent {load.sent}, {state}", flush=True)
            time.sleep(SAMPLE_S)
    drained = time.monotonic()
    while any(lag() for lag in lags.values()):
        assert time.monotonic() < drained + 300, [worker.tail() for worker in workers.values()]
        time.sleep(0.5)
    figures.more["drained_s"] = round(time.monotonic() - drained, 1)
    for name, samples in memory.items():
        settled = [pair for pair in samples if pair[0] * 60 >= minutes * SETTLING]
        hours, megabytes = zip(*settled, strict=True)
        estimate, low, high = slope(hours, megabytes)
        figures.more |= {
            f"{name}_mb": round(np.median(megabytes)),
            f"{name}_mb_h": estimate,
            f"{name}_mb_h_low": low,
            f"{name}_mb_h_high": high,
            f"{name}_most_lag": most[name],
        }
    declared, assessed = arrivals(settings, DECLARATIONS), arrivals(settings, ASSESSMENTS)
    waits = [at - declared[key] for key, at in assessed.items()]
    for share in (50, 99):
        figures.more[f"p{share}_s"] = round(float(np.percentile(waits, share)), 3)
    topics = (DECLARATIONS, ASSESSMENTS, ALERTS, EXPLANATIONS, DEAD_LETTERS)
    seen = read_all(settings, topics)
    figures.more["alerts"] = len(seen.alerted)
    assert_exactly_one_fate(seen, figures=figures, explained=True)
    assert figures.records == load.sent
    assert [worker.stop() for worker in workers.values()] == [0, 0]
    if minutes >= 30:  # a shorter run cannot tell growth from settling
        for name in workers:
            assert figures.more[f"{name}_mb_h"] < MOST_MB_H, memory[name]
