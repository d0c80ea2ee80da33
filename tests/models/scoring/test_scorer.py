"""The one door: equal bits for equal input, honest about what is missing."""

import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from PIL import Image

from models.datasets.goods import read
from models.encoding.encoders import IMAGE_FILES, TEXT_FILES, encoder_id
from models.encoding.image import PHOTO_SIZE, decode
from models.encoding.photo_file import BadPhoto
from models.encoding.text import normalise
from models.risk.signals import ItemSignals, LiveSignals, Peers, PhotoUse, Rate
from models.risk.tabular import RATED
from models.risk.tariff import Tariff
from models.scoring import bundle as bundles
from models.scoring.bundle import BadBundle
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from models.scoring.scorer import Scorer
from schemas.examples import examples
from schemas.reasons import Reason
from schemas.records import TariffMeasure
from streams.synthetic.irregularities import bomb

LOW = dict(examples("declaration"))["declaration/low-value"]


@pytest.fixture(scope="module")
def scorer(bundle):
    return Scorer.load(bundle, threads=1)


@pytest.fixture(scope="module")
def goods(goods_folder):
    return {one.item_id: one for one in read(goods_folder)}


@pytest.fixture(scope="module")
def evidence(scorer, goods):
    """Each product of the sample, declared as it is."""

    def of(one):
        item = replace(
            LOW.goods_items[0],
            commodity_code=one.hs6,
            description=one.description,
            item_amount=Decimal(str(one.price_eur)),
            net_mass=Decimal(str(one.net_mass_kg)),
            gross_mass=None,
        )
        (text,) = scorer.embed_texts([one.description])
        (photo,) = scorer.embed_photos([decode(one.image.read_bytes())])
        return ItemEvidence(item, text, (photo,))

    return {slug: of(one) for slug, one in goods.items()}


def declared(*items):
    return DeclarationEvidence(replace(LOW, goods_items=tuple(i.item for i in items)), items)


def unasked(scorer):
    """A scorer that keeps no answers."""
    return scorer.with_hs(scorer.hs)


def risk(scorer, item):
    (verdict,) = scorer.score([declared(item)])
    return verdict.items[0].risk


def test_alone_or_among_others_the_same_bits(scorer, goods, evidence):
    """Embeddings and verdicts do not depend on what else is in the batch, nor on its order."""
    some = list(goods.values())[:6]
    photos = [decode(one.image.read_bytes()) for one in some]
    together = scorer.embed_photos(photos[::-1])[::-1]
    for photo, vector in zip(photos, together, strict=True):
        assert scorer.embed_photos([photo])[0].tobytes() == vector.tobytes()
    texts = [one.description for one in some]
    together = scorer.embed_texts(texts[::-1])[::-1]
    for text, vector in zip(texts, together, strict=True):
        assert scorer.embed_texts([text])[0].tobytes() == vector.tobytes()
    cases = [declared(item) for item in evidence.values()]
    alone = [unasked(scorer).score([case])[0] for case in cases]
    assert unasked(scorer).score(cases) == alone
    assert unasked(scorer).score(cases[::-1]) == alone[::-1]


def test_candidates_are_probabilities_over_the_nomenclature(scorer, evidence):
    """Most probable first, six digits, at most one together."""
    for verdict in scorer.score([declared(item) for item in evidence.values()]):
        shares = [candidate.probability for candidate in verdict.items[0].candidates]
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1
        assert all(len(candidate.hs6) == 6 for candidate in verdict.items[0].candidates)


def test_missing_evidence_never_lowers_the_risk_to_clean(scorer, evidence):
    """Promise 3: without photo, without text or without both the risk stays above the cleanest."""
    cleanest = min(risk(scorer, item) for item in evidence.values())
    for item in list(evidence.values())[:20]:
        for less in (
            replace(item, photos=()),
            replace(item, text=None),
            replace(item, text=None, photos=()),
        ):
            assert risk(scorer, less) > cleanest


