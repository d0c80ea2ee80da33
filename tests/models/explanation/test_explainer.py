"""Explanations: exact shares, found evidence, equal bytes."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from models.datasets.goods import read
from models.encoding.image import PHOTO_SIZE, decode
from models.evaluation.explanation_trial import OBJECT, Trial
from models.evaluation.shuffling import with_parameters_shuffled
from models.explanation.attribution import TABULAR
from models.explanation.explainer import DETAILED, PARTS, Explainer, parts, traders
from models.explanation.heat_map import GRID, Regions, covered
from models.risk.kinds import KINDS, prior_odds
from models.risk.signals import ItemSignals, LiveSignals, Peers, PhotoUse, Rate
from models.risk.tabular import RATED
from models.risk.tariff import Tariff
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from models.scoring.scorer import Scorer
from models.selection.policy import Thresholds
from schemas.examples import examples
from schemas.reasons import LANGUAGES, TEXTS_IN, Reason
from schemas.records import TariffMeasure, TraderHistory

LOW = dict(examples("declaration"))["declaration/low-value"]


MIDDLE = Thresholds(yellow=0.2, red=0.6)
"""Far from the risks of the goods below, whichever thresholds a bundle's weights ask for."""


@pytest.fixture(scope="module")
def scorer(bundle):
    scorer = Scorer.load(bundle, threads=1)
    scorer.thresholds = MIDDLE
    return scorer


@pytest.fixture(scope="module")
def explainer(scorer, bundle):
    return Explainer(scorer, bundle, threads=1)


@pytest.fixture(scope="module")
def goods(goods_folder):
    return read(goods_folder)


@pytest.fixture
def trial(scorer, explainer):
    return Trial(scorer, explainer, np.random.default_rng(7))


def case(scorer, one, *, code="", photos=1, text=None, live=None, tariff=(), **fields):
    """Goods of the sample, declared, with the pixels of their photo."""
    item = replace(
        LOW.goods_items[0],
        commodity_code=code or one.hs6,
        description=one.description if text is None else text,
        item_amount=Decimal(str(one.price_eur)),
        net_mass=Decimal(str(one.net_mass_kg)),
        gross_mass=None,
        **fields,
    )
    pixels = [decode(one.image.read_bytes())] * photos
    embedded = ItemEvidence(
        item,
        scorer.embed_texts([item.description])[0] if item.description else None,
        tuple(scorer.embed_photos(pixels)),
    )
    declaration = replace(LOW, goods_items=(item,))
    return DeclarationEvidence(declaration, (embedded,), live, Tariff(tariff)), [pixels]


def signals(**fields):
    rates = dict.fromkeys(RATED, Rate(40, 20)) | {"all": Rate(1000, 50)}
    use = PhotoUse(0, 4, 4, None, "D7")
    return LiveSignals((ItemSignals(Peers(20, 4.0, 0.3), use, rates),), **fields)


def by_id(goods, slug):
    return next(one for one in goods if one.item_id == slug)


def log_odds(risk):
    return np.log(risk / (1 - risk))


@pytest.mark.parametrize(
    "evidence", [{}, {"photos": 0}, {"text": ""}, {"live": signals(small_count=3, small_value=200)}]
)
def test_modality_shares_add_up_to_the_risk(scorer, explainer, goods, evidence):
    """The sum is the log-odds of all evidence less those of none, whatever is there."""
    declared, photos = case(scorer, goods[0], code="940161", **evidence)
    (verdict,) = scorer.score([declared])
    (explained,) = explainer.explain(declared, photos)
    nothing = sum(map(prior_odds, KINDS))
    shares = {one.part: one.weight for one in explained.explanation.modality_shares}
    # Compared as risks: near 1 the published digits of a risk leave its log-odds open.
    risk = 1 / (1 + np.exp(-sum(shares.values())) / nothing)
    assert risk == pytest.approx(verdict.items[0].risk, abs=2e-6)
    tabular = [a.weight for a in explained.explanation.attributes if a.part in TABULAR]
    assert sum(tabular) == pytest.approx(shares.get("tabular", 0.0), abs=1e-5)


