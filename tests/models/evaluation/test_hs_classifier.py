"""Measuring and asking the HS model, as a person does at a terminal."""

import csv
import json
import shutil

import pytest
from typer.testing import CliRunner

from models.datasets.goods import read
from models.evaluation.hs_classifier import evaluate_hs, unseen
from streams.cli import app


@pytest.fixture(scope="module")
def folder(goods_folder, tmp_path_factory):
    """The sample as a folder of goods with a split."""
    target = tmp_path_factory.mktemp("goods")
    shutil.copytree(goods_folder / "images", target / "images")
    with (goods_folder / "goods.csv").open(newline="") as file:
        rows = [row | {"split": "test"} for row in csv.DictReader(file)]
    with (target / "goods.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return target


@pytest.fixture(scope="module")
def figures(folder):
    return evaluate_hs(folder, "test", folder / "plots", say=lambda *_: None)


def test_every_figure_is_there_on_any_folder_of_goods(figures, folder):
    """Fractions, and the two plots; unfamiliar goods too are named far above chance."""
    for name in ("text", "image", "both"):
        row = figures[name]
        assert set(row) == {"top1", "top3", "top5", "macro_f1", "ece", "coverage", "set_size"}
        assert row["top1"] <= row["top3"] <= row["top5"] <= 1
        assert row["top5"] > 0.2
        assert row["set_size"] >= 1
    assert figures["both"]["top5"] > figures["image"]["top5"]
    assert 0.5 < figures["agreement_auc"] <= 1
    for plot in ("reliability.png", "confusion.png"):
        assert (folder / "plots" / plot).read_bytes().startswith(b"\x89PNG")


def test_four_languages_are_read_alike(figures):
    """HS6 among the five best by customs texts held out; at most five points apart."""
    shares = figures["languages"]
    assert set(shares) == {"en", "fr", "nl", "de"}
    assert min(shares.values()) > 0.7
    assert max(shares.values()) - min(shares.values()) <= 0.05


def test_no_goods_of_the_withheld_codes_is_said_so(goods_folder):
    """The sample's shoes may be of withheld codes; a chair is not."""
    chairs = [one for one in read(goods_folder) if one.hs6.startswith("9401")]
    assert unseen(chairs, lambda *_: None) == {"codes": 0, "goods": 0}


def run(*arguments):
    return CliRunner().invoke(app, ["classify", *map(str, arguments)])


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize(
    "text", ["men shirt cotton", "chemise pour hommes, coton", "herenhemd katoen"]
)
def test_classify_names_a_shirt_in_each_language(text):
    """Of cotton, for men: 620520, or knitted 610510."""
    done = run("--text", text, "--json")
    found = json.loads(done.stdout)
    assert {"620520", "610510"} & {one["hs6"] for one in found["candidates"]}
    assert found["set"]
    assert found["agreement"] is None


def test_classify_shows_what_a_photo_shows(goods_folder):
    """Text and photo of one product agree more than with another product's photo."""
    by_name = {one.item_id: one for one in read(goods_folder)}
    shoe, sofa = by_name["runx-running-shoe"], by_name["grey-fabric-sofa"]
    agreement = {}
    for one in (shoe, sofa):
        done = run("--text", shoe.description, "--image", one.image, "--json")
        found = json.loads(done.stdout)
        assert len(found["shown"]) == 3
        agreement[one.item_id] = found["agreement"]
    assert agreement["runx-running-shoe"] > agreement["grey-fabric-sofa"]


def test_classify_says_what_is_wrong(tmp_path):
    """Nothing to classify, no such file, no photo."""
    assert run().exit_code == 2
    assert run("--image", tmp_path / "none.jpg").exit_code == 1
    (tmp_path / "page.jpg").write_text("<html>")
    done = run("--image", tmp_path / "page.jpg")
    assert done.exit_code == 1
    assert "photo_format_refused" in done.output
