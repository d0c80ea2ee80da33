"""Rows of declarations paired with goods of their code, irregularities injected, evidence left out."""

import csv
import math
from datetime import date, timedelta

import numpy as np
import pytest

from models.datasets.declarations import BadDeclarations
from models.datasets.goods import read
from models.scoring.scorer import Scorer
from streams.synthetic.evidence_benchmark import COMBINATIONS, SHARES, evaluate_evidence, stores
from tests.models.risk.test_tabular import attributes, write

KIND_ROWS = 260


@pytest.fixture(scope="module")
def folders(goods_folder, tmp_path_factory):
    """The sample's goods as the split test, and declarations of their codes."""
    goods = tmp_path_factory.mktemp("goods")
    (goods / "images").symlink_to(goods_folder / "images")
    with (goods_folder / "goods.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (goods / "goods.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "split"])
        writer.writeheader()
        writer.writerows(row | {"split": "test"} for row in rows)
    declarations = tmp_path_factory.mktemp("declarations")
    codes = sorted({product.hs6 for product in read(goods)})
    for name, start, seed in (("train", date(2020, 1, 1), 1), ("valid", date(2021, 1, 1), 2)):
        dice = np.random.default_rng(seed)
        labelled = []
        for number in range(KIND_ROWS):
            code = str(dice.choice(codes))
            row = attributes(
                hs6=code,
                importer=f"I{dice.integers(200)}",
                seller=f"S{dice.integers(100)}",
                duty_rate=float(codes.index(code)),
                amount=1350 * math.exp(dice.normal(5.5, 0.3)),
            )
            labelled.append((start + timedelta(days=number // 4), row, number % 5 == 0))
        write(declarations / f"{name}.csv", labelled)
    return goods, declarations


def test_each_evidence_is_judged_on_the_same_declarations(bundle, folders):
    """Photos reveal what only they can reveal; all shares are fractions."""
    goods, declarations = folders
    with stores(1) as signals:
        figures = evaluate_evidence(goods, declarations, Scorer.load(bundle, threads=1), signals, say=lambda *_: None)  # fmt: skip
    assert figures["irregular"] == pytest.approx(sum(SHARES.values()) + 0.04, abs=0.04)
    for name in COMBINATIONS:
        assert set(figures[name]["by_kind"]) == {*SHARES, "own"}
        assert 0 <= figures[name]["recall_at_10"] <= 1
        assert 0 <= figures[name]["ece"] <= 1
    by_photo, without = (figures[name]["by_kind"]["photo_reuse"] for name in ("all", "tabular"))
    assert by_photo > without


def test_declarations_of_other_goods_are_refused(bundle, folders, tmp_path):
    """No row's code occurs among the goods."""
    goods, _ = folders
    for name in ("train", "valid"):
        write(tmp_path / f"{name}.csv", [(date(2020, 1, 1), attributes(hs6="010121"), False)])
    with stores(1) as signals, pytest.raises(BadDeclarations, match="occurs among the goods"):
        evaluate_evidence(goods, tmp_path, Scorer.load(bundle, threads=1), signals, say=lambda *_: None)  # fmt: skip
