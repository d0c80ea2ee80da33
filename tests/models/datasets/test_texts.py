"""Files of goods texts: what is read of them, and what is wrong with others."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.datasets.goods import Goods
from models.datasets.texts import (
    BadTexts,
    GoodsText,
    files,
    of_goods,
    openly_licensed,
    read,
    to_choose_on,
    to_learn_from,
    to_measure_on,
)

HEADER = "id,source,lang,text,hs6\n"


@pytest.fixture
def written(tmp_path):
    """A function that writes a file."""

    def write(content, encoding="utf-8"):
        file = tmp_path / "parcels.csv"
        file.write_text(content, encoding=encoding)
        return file

    return write


def test_more_columns_are_ignored(written):
    """In any order; a quoted text keeps its commas."""
    file = written('note,id,source,lang,hs6,text\nx,1,mine,nl,847130,"laptop, 14 inch"\n')
    assert read(file) == (GoodsText("1", "mine", "nl", "laptop, 14 inch", "847130"),)


def test_a_byte_order_mark_is_no_part_of_the_first_column(written):
    """Spreadsheets write one."""
    assert read(written(HEADER + "1,mine,en,laptop,847130\n", "utf-8-sig"))[0].id == "1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: lacks the columns id, source, lang, text, hs6."),
        ("id,source,text\n", "line 1: lacks the columns lang, hs6."),
        (HEADER, "has no texts."),
        (HEADER + "1,mine,en,laptop,847130\n2,mine,en,laptop,8471\n", "line 3: hs6 '8471' is not"),
        (HEADER + "1,mine,en,laptop,٨٤٧١٣٠\n", "line 2: hs6 '٨٤٧١٣٠' is not six digits."),
        (HEADER + "1,mine,en, ,847130\n", "line 2: text is empty."),
        (HEADER + "1,mine,en,laptop\n", "line 2: has fewer fields than the header."),
        (HEADER + f"1,mine,en,{'x' * 200_000},847130\n", "after line 1: field larger"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(written, content, message):
    file = written(content)
    with pytest.raises(BadTexts) as caught:
        read(file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)


def test_a_file_that_is_not_utf_8(written):
    with pytest.raises(BadTexts, match="utf-8"):
        read(written(HEADER + "1,mine,fr,étagère,940320\n", "latin-1"))


def test_a_folder_stands_for_its_csv_files(tmp_path):
    """By name; a folder of none, or a path that does not exist, is refused."""
    with pytest.raises(BadTexts, match="has no CSV file"):
        files(tmp_path)
    for name in ("b.csv", "a.csv", "README.md"):
        (tmp_path / name).touch()
    assert files(tmp_path) == (tmp_path / "a.csv", tmp_path / "b.csv")
    assert files(tmp_path / "b.csv") == (tmp_path / "b.csv",)
    with pytest.raises(BadTexts, match="does not exist"):
        files(tmp_path / "c.csv")


def goods(item_id, **values):
    return Goods(item_id, Path("photo.jpg"), **{"description": "mug", "hs6": "691200", **values})


def test_goods_give_their_descriptions_and_titles():
    """Not titles that name the class, nor anything of goods of which there is only a photo."""
    texts = of_goods([
        goods("1", title="Blue mug", source="shop"),
        goods("2", title="Apple", source="grocery"),
        goods("3", title="Vase", description=" "),
        goods("4"),
    ])  # fmt: skip
    assert texts == (
        GoodsText("1", "shop", "en", "mug", "691200"),
        GoodsText("1-title", "shop", "en", "Blue mug", "691200"),
        GoodsText("2", "grocery", "en", "mug", "691200"),
        GoodsText("4", "", "en", "mug", "691200"),
    )


def test_some_texts_and_two_splits_of_goods_are_not_learned_from():
    """Texts that differ only in capitals are together; the choice stays the same for ever."""
    texts = [GoodsText(str(n), "mine", "en", f"Text {n}", "691200") for n in range(2000)]
    held = [*to_choose_on(texts), *to_measure_on(texts)]
    assert len(set(held)) == len(held)
    for part, first in ((to_choose_on, ["0", "13", "73"]), (to_measure_on, ["23", "33", "63"])):
        assert len(part(texts)) / len(texts) == pytest.approx(0.04, abs=0.015)
        assert [text.id for text in part(texts)][:3] == first
        shouted = [replace(text, text=text.text.upper()) for text in texts]
        assert [text.id for text in part(shouted)] == [text.id for text in part(texts)]
    splits = [goods(split, split=split) for split in ("train", "valid", "test", "")]
    learned = to_learn_from(texts, splits)
    assert [text.id for text in learned[-2:]] == ["train", ""]
    assert set(learned[:-2]) == {*texts} - {*held}


def test_open_sources_are_told_from_those_for_research():
    names = ("uk_fpo", "cn2023", "import_declarations", "llm_uk_labels", "fashion", "")
    texts = [GoodsText(name, name, "en", "mug", "691200") for name in names]
    assert [text.id for text in openly_licensed(texts)] == ["uk_fpo", "cn2023"]
