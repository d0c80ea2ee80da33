"""Attributes, past inspections and prices → tabular risk."""

import csv
import json
import math
from datetime import date, timedelta

import numpy as np
import pytest
from typer.testing import CliRunner

from models.datasets.declarations import COLUMNS, BadDeclarations, Labelled, read
from models.datasets.history import History, replay
from models.risk.attributes import Attributes, histories
from models.risk.signals import Peers, Rate
from models.risk.tabular import FEATURES, TabularModel, features
from models.training.tabular_risk import export_tabular, fit, fit_scale
from streams.cli import app

DAYS = 120


def attributes(**fields):
    usual = {"office": "1", "declarant": "D", "importer": "I", "seller": "S", "hs6": "610910", "origin": "CN", "dispatch": "CN", "mode": "4", "procedure": "4000", "regime": "A", "duty_rate": 12.0, "net_mass": 2.0, "amount": 20.0}  # fmt: skip
    return Attributes(**usual | fields)


def stream(count=3000, seed=7):
    """Declarations of which those of one route and of too low a price are mostly irregular."""
    dice = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        code = str(dice.choice(["610910", "640411", "851713"]))
        origin = str(dice.choice(["CN", "VN", "TR"]))
        low = dice.random() < 0.1
        price = math.exp(dice.normal(2, 0.2)) * (0.2 if low else 1)
        odds = 0.9 if low else 0.6 if (code, origin) == ("640411", "VN") else 0.05
        one = attributes(
            hs6=code,
            origin=origin,
            importer=f"I{dice.integers(500)}",
            seller=f"S{dice.integers(300)}",
            declarant=f"D{dice.integers(30)}",
            office=str(dice.integers(5)),
            net_mass=2.0,
            amount=2 * price,
        )
        day = date(2020, 1, 1) + timedelta(days=number * DAYS // count)
        rows.append(Labelled(day, one, bool(dice.random() < odds)))
    return rows


def write(path, rows):
    """Write declarations as a folder has them."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for day, a, irregular in rows:
            writer.writerow([day, a.office, a.procedure, a.mode, a.declarant, a.importer, a.seller, a.hs6, a.dispatch, a.origin, a.duty_rate, a.regime, a.net_mass, a.amount, int(irregular)])  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    return fit(stream(6000))


@pytest.fixture(scope="module")
def exported(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tabular")
    fitted[0].save(folder)
    export_tabular(folder, folder)
    return TabularModel.load(folder)


def test_a_later_period_is_judged_well_and_calibrated(fitted):
    """The route and the price are found, from the past alone."""
    model, history = fitted
    later = stream(1500, seed=8)
    risk = model.probabilities(replay(later, history, outcomes=lambda _: False))
    irregular = np.array([row.irregular for row in later])
    riskiest = np.argsort(-risk)[:150]
    assert irregular[riskiest].mean() > 2.5 * irregular.mean()
    assert abs(risk.mean() - irregular.mean()) < 0.05


def test_onnx_gives_what_the_training_gave(fitted, exported):
    """Trees exactly, with unknown values too; the network within its stored precision."""
    model, history = fitted
    rows = np.stack([history.features(row.attributes) for row in stream(200, seed=9)])
    rows[::5, FEATURES.index("price")] = np.nan
    rows[::7, FEATURES.index("duty_rate")] = np.nan
    wanted = model.probabilities(rows)
    found = [exported.judge(row).probability for row in rows]
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_a_row_is_judged_by_what_was_known_before_its_day():
    """Neither its own outcome nor one of the same day is among its features."""
    rows = stream(400)
    turned = [Labelled(r.day, r.attributes, not r.irregular) if r.day == rows[-1].day else r for r in rows]  # fmt: skip
    np.testing.assert_array_equal(replay(rows, History()), replay(turned, History()))


def test_a_trader_and_code_never_seen_are_judged(exported):
    """Out of vocabulary is no error and no certainty."""
    unknown = attributes(importer="new", seller="new", hs6="999999", origin="XX", amount=None, duty_rate=None)  # fmt: skip
    judged = exported.judge(features(unknown, {}, None))
    assert 0.02 < judged.probability < 0.7


def test_past_rates_are_told_relative_to_that_of_all():
    """Ten times as many irregularities everywhere change no lift."""
    few = features(attributes(), {"all": Rate(1000, 20), "code": Rate(100, 20)}, None)
    many = features(attributes(), {"all": Rate(1000, 200), "code": Rate(100, 200)}, None)
    place = FEATURES.index("code_lift")
    assert few[place] > 1
    assert abs(few[place] - many[place]) < 0.3


def test_prices_are_compared_with_peers():
    """The logarithm of the unit price against the median; a median needs eight."""
    peers = Peers.of([math.log(10.0)] * 8)
    row = features(attributes(), {}, peers)
    assert row[FEATURES.index("price")] == pytest.approx(0.0)
    assert Peers.of([1.0] * 7) is None


def test_nobody_is_no_trader():
    """Declarations without an importer are not those of one importer."""
    assert "importer" not in histories(attributes(importer=""))
    assert "route" in histories(attributes(importer=""))


def test_the_scale_is_calibrated():
    """Platt's scale gives the frequencies back."""
    dice = np.random.default_rng(7)
    scores = dice.normal(0, 2, 4000).astype(np.float32)
    happened = (dice.random(4000) < 1 / (1 + np.exp(-0.5 * scores - 1))).astype(np.float32)
    scale = fit_scale(scores, scores, happened, usual=0.5)
    assert scale.log_odds(1.0, 1.0) == pytest.approx(1.5, abs=0.2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is missing"),
        ("Date,Fraud\n2020-01-01,1\n", "lacks the columns"),
        (",".join(COLUMNS) + "\n2020-13-01" + ",1" * (len(COLUMNS) - 1) + "\n", "line 2"),
        (",".join(COLUMNS) + "\n", "no rows"),
    ],
)
def test_a_folder_that_cannot_be_read_says_why(tmp_path, content, says):
    if content is not None:
        (tmp_path / "train.csv").write_text(content)
    with pytest.raises(BadDeclarations, match=says):
        read(tmp_path, "train")


@pytest.mark.heavy
def test_the_command_prints_the_figures(tmp_path):
    """Train and judge, fractions as JSON."""
    for name, seed in (("train", 1), ("valid", 2)):
        rows = stream(800, seed=seed)
        write(tmp_path / f"{name}.csv", [(row.day, row.attributes, row.irregular) for row in rows])
    done = CliRunner().invoke(app, ["evaluate", "risk", "--declarations", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout[done.stdout.index("{") :])
    assert figures.keys() == {"p_at_5", "p_at_10", "auc", "ece", "revenue_at_10"}
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["auc"] > 0.6