def test_words_stand_where_they_are_declared(scorer, explainer, goods):
    """Markup, blanks and signs of other scripts stay as they are; long texts stay bounded."""
    text = "  <b>SOFA</b>\tgrijs & 灰色  "
    declared, photos = case(scorer, goods[0], text=text)
    (explained,) = explainer.explain(declared, photos)
    words = explained.explanation.words
    assert [word.part for word in words] == text.split()
    assert all(text[word.start :].startswith(word.part) for word in words)
    assert len(parts("a " * 250)) <= PARTS
    assert parts(" ") == []


def test_a_text_that_was_not_read_has_no_words_and_a_fitting_one_would_do(scorer, explainer, goods):
    """The code is judged by the product title."""
    declared, photos = case(scorer, goods[0], text="gift", photos=0, product_title="Sofa")
    (title,) = scorer.embed_texts(["Sofa"])
    (item,) = declared.items
    (explained,) = explainer.explain(replace(declared, items=(replace(item, text=title),)), photos)
    assert explained.explanation.words == ()
    assert Reason.TEXT_VAGUE in {reason.code for reason in explained.explanation.reasons}
    assert Reason.GREEN_WITH_FITTING_TEXT in {
        change.code for change in explained.explanation.changes
    }


def test_a_planted_word_and_a_planted_object_are_found(trial, goods):
    """In most of the sample's goods; the figures on goods not seen are the gate's."""
    names = {"6402": ["SANDALS"], "9102": ["WATCH"], "2009": ["JUICE"], "4202": ["HANDBAG"]}
    some = goods[::4]
    assert np.mean([trial.planted_word(one, names) for one in some]) >= 0.7
    assert np.mean([trial.planted_object(one, goods) for one in some]) >= 0.5


def test_a_shuffled_model_is_explained_otherwise(trial, scorer, goods, bundle):
    """An explanation that ignored the parameters would look the same."""
    assert trial.likeness(goods[::9], scorer.hs, bundle) == pytest.approx(1)
    shuffled = with_parameters_shuffled(scorer.hs, trial.dice)
    assert trial.likeness(goods[::9], shuffled, bundle) < 0.5


def test_equal_input_is_explained_in_equal_bytes(trial, bundle, goods):
    """Also by a model that is loaded anew."""
    assert trial.stable(goods[:2], Explainer(Scorer.load(bundle, threads=1), bundle, threads=1))


def test_the_grid_is_what_the_encoder_sees(scorer, bundle, goods):
    """The mean over it is the embedding, up to rounding."""
    photo = decode(goods[0].image.read_bytes())
    (embedding,) = scorer.embed_photos([photo])
    views = Regions(bundle / "image.onnx", threads=1).left_out(photo)
    assert views.shape == (1 + GRID**2, embedding.size)
    np.testing.assert_allclose(views[0], embedding, atol=1e-5)


def test_an_encoder_that_hides_its_grid_is_asked_cell_by_cell(scorer, bundle, goods, monkeypatch):
    """Another image encoder still gets heat maps."""
    monkeypatch.setattr("models.explanation.heat_map.GRIDS", ("/none/such",))
    photo = decode(goods[0].image.read_bytes())
    views = Regions(bundle / "image.onnx", threads=1).left_out(photo)
    assert views.shape == (1 + GRID**2, scorer.image_dimension)
    assert views[0].tobytes() == scorer.embed_photos([photo])[0].tobytes()
    changed = np.array([(one != photo).any(axis=2) for one in covered(photo)[1:]])
    assert changed.sum(axis=0).max() == 1


