"""Declarations replayed under a strategy, with outcomes that come late."""

import json
from datetime import timedelta

import numpy as np
import pytest
from typer.testing import CliRunner

from models.datasets.declarations import BadDeclarations
from models.evaluation.simulation import Setup, _Office, simulate
from streams.cli import app
from tests.models.risk.test_tabular import stream, write

SETUP = Setup(weeks=6, warm_up=8, rate=0.1, random=0.02, retrain=3)


@pytest.fixture(scope="module")
def rows():
    return stream(3000)


@pytest.fixture(scope="module")
def weeks(rows):
    return {name: simulate(rows, name, SETUP) for name in ("risk", "hybrid", "random", "oracle")}


def precision(found):
    return sum(week.found for week in found) / sum(week.inspected for week in found)


def test_a_model_finds_more_than_chance_and_less_than_an_oracle(weeks):
    """The two ends between which a strategy stands."""
    assert precision(weeks["random"]) < 0.35
    assert precision(weeks["risk"]) > precision(weeks["random"]) + 0.2
    assert precision(weeks["hybrid"]) > precision(weeks["random"]) + 0.1
    assert precision(weeks["oracle"]) > 0.9  # some days have fewer than the capacity


@pytest.mark.parametrize("name", ["risk", "hybrid", "random", "oracle"])
def test_inspections_stay_within_the_capacity(weeks, name):
    """On average over the weeks, the random ones included."""
    share = sum(w.inspected for w in weeks[name]) / sum(w.declarations for w in weeks[name])
    assert share == pytest.approx(SETUP.rate, rel=0.15)


def test_what_is_inspected_tells_how_many_are_irregular(weeks):
    """By inverse probability, although the riskiest were picked."""
    found = weeks["risk"]
    inside = [w.estimate.low <= w.irregular / w.declarations <= w.estimate.high for w in found]
    assert sum(inside) >= len(found) - 1


def test_only_outcomes_that_have_come_are_learned(rows):
    """Neither what was not inspected nor what is still being inspected."""
    office = _Office("risk", SETUP)
    office.begin(rows[:100])
    span = rows[99].day - rows[0].day
    assert span < timedelta(days=7)
    assert office.labels == []
    late = [row for row in rows if row.day == rows[0].day + timedelta(days=7)][:1]
    office.begin(late)
    first_day = sum(row.day == rows[0].day for row in rows)
    assert len(office.labels) == min(first_day, 100)


def test_equal_seeds_give_equal_weeks(rows):
    """Reproducible."""
    short = Setup(weeks=2, warm_up=8, rate=0.1, random=0.02)
    assert simulate(rows, "risk", short) == simulate(rows, "risk", short)


def test_too_few_weeks_are_told(rows):
    with pytest.raises(BadDeclarations, match="--weeks"):
        simulate(rows, "risk", Setup(weeks=52))


def test_the_command_draws_and_tells(tmp_path):
    """JSON of each strategy, and a picture."""
    rows = [(row.day, row.attributes, row.irregular) for row in stream(2000)]
    write(tmp_path / "train.csv", rows)
    plot = tmp_path / "simulation.png"
    options = ["--weeks", "3", "--warm-up", "8", "--rate", "0.1", "--plot", str(plot), "--json"]
    done = CliRunner().invoke(app, ["simulate", "--declarations", str(tmp_path), *options])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout[done.stdout.index("{") :])
    assert figures.keys() == {"risk", "random", "oracle"}
    assert plot.read_bytes().startswith(b"\x89PNG")
    bad = CliRunner().invoke(app, ["simulate", "--declarations", str(tmp_path), "--strategy", "x"])
    assert bad.exit_code == 2
    assert np.isfinite(figures["risk"]["precision"])
