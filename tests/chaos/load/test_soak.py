"""An hour of steady load: nothing is lost, nobody falls behind, and no worker grows (`make soak`)."""

import time
from itertools import islice

import numpy as np
import psutil
import pytest
from scipy.stats import theilslopes

from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS, EXPLANATIONS
from streams.synthetic.send import send
from tests.chaos.traffic import MIXED, Lag, Load, arrivals, half_new, source
from tests.chaos.verifier import assert_exactly_one_fate, read_all
from tests.conftest import ready

RATE = 3.0
"""Declarations a second."""
SAMPLE_S = 1.0
PARTS = 60
"""Of the time; of a soak of an hour, a minute each."""
FILLING = 250
"""Declarations for each minute of the soak, sent before it as fast as the workers take them.

15,000 for an hour: caches are full (16,384 members of signals after some 4,000), and the heap has
found its size. Before, growth says nothing about leaks.
"""
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
    return half_new(made.consignments(round((FILLING + RATE * 60) * minutes)), dice)


def drained(lags, workers):
    """Wait until nobody is behind; returns for how long. Unit: s."""
    begun = moved = time.monotonic()
    least = None
    while behind := sum(lag() for lag in lags.values()):
        if least is None or behind < least:
            least, moved = behind, time.monotonic()
        assert time.monotonic() < moved + 120, [worker.tail() for worker in workers.values()]
        time.sleep(0.5)
    return time.monotonic() - begun


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
    filling = send(settings, islice(consignments, round(FILLING * minutes)), rate=0, truth=None)
    print(f"caches were filled in {drained(lags, workers):.0f} s", flush=True)
    begun, started, said = time.monotonic(), time.time(), 0.0
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
    figures.more["drained_s"] = round(drained(lags, workers), 1)
    for name, samples in memory.items():
        hours, megabytes = zip(*samples, strict=True)
        estimate, low, high = slope(hours, megabytes)
        figures.more |= {
            f"{name}_mb": round(np.median(megabytes)),
            f"{name}_mb_h": estimate,
            f"{name}_mb_h_low": low,
            f"{name}_mb_h_high": high,
            f"{name}_most_lag": most[name],
        }
    declared, assessed = arrivals(settings, DECLARATIONS), arrivals(settings, ASSESSMENTS)
    waits = [at - declared[key] for key, at in assessed.items() if declared[key] >= started]
    for share in (50, 99):
        figures.more[f"p{share}_s"] = round(float(np.percentile(waits, share)), 3)
    topics = (DECLARATIONS, ASSESSMENTS, ALERTS, EXPLANATIONS, DEAD_LETTERS)
    seen = read_all(settings, topics)
    figures.more["alerts"] = len(seen.alerted)
    assert_exactly_one_fate(seen, figures=figures, explained=True)
    assert figures.records == filling + load.sent
    assert [worker.stop() for worker in workers.values()] == [0, 0]
    if minutes >= 30:  # a shorter run cannot tell growth from settling
        for name in workers:
            assert figures.more[f"{name}_mb_h"] < MOST_MB_H, memory[name]