def test_a_price_is_shown_beside_its_peers(scorer, explainer, goods):
    """In words, with the range of 95 of 100."""
    declared, photos = case(scorer, goods[0], live=signals())
    (explained,) = explainer.explain(declared, photos)
    details = {one.part: one.detail for one in explained.explanation.attributes}
    assert details.keys() == {"price", "history", "consignments", "photo_use"}
    assert "EUR/kg; 95 % of 20 peers 30.33–98.30" in details["price"]
    assert "other headings 4 of 4" in details["photo_use"]
    peers = explained.explanation.peers
    assert (peers.count, round(peers.low, 2), round(peers.high, 2)) == (20, 30.33, 98.3)
    assert peers.unit_price == pytest.approx(goods[0].price_eur / goods[0].net_mass_kg)


def test_the_record_of_each_party_is_shown_without_its_name(scorer, goods):
    """Of those that are identified; without recorded signals nothing is known."""
    live = signals(importer_day=3)
    declared, _ = case(scorer, goods[0], live=live)
    importer = replace(LOW.importer, identification="BE0123456789")
    declaration = replace(declared.declaration, importer=importer, seller=None, declarant=None)
    histories = traders(replace(declared, declaration=declaration))
    assert histories == (
        TraderHistory(role="importer", inspected=40, irregular=20, declarations_day=3),
    )
    unrated = replace(live, items=(replace(live.items[0], rates={}),))
    (new,) = traders(replace(declared, declaration=declaration, live=unrated))
    assert (new.inspected, new.irregular) == (0, 0)
    assert traders(replace(declared, live=None)) == ()


def test_no_lane_of_these_tests_is_near_a_threshold(scorer, goods):
    """Under its own code the sofa is green by more than a nat, under the false one red."""
    sofa = by_id(goods, "grey-fabric-sofa")
    right, false = (
        scorer.score([case(scorer, sofa, code=code)[0]])[0].risk for code in ("", "640411")
    )
    assert log_odds(right) < log_odds(MIDDLE.yellow) - 1
    assert log_odds(false) > log_odds(MIDDLE.red) + 1


def test_the_suggested_code_its_duty_and_the_change_are_shown(scorer, explainer, goods):
    """A sofa declared as something else: the right code alone would make it green."""
    sofa = by_id(goods, "grey-fabric-sofa")
    measures = [
        TariffMeasure(measure_id=code, commodity_code=code, duty_rate=rate)
        for code, rate in ((sofa.hs6, 5.6), ("640411", 1.0))
    ]
    declared, photos = case(scorer, sofa, code="640411", tariff=measures)
    (explained,) = explainer.explain(declared, photos)
    explanation = explained.explanation
    assert explanation.suggested_hs6 == sofa.hs6
    assert explanation.duty_difference == round(Decimal(str(sofa.price_eur)) * Decimal("0.046"), 2)
    changes = {change.code: change for change in explanation.changes}
    assert changes[Reason.GREEN_WITH_SUGGESTED_CODE].weight < 0
    assert [similar.similarity for similar in explanation.similar_goods] == sorted(
        (similar.similarity for similar in explanation.similar_goods), reverse=True
    )
    assert all(
        similar.reference.startswith(f"{similar.hs6}/") for similar in explanation.similar_goods
    )


def test_another_code_does_not_make_a_low_price_green(scorer, explainer, goods):
    """Nor does an explanation say so where no price under that code is known."""
    sofa = by_id(goods, "grey-fabric-sofa")
    peers = scorer._risk.peers[sofa.hs6]
    cheap = replace(sofa, price_eur=round(float(np.exp(peers.median - 3)) * sofa.net_mass_kg, 2))
    live = LiveSignals((ItemSignals(Peers(200, peers.median, 0.2)),))
    declared, photos = case(scorer, cheap, code="640411", live=live)
    (explained,) = explainer.explain(declared, photos)
    assert explained.explanation.suggested_hs6 == sofa.hs6
    assert explained.explanation.changes == ()


