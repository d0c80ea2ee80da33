"""Naming goods texts and finding false codes, on models small enough to see through."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from models.datasets.texts import BadTexts
from models.evaluation.texts import by_heading, evaluate_texts, false_codes, misdeclared
from models.hs.classifier import Posteriors
from streams.cli import app

HEADER = "id,source,lang,text,hs6\n"
CODES = ("610910", "610990", "611020", "620520", "940320")


class Speller:
    """A scorer to which a text is of the code that it spells, and the risk is how far another is."""

    codes = CODES

    @property
    def hs(self):
        return self

    def embed_texts(self, texts):
        return [np.array([text[:6] == code for code in CODES], np.float32) for text in texts]

    @property
    def text_experts(self):
        return self

    @property
    def nomenclature(self):
        return self

    def log_probabilities(self, texts):
        return texts

    def similarities_of_photo(self, photos):
        raise AssertionError("there are no photos")

    def posteriors(self, text, photo, **_):
        return Posteriors(
            (text + 0.01) / (text + 0.01).sum(axis=-1, keepdims=True), np.ones(len(text))
        )

    def hs_set(self, modality, posterior):
        return (CODES[int(posterior.probabilities.argmax())][:4],)

    def log_odds(self, code, posteriors, external):
        best = CODES[int(posteriors.text.probabilities.argmax())]
        return float(sum(a != b for a, b in zip(best, code, strict=True)))


@pytest.fixture
def file(tmp_path):
    """Four texts that spell their code, one that spells another, one of an unknown code."""
    rows = [(code, code) for code in ("610910", "611020", "620520", "940320")]
    rows += [("620520", "610990"), ("000000", "000000")]
    table = tmp_path / "spelled.csv"
    lines = [f"{n},mine,en,{text},{code}\n" for n, (text, code) in enumerate(rows)]
    table.write_text(HEADER + "".join(lines))
    return table


def test_figures_of_texts_counted_by_hand(file):
    """By the file's name; the unknown code is left out and counted."""
    steps = []
    figures = evaluate_texts([file], Speller(), lambda *step: steps.append(step))
    row = figures["spelled"]
    assert list(figures) == ["spelled"]
    assert (row["n"], row["outside"]) == (5, 1)
    assert row["top1"] == row["heading_top1"] == row["coverage"] == 0.8
    assert row["chapter_top1"] == 0.8
    assert (row["told"], row["set_size"]) == (1.0, 1.0)
    assert row["misdeclared"]["auc_far"] > 0.5
    assert steps == [("Naming the texts of spelled", 0, 5)]


def test_the_same_seed_gives_the_same_figures(file):
    """Whatever other files are measured."""
    twin = file.with_name("twin.csv")
    twin.write_text(file.read_text())
    first, second = evaluate_texts([file, twin], Speller(), lambda *_: None).values()
    assert first == second


def test_a_file_of_unknown_codes_is_refused(file):
    """Before anything is scored."""
    unknown = file.with_name("unknown.csv")
    unknown.write_text(HEADER + "1,mine,en,laptop,000000\n")
    with pytest.raises(BadTexts, match=r"unknown\.csv has no text whose hs6 is in the bundle's"):
        evaluate_texts([file, unknown], Speller(), pytest.fail)


def test_false_codes_are_of_another_heading_of_the_file():
    """Near ones of the same chapter; every heading is drawn, and as often as any other."""
    codes, dice = by_heading(CODES), np.random.default_rng(0)
    drawn = [false_codes("611020", codes, dice) for _ in range(3000)]
    far, near, same = zip(*drawn, strict=True)
    headings, counts = np.unique([code[:4] for code in far], return_counts=True)
    assert headings.tolist() == ["6109", "6205", "9403"]
    assert counts.min() > 900
    assert set(near) == {"610910", "610990"}
    assert set(same) == {None}
    assert false_codes("610910", codes, dice)[2] == "610990"


def test_a_heading_alone_in_its_chapter_or_file_has_no_false_code():
    dice = np.random.default_rng(0)
    far, near, same = false_codes("940320", by_heading(CODES), dice)
    assert far in CODES
    assert (near, same) == (None, None)
    assert false_codes("610910", by_heading(["610910"]), dice) == (None, None, None)


def test_misdeclared_goods_counted_by_hand():
    """One of ten right ones may be flagged; rows without a near code do not count for it."""
    right = [float(n) for n in range(10)]
    far = [8.5] * 5 + [8.0] + [7.5] * 4
    near = [np.nan] * 9 + [10.0]
    figures = misdeclared(right, far, near, near[::-1])
    assert figures["auc_far"] == pytest.approx(0.5 * 0.9 + 0.1 * 0.85 + 0.4 * 0.8)
    assert figures["recall_far_at_10"] == 0.5
    assert (figures["auc_near"], figures["recall_near_at_10"]) == (1.0, 1.0)
    assert (figures["auc_sub"], figures["recall_sub_at_10"]) == (1.0, 1.0)


def test_without_any_false_code_there_is_nothing_to_tell():
    figures = misdeclared([1.0], [np.nan], [np.nan], [np.nan])
    assert len(figures) == 6
    assert set(figures.values()) == {None}


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_the_command_measures_a_bundle(bundle, tmp_path, options):
    """A folder of files, each by its name; the number of unknown codes is shown."""
    texts = ["cotton t-shirt,610910", "men shirt cotton,620520", "laptop computer,847130"]
    for name, rows in (("a", texts), ("b", [*texts, "unknown goods,000000"])):
        lines = (f"{n},mine,en,{row}\n" for n, row in enumerate(rows))
        (tmp_path / f"{name}.csv").write_text(HEADER + "".join(lines))
    words = ["evaluate", "hs", "--texts", str(tmp_path), "--bundle", str(bundle), *options]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    if not options:
        assert "Left out: 1 texts of b, whose code is outside" in " ".join(done.stdout.split())
        return
    figures = json.loads(done.stdout)
    assert [(name, row["n"], row["outside"]) for name, row in figures.items()] == [
        ("a", 3, 0),
        ("b", 3, 1),
    ]
    del figures["a"]["outside"], figures["b"]["outside"]
    assert figures["a"] == figures["b"]
    assert 0 <= figures["a"]["misdeclared"]["auc_far"] <= 1
    assert figures["a"]["misdeclared"]["auc_near"] is None
