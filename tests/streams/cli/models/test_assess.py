"""`redlane assess`: one line for each mistake, and the verdict of a declaration."""

import io
import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from schemas.examples import HERE
from streams.cli import app

LOW = json.loads((HERE / "examples" / "declaration" / "low-value.json").read_text())


@pytest.fixture
def assess(tmp_path):
    """Runs the command on the low-value example with another goods item, or on a text."""

    def run(item, *options, **fields):
        text = item
        if isinstance(item, dict):
            text = json.dumps(LOW | {"goods_items": [LOW["goods_items"][0] | item]} | fields)
        file = tmp_path / "declaration.json"
        file.write_text(text)
        return CliRunner().invoke(app, ("assess", str(file), *options))

    return run


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ("not json", "no JSON: "),
        ({"weight": "1"}, "goods_items[0] has no field 'weight'"),
        ({"net_mass": "heavy"}, "goods_items[0].net_mass is no decimal number, as text"),
        (
            {"commodity_code": "6404.1O"},
            "declaration_invalid: goods item 1: its commodity_code is not 6, 8 or 10 digits",
        ),
        (
            {"commodity_code": "6" * 40},
            "declaration_invalid: goods item 1: its commodity_code is not 6, 8 or 10 digits",
        ),
        (
            {"sequence_number": 0},
            "declaration_invalid: sequence numbers of the goods items are not distinct and from 1",
        ),
    ],
)
def test_a_bad_declaration_is_refused_in_one_line(assess, item, line):
    """Exit code 1, before any model is loaded."""
    done = assess(item)
    assert (done.exit_code, done.stdout) == (1, "")
    (message,) = done.stderr.splitlines()
    assert message.startswith(line)


def test_a_missing_file_and_a_folder_that_is_none_are_refused(assess, tmp_path):
    """1 for the declaration, 2 for the option."""
    done = CliRunner().invoke(app, ("assess", str(tmp_path / "none.json")))
    assert done.exit_code == 1
    assert "none.json" in done.stderr
    assert assess({}, "--photos", str(tmp_path / "none")).exit_code == 2


def test_a_folder_that_is_no_bundle_is_refused(assess, tmp_path):
    """One line."""
    done = assess({}, "--bundle", str(tmp_path))
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1


def verdict(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_assessment_as_json(assess, bundle, tmp_path):
    """All that the event says; the photo by its name."""
    photo = io.BytesIO()
    Image.new("RGB", (64, 64), "navy").save(photo, "PNG")
    (tmp_path / "running-shoes.jpg").write_bytes(photo.getvalue())
    options = ("--bundle", str(bundle), "--photos", str(tmp_path), "--json")
    assessed = verdict(assess({"commodity_code": "6404.11"}, *options))
    (item,) = assessed["items"]
    assert assessed["lane"] in {"green", "yellow", "red"}
    assert 0 < assessed["risk"] == item["risk"] < 1
    assert item["commodity_code"] == "640411"
    assert len(item["candidates"]) == 5
    assert item["hs_set"]
    assert {"text", "image"} <= set(item["modalities"])
    assert [gap["code"] for gap in assessed["degraded"]] == ["signals_unavailable"]
    assert verdict(assess({"commodity_code": "6404.11"}, *options)) == assessed


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("0000.00", "000000 is no subheading of HS 2022"),
        ("6404.99.00", "640499 is no subheading of HS 2022"),
        ("9405.10", "940510 is not in HS 2022; its goods are in 940511, 940519"),
    ],
)
def test_an_unknown_code_has_a_reason_of_its_own(assess, bundle, code, detail):
    """Where the code never was one, it is the only reason against the code of such goods."""
    (item,) = verdict(assess({"commodity_code": code}, "--bundle", str(bundle), "--json"))["items"]
    assert detail in [one["detail"] for one in item["signals"] if one["code"] == "code_unknown"]


def test_no_code_is_no_reason(assess, bundle):
    """Goods are screened, candidates given, nothing is held against a code."""
    options = ("--bundle", str(bundle), "--json")
    (item,) = verdict(assess({"commodity_code": ""}, *options))["items"]
    assert len(item["candidates"]) == 5
    assert not {one["code"] for one in item["signals"] if one["code"].startswith("code_")}
    assert item["commodity_code"] == ""


def goods_item(assess, bundle, **item):
    """The assessed goods item without a photo, its reasons by code, and what is missing of it."""
    fields = {"images": [], "product_title": ""} | item
    done = verdict(assess(fields, "--bundle", str(bundle), "--json"))
    (assessed,) = done["items"]
    reasons = {signal["code"]: signal for signal in assessed["signals"]}
    return assessed, reasons, {gap["code"] for gap in done["degraded"]}


SHIRT = {"commodity_code": "610910", "net_mass": "0.2", "item_amount": "9.95"}


