"""Folders of goods: with and without texts and splits, and what is wrong with others."""

import pytest

from models.datasets.goods import BadCatalogue, read, split_or_test

HEADER = "item_id,image,description,hs6,split\n"


@pytest.fixture
def folder(tmp_path):
    """A function that writes goods.csv beside one photo."""
    (tmp_path / "a.jpg").write_bytes(b"photo")

    def write(content, encoding="utf-8"):
        (tmp_path / "goods.csv").write_text(content, encoding=encoding)
        return tmp_path

    return write


def test_goods_of_which_there_is_only_a_photo(folder):
    """They are among the goods, unless only those with a text are asked for."""
    goods = folder(
        HEADER + "1,a.jpg,,940320,dev\n2,a.jpg,wall shelf,940320,dev\n3,a.jpg, ,940320,\n"
    )
    assert [(item.item_id, item.has_text) for item in read(goods)] == [
        ("1", False),
        ("2", True),
        ("3", False),
    ]
    assert [item.item_id for item in read(goods, "dev", described=True)] == ["2"]


def test_source_and_split_may_be_named(folder):
    goods = folder(
        "item_id,image,description,hs6,source,split\n1,a.jpg,,940320,shop,dev\n2,a.jpg,,940320,,\n"
    )
    assert [(item.source, item.split) for item in read(goods)] == [("shop", "dev"), ("", "")]
    goods = folder("item_id,image,description,hs6\n1,a.jpg,,940320\n")
    assert [(item.source, item.split) for item in read(goods)] == [("", "")]


def test_the_split_that_is_measured(folder):
    """The one named, else test; all rows of a folder without splits."""
    goods = folder(HEADER + "1,a.jpg,,940320,dev\n")
    assert split_or_test(goods, "dev") == "dev"
    assert split_or_test(goods, None) == "test"
    goods = folder("item_id,image,description,hs6\n1,a.jpg,,940320\n")
    assert split_or_test(goods, None) is None


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (HEADER, {}, "has no goods."),
        (HEADER, {"split": "test"}, "has no goods of split 'test'; it has the splits: -."),
        (
            HEADER + "1,a.jpg,,940320,train\n2,a.jpg,,940320,dev\n",
            {"split": "test"},
            "has no goods of split 'test'; it has the splits: dev, train.",
        ),
        (
            HEADER + "1,a.jpg,,940320,test\n",
            {"split": "test", "described": True},
            "has no goods of split 'test' with a description.",
        ),
        ("item_id,image,hs6\n", {}, "lacks the columns description."),
        (
            "item_id,image,description,hs6\n1,a.jpg,,940320\n",
            {"split": "test"},
            "has no column split, so there is no split 'test'.",
        ),
        (HEADER + "1,a.jpg,,9403\n", {}, "line 2: hs6 '9403' is not six digits."),
        (HEADER + "1,a.jpg\n", {}, "line 2: has fewer fields than the header."),
        (HEADER + "1,b.jpg,,940320,test\n", {}, "line 2: there is no photo"),
    ],
)
def test_what_is_wrong_is_told_with_the_file(folder, content, options, message):
    """And with the line, where it is in one."""
    goods = folder(content)
    with pytest.raises(BadCatalogue) as caught:
        read(goods, **options)
    assert str(caught.value).startswith(str(goods / "goods.csv"))
    assert message in str(caught.value)


def test_a_file_that_is_not_utf_8(folder):
    with pytest.raises(BadCatalogue, match="utf-8"):
        read(folder(HEADER + "1,a.jpg,étagère,940320,test\n", encoding="latin-1"))
