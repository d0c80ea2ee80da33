"""Measuring and asking the HS model, as a person does at a terminal."""

import csv
import json
import shutil

import pytest
from typer.testing import CliRunner

from models.datasets.goods import read
from models.evaluation.hs_classifier import evaluate_hs
from streams.cli import app


@pytest.fixture(scope="module")
def folder(goods_folder, tmp_path_factory):
    """The sample as a folder of goods with a split; one without text, one of an unknown code."""
    target = tmp_path_factory.mktemp("goods")
    shutil.copytree(goods_folder / "images", target / "images")
    with (goods_folder / "goods.csv").open(newline="") as file:
        rows = [row | {"split": "test"} for row in csv.DictReader(file)]
    rows += [rows[0] | {"item_id": "photo-only", "description": ""}]
    rows += [rows[0] | {"item_id": "outside", "hs6": "000000"}]
    with (target / "goods.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return target


def quiet(*_):
    pass


@pytest.fixture(scope="module")
def figures(folder, bundle):
    return evaluate_hs(folder, "test", bundle, folder / "plots", say=quiet)


def test_every_figure_is_there_on_any_folder_of_goods(figures, folder):
    """Fractions, and the two plots; unfamiliar goods too are named far above chance."""
    for name in ("text", "image", "both"):
        row = figures[name]
        assert row["top1"] <= row["top3"] <= row["top5"] <= 1
        assert row["top1"] <= row["heading_top1"] <= row["chapter_top1"]
        assert row["top5"] > 0.2
        assert 0 <= row["told"] <= 1
        assert row["set_size"] >= 1 or not row["told"]
    assert figures["both"]["top5"] > figures["image"]["top5"]
    assert 0.5 < figures["agreement_auc"] <= 1
    for plot in ("reliability.png", "confusion.png"):
        assert (folder / "plots" / plot).read_bytes().startswith(b"\x89PNG")


def test_goods_without_a_text_are_judged_by_their_photo_alone(figures):
    """The three are compared on goods that have both; codes outside the nomenclature are counted."""
    counts = {name: figures[name]["n"] for name in ("text", "image", "both")}
    assert counts["image"] == counts["text"] + 1 == counts["both"] + 1
    assert figures["outside"] == 1
    paired = figures["paired"]
    assert paired["n"] == counts["both"]
    assert (paired["text"], paired["both"]) == (figures["text"]["top1"], figures["both"]["top1"])


def test_a_folder_of_photos_without_a_split(folder, bundle, tmp_path):
    """Every row counts, and there is nothing to say of text; the photos' own plots are drawn."""
    (tmp_path / "images").symlink_to(folder / "images")
    with (folder / "goods.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:3]
    with (tmp_path / "goods.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("item_id", "image", "description", "hs6"))
        writer.writerows((row["item_id"], row["image"], "", row["hs6"]) for row in rows)
    figures = evaluate_hs(tmp_path, None, bundle, tmp_path / "plots", say=quiet)
    assert figures["image"]["n"] == 3
    assert (figures["text"], figures["both"], figures["agreement_auc"]) == (None, None, None)
    assert figures["paired"] == {"n": 0, "text": None, "image": None, "both": None}
    assert (tmp_path / "plots" / "confusion.png").exists()


def run(*arguments):
    return CliRunner().invoke(app, ["classify", *map(str, arguments)])


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize(
    "text", ["men shirt cotton", "chemise pour hommes, coton", "herenhemd katoen"]
)
def test_classify_names_a_shirt_in_each_language(text):
    """Of cotton, for men: 620520, or knitted 610510. The set holds one of them, or is empty."""
    done = run("--text", text, "--json")
    found = json.loads(done.stdout)
    assert {"620520", "610510"} & {one["hs6"] for one in found["candidates"]}
    assert not found["set"] or any(
        code.startswith(tuple(found["set"])) for code in ("620520", "610510")
    )
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
