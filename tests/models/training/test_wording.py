"""Texts as declarants would word them."""

import numpy as np

from models.encoding.text import normalise
from models.training.wording import PARCEL, declared, thinned

OFFICIAL = (
    "Men's or boys' shirts: Of cotton: Knitted, with collar, of a kind used for sport "
    "(excl. nightshirts, T-shirts, singlets and other vests)"
)


def variants(text, count=400):
    dice = np.random.default_rng(3)
    return [declared(text, dice) for _ in range(count)]


def test_variants_are_normalised_never_empty_and_mostly_new():
    for text in (OFFICIAL, "LAPTOP", "40 ctns  PLASTIC bowls", "(excl. fish)", "7"):
        found = variants(text)
        assert all(found)
        assert found == [normalise(variant) for variant in found]
    assert len(set(variants(OFFICIAL))) > 200


def test_long_texts_are_often_worded_by_some_of_their_parts():
    """A short text loses words at most; it is never in parts."""
    found = variants(OFFICIAL)
    assert 0.3 < np.mean([len(variant) < len(OFFICIAL) / 2 for variant in found]) < 0.95
    assert any(variant.startswith("knitted") for variant in found)
    assert "red, blue: green" in variants("red, blue: green")


def test_slips_quantities_packing_and_cuts_occur():
    text = "stainless steel kitchen knife with wooden handle"
    found = variants(text)
    assert any(variant.startswith("assorted ") for variant in found)
    assert any(variant.split()[0].isdigit() for variant in found)
    assert any(len(variant) == PARCEL for variant in found)
    slips = {word for variant in found for word in variant.split()} - set(text.split())
    assert {"knfe", "kitchn", "wdn", "hndl"} & slips  # without vowels


def test_equal_seeds_give_equal_variants():
    assert variants(OFFICIAL) == variants(OFFICIAL)


def test_thinning_keeps_the_order_and_at_least_one_word():
    dice = np.random.default_rng(0)
    assert all(thinned("one", dice) == "one" for _ in range(50))
    found = {thinned("one two three", dice) for _ in range(200)}
    assert "one two three" in found
    assert all(
        variant.split() == sorted(variant.split(), key="one two three".index) for variant in found
    )