def test_another_code_or_photo_raises_the_risk(scorer, evidence):
    """A running shoe as a sofa, and a sofa's photo on a running shoe."""
    shoe, sofa = evidence["runx-running-shoe"], evidence["grey-fabric-sofa"]
    false_code = replace(shoe, item=replace(shoe.item, commodity_code=sofa.item.commodity_code))
    false_photo = replace(shoe, photos=sofa.photos)
    assert risk(scorer, false_code) > 2 * risk(scorer, shoe)
    assert risk(scorer, false_photo) > 2 * risk(scorer, shoe)


def test_a_fifth_of_the_price_is_told_as_a_reason(scorer, evidence):
    """The reason names the price and its peers."""
    shoe = evidence["ultraboost-running-shoe"]
    cheap = replace(shoe, item=replace(shoe.item, item_amount=shoe.item.item_amount / 5))
    (verdict,) = scorer.score([declared(cheap)])
    (price,) = [s for s in verdict.items[0].signals if s.code == Reason.UNIT_PRICE_LOW]
    assert "EUR/kg; comparable goods" in price.detail
    assert verdict.items[0].risk > risk(scorer, shoe)


def test_the_riskiest_item_speaks_for_the_declaration(scorer, evidence):
    """One irregular item is not diluted by regular ones."""
    shoe, sofa = evidence["runx-running-shoe"], evidence["grey-fabric-sofa"]
    false = replace(shoe, item=replace(shoe.item, commodity_code=sofa.item.commodity_code))
    (verdict,) = scorer.score([declared(sofa, false)])
    assert verdict.risk == max(item.risk for item in verdict.items) == verdict.items[1].risk


def test_a_changed_bundle_is_refused_before_it_is_read(bundle, tmp_path):
    """One byte, one file more, one file less."""
    for change in ("byte", "more", "less"):
        copy = tmp_path / change
        copy.mkdir()
        for path in bundle.iterdir():
            (copy / path.name).symlink_to(path)
        model = copy / "model.json"
        text = model.read_text()
        if change == "more":
            (copy / "extra").write_text("")
        else:
            model.unlink()
        if change == "byte":
            model.write_text(text + " ")
        with pytest.raises(BadBundle):
            bundles.verify(copy)


def test_a_bundle_of_another_format_is_refused(tmp_path):
    """And the message says what to do."""
    (tmp_path / "manifest.json").write_text('{"files": {}, "format": 4}')
    with pytest.raises(BadBundle, match=r"format 4.*redlane bundle"):
        bundles.verify(tmp_path)


def test_an_encoders_id_depends_on_its_own_files_alone():
    """And on the arithmetic of the machine."""
    hashes = {name: name for name in (*TEXT_FILES, *IMAGE_FILES, "model.json")}

    def ids(changed=None, arithmetic="a"):
        now = hashes | {changed: "changed"}
        return [encoder_id(now, files, arithmetic) for files in (TEXT_FILES, IMAGE_FILES)]

    text, image = ids()
    assert text != image
    assert ids("model.json") == [text, image]
    for name in TEXT_FILES:
        other, same = ids(name)
        assert (other != text, same) == (True, image)
    same, other = ids("image.onnx")
    assert (same, other != image) == (text, True)
    assert not {text, image} & {*ids(arithmetic="b")}


def test_another_risk_weight_keeps_the_embeddings(scorer, bundle, tmp_path):
    """The bundle's id changes; those of its encoders, by which embeddings are cached, do not."""
    for path in bundle.iterdir():
        (tmp_path / path.name).symlink_to(path)
    model = json.loads((bundle / "model.json").read_text())
    model["risk"]["kinds"]["wrong_code"]["base"] -= 0.1
    (tmp_path / "model.json").unlink()
    (tmp_path / "model.json").write_text(json.dumps(model))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["model.json"] = bundles.sha256(tmp_path / "model.json")
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    other = Scorer.load(tmp_path, threads=1)
    assert other.bundle_id != scorer.bundle_id
    assert other.text_encoder_id == scorer.text_encoder_id != scorer.image_encoder_id
    assert other.image_encoder_id == scorer.image_encoder_id


