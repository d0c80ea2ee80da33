"""Texts that name no goods, in four languages, and those that do."""

import numpy as np
import pytest

from models.risk.vagueness import (
    OPEN_NAMED,
    Naming,
    chapter_entropy,
    naming,
    texts_to_read,
    vague,
)
from schemas.records import GoodsItem

NOTHING = """gift; Gifts; SAMPLES; see invoice; as per attached list; various goods; personal effects;
parts; spare parts; accessories; household goods; general cargo; said to contain; freight of all kinds;
consumer goods; n/a; test; birthday gift for my friend; 2 pcs gift; sample, no commercial value; 12345; ---;
no description; not specified; household effects; promotional items; removal goods; assortment;
cadeau; cadeaux; cadeau d'anniversaire pour mon ami; assortiment; échantillons sans valeur commerciale; marchandises diverses; effets personnels;
pièces détachées; accessoires; voir facture; articles divers; colis; Geschenk; Geschenke; Warenmuster;
Muster ohne Wert; verschiedene Waren; persönliche Gegenstände; Ersatzteile; Zubehör; Zubehoer;
siehe Rechnung; Handelsware; Geburtstagsgeschenk; Werbeartikel; Hausrat; andere Waren; diverse goederen; geschenken; stalen; persoonlijke bezittingen; onderdelen;
reserveonderdelen; toebehoren; zie factuur; huishoudelijke artikelen; verjaardagscadeau; inboedel; verhuisgoederen; <b>gift</b>; gi\u200bft"""
SORT = """electronics; fashion accessories; sports goods; Sportartikel; articles de sport; beauty products;
 clothing; clothes; ladies' apparel; machinery; machine parts; auto parts; plastic
goods; tools; appliances; chemicals; foodstuffs; vêtements; appareils électriques; produits alimentaires;
Elektronik; Bekleidung; Autoteile; Werkzeuge; elektronica; kleding; levensmiddelen; auto-onderdelen"""
GOODS = """cotton t-shirt; gift cotton t-shirt; sample of cotton t-shirt; gift box; brake parts; laptop;
rice; toys; steel pipes; phone case; leather shoes; staal; van; Kinderwagen; coque de téléphone;
reserveonderdelen voor stofzuigers; 礼品; ps5"""


def listed(texts):
    return [text.strip() for text in texts.replace("\n", " ").split(";")]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(NOTHING, Naming.NOTHING), (SORT, Naming.SORT), (GOODS, Naming.GOODS)],
)
def test_what_a_text_names(texts, expected):
    """By its words, whatever their number, case, accents and what stands around them."""
    assert {text: naming(text) for text in listed(texts)} == dict.fromkeys(listed(texts), expected)


def test_texts_that_name_no_goods_are_left_out():
    """The title steps in for the description."""
    item = GoodsItem(description="gift", product_title="Laptop computer 13 inch")
    texts = texts_to_read(item)
    assert (texts.first, texts.second) == ("Laptop computer 13 inch", "")
    texts = texts_to_read(GoodsItem(description="notebook", product_title="Laptop 13 inch"))
    assert (texts.first, texts.second) == ("notebook", "Laptop 13 inch")


CHAPTERS = np.repeat(np.arange(1, 21), 5)


def test_a_text_that_leaves_many_chapters_open_is_vague_whatever_its_words():
    """The more of them, the more it tells; many codes of one chapter are no sign."""
    one_chapter = np.where(CHAPTERS == 7, 0.2, 0.0).astype(np.float32)
    assert chapter_entropy(one_chapter, CHAPTERS) == pytest.approx(0)
    assert vague("regalo", one_chapter, CHAPTERS) is None
    ratios = []
    for count in (6, 12, 20):
        spread = np.where(count >= CHAPTERS, 1 / (5 * count), 0.0).astype(np.float32)
        assert chapter_entropy(spread, CHAPTERS) == pytest.approx(np.log(count))
        ratios.append(vague("regalo", spread, CHAPTERS))
        assert bool(ratios[-1].words) == (np.log(count) >= OPEN_NAMED)
    assert 0 < ratios[0].log_ratio < ratios[1].log_ratio < ratios[2].log_ratio


def test_words_tell_without_a_model_and_an_absent_text_is_not_vague():
    """Absence is a degradation of its own."""
    nothing, sort = vague("gift", None, CHAPTERS), vague("electronics", None, CHAPTERS)
    assert nothing.log_ratio > sort.log_ratio > 0
    assert (nothing.words, sort.words) == (
        "the text names no goods",
        "the text names only a sort of goods",
    )
    for absent in ("", " \t", "\u200b\u200b", "<br>"):
        assert vague(absent, None, CHAPTERS) is None