@pytest.mark.parametrize(
    "text",
    [
        "gift",
        "samples",
        "see invoice",
        "personal effects",
        "cadeau",
        "Geschenk",
        "diverse goederen",
    ],
)
def test_a_text_that_names_no_goods_is_vague(assess, bundle, text):
    """Not green, with its reason, and no codes are guessed from it."""
    item, reasons, _ = goods_item(assess, bundle, **SHIRT, description=text)
    shirt, _, _ = goods_item(assess, bundle, **SHIRT, description="cotton t-shirt")
    assert reasons["text_vague"]["detail"] == "the text names no goods"
    assert item["risk"] > 3 * shirt["risk"]
    assert item["candidates"] == []


def test_the_product_title_is_read_where_the_text_names_no_goods(assess, bundle):
    """Its codes are candidates, and judge the declared code."""
    item, reasons, missing = goods_item(
        assess, bundle, **SHIRT, description="gift", product_title="Laptop computer 13 inch"
    )
    assert item["candidates"][0]["hs6"] == "847130"
    assert {"text_vague", "code_not_in_text"} <= reasons.keys()
    assert "title_read_instead" in missing


def test_a_product_title_of_other_goods_is_told(assess, bundle):
    """It raises the risk; one of the same goods does not."""
    shirt = SHIRT | {"description": "cotton t-shirt"}
    same, signals, missing = goods_item(assess, bundle, **shirt, product_title="Men's T-shirt")
    assert "text_title_disagree" not in signals
    other, signals, _ = goods_item(assess, bundle, **shirt, product_title="Running shoe")
    assert signals["text_title_disagree"]["detail"].startswith("the title reads like 64")
    assert other["risk"] > same["risk"] + 0.01
    assert "title_read_instead" not in missing


def test_a_code_that_the_text_plainly_contradicts_has_a_reason(assess, bundle):
    """A laptop as a T-shirt: well above its own code."""
    laptop = {"description": "Laptop computer 13 inch aluminium", "item_amount": "1199.00"}
    laptop["net_mass"] = "1.4"
    own, _, _ = goods_item(assess, bundle, **laptop, commodity_code="847130")
    item, reasons, _ = goods_item(assess, bundle, **laptop, commodity_code="610910")
    assert reasons["code_not_in_text"]["weight"] > 1
    assert item["risk"] > 3 * own["risk"]


def test_a_price_in_another_currency_is_compared(assess, bundle):
    """By the shipped rate, which is told; and where there is none, that is told."""
    laptop = {"commodity_code": "847130", "description": "Laptop computer 13 inch", "net_mass": "1"}
    cheap = laptop | {"item_amount": "15.00"}
    _, euro, missing = goods_item(assess, bundle, **cheap, item_currency="EUR")
    assert "unit_price_low" in euro
    assert not missing & {"price_unknown", "exchange_rate_outdated"}
    _, other, _ = goods_item(assess, bundle, **cheap, item_currency=" eur")
    assert other == euro
    _, dollar, missing = goods_item(assess, bundle, **cheap, item_currency="usd")
    assert dollar["unit_price_low"]["detail"].startswith("13.43 EUR/kg")
    assert "exchange_rate_outdated" in missing
    _, dong, missing = goods_item(assess, bundle, **cheap, item_currency="VND")
    assert "unit_price_low" not in dong
    assert "price_unknown" in missing


def test_what_cannot_be_right_is_told(assess, bundle):
    """And raises the risk, an absurd amount above the yellow threshold."""
    shirt = SHIRT | {"description": "cotton t-shirt", "gross_mass": "1"}
    plain, _, _ = goods_item(assess, bundle, **shirt)
    for fields, reason, least in (
        ({"net_mass": "5"}, "masses_implausible", 0.02),
        ({"item_amount": "99999999999999.99"}, "amount_implausible", 0.3),
        ({"item_amount": "-1"}, "amount_implausible", 0.3),
        ({"item_amount": "0"}, "amount_implausible", 0.02),
        ({"country_of_origin": "ZZ"}, "origin_unknown", 0.02),
        ({"item_currency": "DEM"}, "currency_unknown", 0.02),
    ):
        item, reasons, _ = goods_item(assess, bundle, **shirt | fields)
        assert reason in reasons
        assert item["risk"] > plain["risk"] + least, reason


def test_markup_and_invisible_characters_change_nothing(assess, bundle):
    """The same codes, to the last digit."""
    plain, _, _ = goods_item(assess, bundle, **SHIRT, description="Cotton t-shirt, knitted & dyed")
    html = "<p><b>Cot\u200bton</b> t-shirt, knitted &amp; dyed</p>"
    assert goods_item(assess, bundle, **SHIRT, description=html)[0] == plain
    none, reasons, missing = goods_item(assess, bundle, **SHIRT, description="\u200b\u200b")
    assert "text" not in none["modalities"]
    assert "text_absent" in missing
    assert reasons == {}


def test_the_table_of_a_person(assess, bundle):
    """Goods text is shown, never read as markup."""
    item = {"commodity_code": "", "description": "[red]running shoes"}
    done = assess(item, "--bundle", str(bundle))
    assert done.exit_code == 0, done.output
    assert "[red]running" in done.stdout
    assert "none" in done.stdout
    assert "Lane " in done.stdout
    assert "Missing, item 1: photo_not_found" in done.stdout