def test_serving_loads_no_torch_and_no_services():
    """Importing the door brings neither training nor Kafka, Redis or S3."""
    code = (
        "import sys, models.scoring.scorer;"
        "print([m for m in ('torch', 'sklearn', 'faust', 'confluent_kafka', 'redis', 'obstore',"
        " 'streams') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def jpeg(size=(640, 480), **options):
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)
    Image.fromarray(noise).save(out, "JPEG", **options)
    return out.getvalue()


def test_photos_decode_to_one_size():
    """Any allowed format, upright, as RGB."""
    for format_ in ("JPEG", "PNG", "WEBP"):
        out = io.BytesIO()
        Image.new("RGB", (50, 20), "red").save(out, format_)
        pixels = decode(out.getvalue())
        assert (pixels.shape, pixels.dtype) == ((PHOTO_SIZE, PHOTO_SIZE, 3), np.uint8)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.PHOTO_FORMAT_REFUSED),
        (b"<svg/>", Reason.PHOTO_FORMAT_REFUSED),
        (jpeg()[:5000], Reason.PHOTO_UNREADABLE),
        (bomb(), Reason.PHOTO_TOO_MANY_PIXELS),
        (b"GIF89a" + bytes(100), Reason.PHOTO_UNREADABLE),
    ],
)
def test_a_bad_photo_has_a_reason(data, reason):
    """Whatever a hostile file does, it ends as a BadPhoto."""
    with pytest.raises(BadPhoto) as caught:
        decode(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  RUNNING\tSHOES\n", "running shoes"),
        ("ｌａｐｔｏｐ\u200b 13″", "laptop 13′′"),
        ("a\x00b", "a b"),
        ("x" * 1000, "x" * 512),
    ],
)
def test_goods_text_is_cleaned(text, clean):
    """Full-width letters, control characters, capitals and spaces do not matter."""
    assert normalise(text) == clean


def with_signals(item, **signals):
    """The item in a declaration of small value, at its unit price, with what the stream says."""
    share = Decimal(90) / item.item.item_amount
    mass = round(item.item.net_mass * share, 6)
    cheap = replace(
        item,
        item=replace(item.item, item_amount=Decimal(90), net_mass=mass, item_currency="EUR"),
    )
    of_item = {name: signals.pop(name) for name in ("price", "photo", "rates") if name in signals}
    return replace(declared(cheap), live=LiveSignals(items=(ItemSignals(**of_item),), **signals))


def reasons(scorer, evidence):
    (verdict,) = scorer.score([evidence])
    return verdict.risk, {signal.code: signal for signal in verdict.items[0].signals}


def test_what_the_stream_says_raises_the_risk_and_is_told(scorer, evidence):
    """A photo of other goods, parts of a consignment, a price below its peers, a bad record."""
    item = next(iter(evidence.values()))
    level, _ = reasons(scorer, with_signals(item))
    usual = math.log(item.item.item_amount / item.item.net_mass)
    record = dict.fromkeys(RATED, Rate(40, 36)) | {"all": Rate(1000, 50)}
    signs = {
        Reason.PHOTO_REUSED: {"photo": PhotoUse(0, 4, 4, None, "D7")},
        Reason.CONSIGNMENT_SPLIT: {"small_count": 3, "small_value": 300.0},
        Reason.UNIT_PRICE_LOW: {"price": Peers(20, usual + 1.6, 0.2)},
        Reason.LIKE_PAST_IRREGULARITIES: {"rates": record},
    }
    for reason, signals in signs.items():
        risk, by_reason = reasons(scorer, with_signals(item, **signals))
        assert risk > level + 0.1, reason
        assert by_reason[reason].weight > 0.5
        assert by_reason[reason].detail