def test_a_change_is_scored_like_a_declaration_with_it(scorer, explainer, goods):
    """The importer's record stays; that of the declared code does not count for the other."""
    sofa = by_id(goods, "grey-fabric-sofa")
    parties = {name: Rate(60, 55) for name in ("importer", "seller", "declarant", "office")}
    rates = dict.fromkeys(RATED, Rate(40, 38)) | parties | {"all": Rate(1000, 50)}
    declared, photos = case(
        scorer, sofa, code="640411", live=LiveSignals((ItemSignals(rates=rates),))
    )
    (explained,) = explainer.explain(declared, photos)
    (detail,) = [change.detail for change in explained.explanation.changes]
    of_origin = {"origin": rates["origin"], "all": rates["all"]}
    right, _ = case(scorer, sofa, live=LiveSignals((ItemSignals(rates=parties | of_origin),)))
    (before,), (after,) = (scorer.score([evidence]) for evidence in (declared, right))
    assert detail == f"640411 → {sofa.hs6}: risk {before.risk:.0%} → {after.risk:.0%}"


def test_consignments_apart_are_judged_with_all_their_items(scorer, explainer, goods):
    """Splitting is of the whole declaration, so is its being put right."""
    sofa = replace(by_id(goods, "grey-fabric-sofa"), price_eur=60.0, net_mass_kg=None)
    live = signals(small_count=9, small_value=900.0, importer_day=9)
    plain = ItemSignals()
    declared, (pixels,) = case(
        scorer, replace(sofa, net_mass_kg=5.0), live=replace(live, items=(plain,))
    )
    items = tuple(
        replace(one, item=replace(one.item, sequence_number=number, net_mass=None))
        for number, one in enumerate(declared.items * 2, 1)
    )
    two = replace(
        declared,
        declaration=replace(LOW, goods_items=tuple(one.item for one in items)),
        items=items,
        live=replace(live, items=(plain, plain)),
    )
    assert scorer.score([two])[0].risk > scorer.thresholds.yellow
    for explained in explainer.explain(two, [pixels, pixels]):
        codes = {change.code for change in explained.explanation.changes}
        assert Reason.GREEN_AS_SINGLE_CONSIGNMENT in codes


def test_words_that_the_encoder_does_not_read_weigh_nothing(scorer, explainer, goods):
    """Beyond the last word piece of its meaning, and the last of its n-grams."""
    letters = np.random.default_rng(0).choice(list("BCDFGJKQVWXZ"), (22, 16))
    filler = " ".join(map("".join, letters))
    texts = [f"{filler} {last}" for last in ("wristwatches", "sofas")]
    read = scorer.embed_texts(texts)
    assert (read[0] == read[1]).all()
    declared, _ = case(scorer, goods[0], text=texts[0])
    *_, last = explainer.words(declared.items[0])
    assert (last.part, last.weight) == ("wristwatches", 0.0)


@pytest.mark.parametrize(("word", "code"), [("shoes", "910211"), ("watch", "640411")])
def test_a_single_word_weighs_what_it_adds_to_nothing(scorer, explainer, goods, word, code):
    """And not what the encoder says of an empty text."""
    declared, _ = case(scorer, goods[0], text=word, code=code)
    (explained,) = explainer.words(declared.items[0])
    heading = explainer._of_heading(code[:4])
    posteriors = scorer.hs.posteriors(np.stack(scorer.embed_texts([word])), None).probabilities
    with_it, without = posteriors[0, heading].sum(), heading.mean()
    assert explained.weight == pytest.approx(
        log_odds(1 - with_it) - log_odds(1 - without), abs=1e-3
    )
    empty, _ = case(scorer, goods[0], text="\u200b")
    assert explainer.words(empty.items[0]) == ()


