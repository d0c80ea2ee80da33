"""Training in phases: what it reads, and files that are complete or not there."""

import csv
import json
import math

import pytest
from PIL import Image

from models.datasets.goods import Goods, read
from models.training import bundle_builder
from models.training.hs_classifier import (
    MODEL,
    WITHHELD_GOODS,
    Choices,
    peers,
    provide_encoders,
    publish,
    read_splits,
    train,
    write_peers,
)


@pytest.fixture
def folder(tmp_path):
    """Goods of three codes in the splits train and valid, with prices."""
    target = tmp_path / "goods"
    target.mkdir()
    Image.new("RGB", (8, 8)).save(target / "photo.png")
    rows = [
        {"item_id": f"{code}-{split}-{n}", "image": "photo.png", "description": "goods", "hs6": code,
         "split": split, "price_eur": 10 * (n + 1), "net_mass_kg": 2}
        for code in ("010121", "640411", "940161")
        for split, count in (("train", WITHHELD_GOODS), ("valid", 2))
        for n in range(count)
    ]  # fmt: skip
    with (target / "goods.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return target


def quiet(*_):
    """Say nothing."""


def test_withheld_codes_are_in_the_index_and_in_no_training(folder):
    splits = read_splits(folder, folder, Choices(withhold=1))
    (withheld,) = splits.withheld
    assert {item.hs6 for item in splits.past} == {"010121", "640411", "940161"}
    assert splits.trained_codes == sorted({"010121", "640411", "940161"} - {withheld})
    assert withheld not in {item.hs6 for item in (*splits.learn, *splits.held)}
    assert splits.priced == read(folder)


def test_peers_are_the_unit_prices_of_each_code(tmp_path):
    """On a logarithmic scale; goods without price or mass are left out."""
    goods = [
        Goods(str(n), tmp_path, "", "640411", price_eur=price, net_mass_kg=mass)
        for n, (price, mass) in enumerate([(20.0, 2.0), (40.0, 2.0), (80.0, 2.0), (None, 1.0), (5.0, None)])
    ]  # fmt: skip
    ((hs6, count, median, spread),) = peers(goods)
    assert (hs6, count, median) == ("640411", 3, round(math.log(20), 4))
    assert spread == pytest.approx(math.sqrt((2 * math.log(2) ** 2 + 2 * 0.35**2) / 4), abs=1e-4)
    write_peers(tmp_path, goods)
    assert (tmp_path / "peers.csv").read_text().splitlines() == [
        "hs6,count,median,spread", f"640411,3,{median},{spread}"
    ]  # fmt: skip


def test_the_tuned_encoders_of_before_are_kept_unless_they_are_tuned_now(folder, tmp_path):
    """With them the embeddings of the nomenclature."""
    before, artifacts = tmp_path / "before", tmp_path / "artifacts"
    before.mkdir()
    artifacts.mkdir()
    for name in ("text.safetensors", "nomenclature.safetensors", "fusion.safetensors"):
        (before / name).write_text(name)
    choices = Choices(tune=False, image_encoder="other")
    provide_encoders(read_splits(folder, folder, choices), before, artifacts, choices, quiet)
    assert {path.name for path in artifacts.iterdir()} == {
        "text.safetensors", "nomenclature.safetensors", MODEL
    }  # fmt: skip
    encoders = {"text": "packaged", "image": "other"}
    assert json.loads((artifacts / MODEL).read_text()) == {"encoders": encoders}


def test_files_are_published_whole_and_the_model_last(tmp_path, monkeypatch):
    """Whoever finds a new model finds the files that it needs."""
    artifacts, out = tmp_path / "artifacts", tmp_path / "out"
    artifacts.mkdir()
    out.mkdir()
    for name in (MODEL, "peers.csv", "text.safetensors"):
        (artifacts / name).write_text("new")
        (out / name).write_text("old")
    moved = []
    replace = type(out).replace

    def watched(path, target):
        moved.append(path.name)
        return replace(path, target)

    monkeypatch.setattr(type(out), "replace", watched)
    publish(artifacts, out)
    assert moved == ["peers.csv", "text.safetensors", MODEL]
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(moved, "new")


def test_a_training_that_fails_leaves_what_was_there(folder, tmp_path, monkeypatch):
    """No half-written model, and no temporary folder."""

    def fail(*_, **__):
        raise RuntimeError("no bundle")

    monkeypatch.setattr(bundle_builder, "build", fail)
    out = tmp_path / "out"
    out.mkdir()
    (out / MODEL).write_text("old")
    with pytest.raises(RuntimeError, match="no bundle"):
        train(folder, folder, out, Choices(tune=False), quiet)
    assert [path.name for path in out.iterdir()] == [MODEL]
    assert (out / MODEL).read_text() == "old"