def test_no_inspection_and_no_signals_leave_the_risk_where_it_was(scorer, evidence):
    """Promise 3: what is missing is neither suspicious nor clean."""
    item = next(iter(evidence.values()))
    without = replace(with_signals(item), live=None)
    (verdict,) = scorer.score([without])
    level, _ = reasons(scorer, with_signals(item))
    assert verdict.risk == pytest.approx(level, abs=0.05)
    assert {"history", "photo_use", "consignments"}.isdisjoint(verdict.items[0].modalities)


def test_duty_at_stake_is_told_where_the_tariff_is_known(scorer, evidence):
    """Declared under a code of lower duty: the difference counts, with VAT."""
    item = (
        evidence["clacky-keyboard"]
        if "clacky-keyboard" in evidence
        else next(iter(evidence.values()))
    )
    true = item.item.commodity_code
    wrong = replace(item, item=replace(item.item, commodity_code="490199", item_amount=Decimal(1000), item_currency="EUR"))  # fmt: skip
    measures = [
        TariffMeasure(measure_id=code, commodity_code=code, duty_rate=rate)
        for code, rate in ((true, 10.0), ("490199", 0.0))
    ]
    (known,) = scorer.score([replace(declared(wrong), tariff=Tariff(measures))])
    (unknown,) = scorer.score([declared(wrong)])
    share = next(c.probability for c in known.items[0].candidates if c.hs6 == true)
    assert known.expected_revenue_at_risk - unknown.expected_revenue_at_risk == pytest.approx(
        1000 * share * 0.10 * 1.21, rel=0.01
    )


def under(item, code):
    """The same goods under another code."""
    return replace(item, item=replace(item.item, commodity_code=code))


def test_goods_without_a_code_are_judged_by_all_the_rest(scorer, evidence):
    """Candidates are given; no peers, no duty and no reason against a code."""
    tariff = Tariff([TariffMeasure(measure_id="m", commodity_code="64", duty_rate=17.0)])
    for item in evidence.values():
        (verdict,) = scorer.score([replace(declared(under(item, "")), tariff=tariff)])
        (judged,) = verdict.items
        (known,) = scorer.score([declared(item)])
        assert judged.candidates == known.items[0].candidates
        assert judged.hs_set == known.items[0].hs_set
        assert {*judged.modalities} - {"wording"} == {"text", "image"}
        named = {signal.code for signal in judged.signals}
        assert not {code for code in named if code.startswith("code_")}
        assert Reason.UNIT_PRICE_LOW not in named
        assert verdict.expected_revenue_at_risk == 0


def test_without_a_code_the_stream_still_tells(scorer, evidence):
    """Splitting and past inspections need none."""
    item = under(next(iter(evidence.values())), "")
    level, _ = reasons(scorer, with_signals(item))
    split, _ = reasons(scorer, with_signals(item, small_count=3, small_value=300.0))
    assert split > level + 0.1
    of_no_code = ("importer", "seller", "declarant", "office", "origin")
    bad, clean = (
        reasons(scorer, with_signals(item, rates=dict.fromkeys(of_no_code, rate) | every))[0]
        for every in ({"all": Rate(1000, 50)},)
        for rate in (Rate(40, 36), Rate(40, 0))
    )
    assert bad > clean


@pytest.mark.parametrize("code", ["000000", "6404990000"])
def test_a_code_that_does_not_exist_has_its_own_reason(scorer, evidence, code):
    """Whatever the goods look like, an inspector sees it."""
    for item in evidence.values():
        (verdict,) = scorer.score([declared(under(item, code))])
        assert verdict.risk > scorer.thresholds.yellow
        assert Reason.CODE_UNKNOWN in {signal.code for signal in verdict.items[0].signals}


def test_a_code_of_an_earlier_edition_is_judged_as_its_successor(scorer, evidence):
    """6202.93 of HS 2017 as 6202.40; published as declared."""
    for item in evidence.values():
        (old,), (new,) = (
            scorer.score([declared(under(item, code))]) for code in ("62029300", "620240")
        )
        assert old.items[0].commodity_code == "62029300"
        assert replace(old.items[0], commodity_code="620240") == new.items[0]