def test_the_rate_that_raises_the_risk_most_is_reported(scorer, explainer, goods):
    """Not one that speaks for the goods."""
    rates = dict.fromkeys(RATED, Rate(64, 50)) | {"all": Rate(1000, 50), "code_origin": Rate(50, 2)}
    live = LiveSignals((ItemSignals(None, None, rates),))
    declared, photos = case(scorer, goods[0], live=live)
    (explained,) = explainer.explain(declared, photos)
    (history,) = [piece for piece in explained.explanation.attributes if piece.part == "history"]
    assert history.weight > 0
    assert history.detail.startswith("50 of 64 inspected items irregular: same ")


def test_nothing_is_to_be_changed_of_what_is_green(scorer, explainer, goods):
    declared, photos = case(scorer, by_id(goods, "grey-fabric-sofa"))
    (explained,) = explainer.explain(declared, photos)
    assert explained.explanation.changes == ()
    assert explained.explanation.duty_difference is None


@pytest.mark.parametrize(("code", "closely"), [("640411", DETAILED), ("", 1)])
def test_only_risky_items_are_looked_at_closely(scorer, explainer, goods, code, closely):
    """A few of them, and the riskiest in any case; the explanation says what it leaves out."""
    declared, (pixels,) = case(scorer, by_id(goods, "grey-fabric-sofa"), code=code)
    count = DETAILED + 2
    many = DeclarationEvidence(
        replace(LOW, goods_items=(declared.items[0].item,) * count), declared.items * count
    )
    explained = explainer.explain(many, [pixels] * count)
    brief = [
        Reason.EXPLAINED_BRIEFLY in {one.code for one in each.explanation.reasons}
        for each in explained
    ]
    assert brief == [False] * closely + [True] * (count - closely)
    assert [each.heat_maps == (None,) for each in explained] == brief


def test_every_reason_has_a_text_in_every_language():
    """None is left out, empty or the same in all."""
    assert set(TEXTS_IN) == set(LANGUAGES)
    for reason in Reason:
        texts = [TEXTS_IN[language][reason] for language in LANGUAGES]
        assert all(text.endswith(".") for text in texts)
        assert len(set(texts)) == len(LANGUAGES)


def test_the_planted_object_is_half_as_high_as_the_photo():
    """So that the hottest tenth fits in it more than twice."""
    assert (OBJECT / PHOTO_SIZE) ** 2 == 0.25


def test_without_a_code_nothing_speaks_against_one(scorer, explainer, goods):
    """No words, no regions, no other code to change to, no difference in duty."""
    tariff = (TariffMeasure(measure_id="m", commodity_code="64", duty_rate=17.0),)
    declared, photos = case(scorer, goods[0], tariff=tariff, live=signals(small_count=3))
    item = replace(declared.items[0], item=replace(declared.items[0].item, commodity_code=""))
    live = replace(declared.live, items=(ItemSignals(rates=declared.live.items[0].rates),))
    declaration = replace(declared.declaration, goods_items=(item.item,))
    uncoded = replace(declared, declaration=declaration, items=(item,), live=live)
    (explained,) = explainer.explain(uncoded, photos)
    explanation = explained.explanation
    assert (explanation.words, explained.heat_maps, explanation.duty_difference) == (
        (),
        (None,),
        None,
    )
    assert explanation.suggested_hs6
    assert explanation.similar_goods
    assert Reason.GREEN_WITH_SUGGESTED_CODE not in {change.code for change in explanation.changes}


def test_an_unknown_code_is_explained_by_itself(scorer, explainer, goods):
    """Its share is that of the code, and under the suggested code it is gone."""
    declared, photos = case(scorer, goods[0], code="000000")
    (explained,) = explainer.explain(declared, photos)
    explanation = explained.explanation
    (share,) = (part for part in explanation.attributes if part.part == "code")
    assert share.weight > 1
    assert share.detail == "000000 is no subheading of HS 2022"
    assert explanation.words == ()
    assert Reason.GREEN_WITH_SUGGESTED_CODE in {change.code for change in explanation.changes}
