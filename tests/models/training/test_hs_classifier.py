"""Training in phases: what it reads, and files that are complete or not there."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models.datasets.goods import Goods, read
from models.datasets.texts import BadTexts, to_choose_on, to_measure_on
from models.datasets.texts import read as read_texts
from models.encoding.text import NGRAMS
from models.hs.embedded_nomenclature import Nomenclature
from models.hs.nomenclature import lines
from models.training import bundle_builder
from models.training.embeddings import Embedded
from models.training.hs_classifier import (
    EXEMPLARS,
    MODEL,
    UNFINISHED,
    Choices,
    make_index,
    peers,
    provide_encoders,
    publish,
    train,
    tune_encoders,
    work_folder,
    write_peers,
)
from models.training.pretrained import BadEncoder
from models.training.splits import Sources, folder_weights, read_splits
from models.training.text import experts, trust


@pytest.fixture
def folder(tmp_path):
    """Goods of three codes and of one that the nomenclature lacks, in two splits, with prices."""
    target = tmp_path / "goods"
    target.mkdir()
    Image.new("RGB", (8, 8)).save(target / "photo.png")
    rows = [
        {"item_id": f"{code}-{split}-{n}", "image": "photo.png", "description": "goods", "hs6": code,
         "split": split, "price_eur": 10 * (n + 1), "net_mass_kg": 2}
        for code in ("000000", "010121", "640411", "940161")
        for split, count in (("train", 3), ("valid", 2))
        for n in range(count)
    ]  # fmt: skip
    with (target / "goods.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return target


@pytest.fixture
def texts(tmp_path):
    """A file of texts of two codes, one of which the nomenclature lacks."""
    file = tmp_path / "texts.csv"
    rows = [
        (f"{code}-{n}", "parcels", "en", f"goods number {n}", code)
        for code in ("000000", "020110")
        for n in range(60)
    ]
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([("id", "source", "lang", "text", "hs6"), *rows])
    return file


@pytest.fixture
def data(folder, texts):
    return Sources((folder,), (texts,), folder)


def quiet(*_):
    """Say nothing."""


def test_goods_and_texts_of_no_code_of_the_nomenclature_are_left_out(data, folder):
    """Prices alone are read as they are."""
    splits = read_splits(data)
    for goods, split in ((splits.learn, "train"), (splits.held, "valid")):
        assert goods == tuple(item for item in read(folder, split) if item.hs6 != "000000")
    assert splits.trained_codes == ["010121", "640411", "940161"]
    assert {text.hs6 for text in (*splits.texts, *splits.held_texts)} == {
        "010121", "020110", "640411", "940161"
    }  # fmt: skip
    assert splits.priced == read(folder)


def test_texts_are_learned_from_or_chosen_on_or_neither(data, texts):
    """No text of a file is in two parts; those of goods to train on are learned from."""
    splits = read_splits(data)
    inside = [text for text in read_texts(texts) if text.hs6 == "020110"]
    assert set(splits.held_texts) == {*to_choose_on(inside)}
    assert 0 < len(splits.held_texts) < len(inside) / 2
    assert set(splits.texts) > {*inside} - {*to_choose_on(inside), *to_measure_on(inside)}
    assert not {*splits.texts} & {*to_measure_on(inside)}
    described = {text.id for text in splits.texts} - {text.id for text in inside}
    assert described == {item.item_id for item in splits.learn}


def test_several_folders_and_files_are_read_one_after_the_other(data, folder, texts):
    once = read_splits(data)
    twice = read_splits(Sources((folder, folder), (texts, texts), folder))
    assert twice.learn == once.learn * 2
    assert len(twice.held_texts) == 2 * len(once.held_texts)


def test_each_folder_of_goods_weighs_the_same(tmp_path):
    few, many = (
        [Goods(str(n), tmp_path / name / "x.png", "", "640411") for n in range(count)]
        for name, count in (("few", 2), ("many", 8))
    )
    weights = folder_weights([*few, *many])
    assert weights[:2].sum() == pytest.approx(weights[2:].sum())


def test_goods_without_a_text_are_indexed_by_their_photo():
    """At most so many of each code; the projection of texts is fitted on those there are."""
    dice = np.random.default_rng(0)
    photos = dice.normal(size=(300, 140)).astype(np.float32)
    texts = dice.normal(size=(300, NGRAMS + 100)).astype(np.float32)
    texts[::2] = 0
    goods = Embedded(np.array(["010121", "640411", "640411"] * 100), texts, photos)
    nomenclature = Nomenclature.of(
        ["01012100", "64041100"], photos[:2], ["a", "b"], photos[:2], (photos[:2], photos[:2, 0])
    )
    index = make_index(goods, nomenclature)
    assert np.bincount(index.codes).tolist() == [EXEMPLARS, EXEMPLARS]
    assert 0 < index.described.sum() < len(index.codes)
    described = goods.meanings[goods.described]
    np.testing.assert_allclose(
        index.text_projection.centre, described.mean(axis=0), rtol=1e-4, atol=1e-6
    )


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


KEPT = {"text.safetensors", "ngrams.safetensors", "heads.safetensors", "nomenclature.safetensors",
        "image.safetensors", trust.FILE}  # fmt: skip


@pytest.fixture
def no_tuning(monkeypatch):
    """Tune nothing."""
    monkeypatch.setattr("models.training.hs_classifier.tune_encoders", quiet)


@pytest.fixture
def before(tmp_path):
    """The output folder of an earlier training."""
    folder = tmp_path / "before"
    folder.mkdir()
    for name in (*KEPT, "fusion.safetensors"):
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize(
    ("choices", "kept"),
    [
        (Choices(tune=False), KEPT),
        (Choices(keep_trust=True), {"nomenclature.safetensors", trust.FILE}),
        (Choices(), {"nomenclature.safetensors"}),
    ],
)
@pytest.mark.usefixtures("no_tuning")
def test_what_is_kept_of_an_earlier_training(data, tmp_path, before, choices, kept):
    """All encoders, unless they are tuned now; embeddings of the nomenclature, which may still fit."""
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    provide_encoders(read_splits(data), before, artifacts, choices, quiet)
    assert {path.name for path in artifacts.iterdir()} == {*kept, MODEL}
    encoders = {"text": "packaged", "image": "packaged"}
    assert json.loads((artifacts / MODEL).read_text()) == {"encoders": encoders}


def test_experts_that_are_missing_or_of_another_encoder_are_told(data, tmp_path, before):
    def provide(choices):
        provide_encoders(read_splits(data), before, tmp_path, choices, quiet)

    with pytest.raises(BadEncoder, match="holds experts for the text encoder 'packaged'"):
        provide(Choices(tune=False, text_encoder="other"))
    (before / "heads.safetensors").unlink()
    with pytest.raises(BadEncoder, match=r"lacks heads\.safetensors: leave out --no-tune"):
        provide(Choices(tune=False))


def test_an_unfinished_training_goes_on_if_it_is_the_same(data, tmp_path):
    """Another seed, or other texts, begin anew."""
    splits = read_splits(data)
    file = work_folder(tmp_path, splits, Choices()) / "half.safetensors"
    for others, choices in ((splits, Choices(seed=8)), (replace(splits, texts=()), Choices())):
        file.touch()
        assert (work_folder(tmp_path, splits, Choices()) / file.name).exists()
        work_folder(tmp_path, others, choices)
        assert not file.exists()
        work_folder(tmp_path, splits, Choices())


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


def test_a_training_that_fails_leaves_what_was_there(data, before, monkeypatch):
    """No half-written model; what is finished lies in a folder of its own."""

    def fail(*_, **__):
        raise RuntimeError("no bundle")

    monkeypatch.setattr(bundle_builder, "build", fail)
    files = {path.name: path.read_bytes() for path in before.iterdir()}
    with pytest.raises(RuntimeError, match="no bundle"):
        train(data, before, Choices(tune=False), quiet)
    assert {path.name for path in before.iterdir()} == {*files, UNFINISHED}
    assert {name: (before / name).read_bytes() for name in files} == files


def test_text_is_learned_from_every_text_that_is_not_held_back(data, tmp_path, monkeypatch):
    """Every code of the nomenclature can be named."""
    learned = {}

    def learn(texts, codes, out, *, encoder, seed, say):
        learned.update(texts=texts, codes=codes, out=out, encoder=encoder, seed=seed)

    monkeypatch.setattr(experts, "learn", learn)
    splits = read_splits(data)
    choices = Choices(seed=3, text_encoder="mine", image_encoder="other")
    tune_encoders(splits, tmp_path, choices, quiet)
    assert (learned["out"], learned["encoder"], learned["seed"]) == (tmp_path, "mine", 3)
    assert list(learned["codes"]) == sorted({line.hs6 for line in lines()})
    assert learned["texts"] == splits.texts


def test_sources_for_research_alone_can_be_left_out(data, folder, texts):
    """Of goods and of texts; where nothing is left, that is said."""
    table = folder / "goods.csv"
    first, *rest = table.read_text().splitlines()
    sources = ["grocery" if place % 2 else "fashion" for place in range(len(rest))]
    lines_ = [f"{first},source", *(f"{row},{s}" for row, s in zip(rest, sources, strict=True))]
    table.write_text("\n".join(lines_) + "\n")
    with pytest.raises(BadTexts, match="licence"):
        read_splits(replace(data, open_only=True))
    texts.write_text(texts.read_text().replace("parcels", "uk_fpo"))
    splits = read_splits(replace(data, open_only=True))
    assert {item.source for item in (*splits.learn, *splits.held)} == {"grocery"}
    assert {text.source for text in splits.held_texts} == {"uk_fpo"}
    assert {item.source for item in read_splits(data).learn} == {"grocery", "fashion"}
