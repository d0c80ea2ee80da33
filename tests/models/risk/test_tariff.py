"""The tariff: which duty holds, and what a wrong declaration would cost."""

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from models.risk.exchange import ExchangeRates
from models.risk.tariff import Goods, Tariff, expected_revenue, problem
from schemas.records import ExchangeRate, GoodsItem, TariffMeasure
from streams.synthetic.sample_catalogue import TABLE
from streams.synthetic.sample_tariff import sample_tariff

NOW = datetime(2026, 11, 25, tzinfo=UTC)
DAY = timedelta(days=1)


def measure(code, rate, origin="", **fields):
    return TariffMeasure(
        measure_id=f"{code}-{origin}-{rate}",
        commodity_code=code,
        country_of_origin=origin,
        duty_rate=rate,
        **fields,
    )


TARIFF = Tariff(
    [
        measure("64", 8.0),
        measure("6404", 17.0),
        measure("640411", 16.9),
        measure("6404110010", 5.0),
        measure("6404", 0.0, "VN"),
        measure("640620", 3.0),
        measure("95030021", 4.7),
        measure("95030030", 0.0),
        measure("95030041", 4.7),
        measure("9503004110", 99.0),
        measure("950300", 1.0, "JP"),
        measure("8712003010", 14.0),
        measure("8712003090", 15.0),
    ]
)


@pytest.mark.parametrize(
    ("code", "origin", "expected"),
    [
        ("640411", "CN", 16.9),
        ("64041190", "CN", 16.9),
        ("6404110010", "CN", 5.0),
        ("640419", "CN", 17.0),
        ("640510", "CN", 8.0),
        ("640510", "", 8.0),
        ("640411", "VN", 0.0),  # a preference on the heading goes before all origins' subheading
        ("640411", " vn", 0.0),
        ("950300", "JP", 1.0),
        ("950300", "CN", 4.7),  # median of 4.7, 0 and 4.7; what is below CN8 does not count again
        ("871200", "CN", 14.0),  # of two, the lower
        ("8712", "CN", 14.0),
        ("95030099", "CN", None),
        ("010121", "CN", None),
        ("6404110010C123", "CN", 5.0),  # an additional code does not count
        ("", "CN", None),  # not the median of all
    ],
)
def test_the_duty_that_holds(code, origin, expected):
    """Own origin before all origins, the longest code first, else the median of the codes below."""
    assert TARIFF.duty(code, origin, NOW) == expected


def test_a_measure_holds_from_its_start_until_before_its_end():
    """0 is an open end; a later start goes before one whose end was forgotten."""
    tariff = Tariff(
        [
            measure("640411", 10.0, valid_until=NOW),
            measure("640411", 11.0, valid_from=NOW),
            measure("640411", 12.0, valid_from=NOW + DAY),
            measure("9503", 2.0, valid_from=NOW),
        ]
    )
    times = (NOW - DAY, NOW, NOW + DAY)
    assert [tariff.duty("640411", "CN", at) for at in times] == [10.0, 11.0, 12.0]
    assert [tariff.duty("950300", "CN", at) for at in times] == [None, 2.0, 2.0]


@pytest.mark.parametrize(
    "bad",
    [
        measure("64041", 1.0),
        measure("", 1.0),
        measure("6404١١", 1.0),
        measure("640411", -1.0),
        measure("640411", float("nan")),
        measure("640411", float("inf")),
    ],
)
def test_a_measure_that_makes_no_sense_is_left_out(bad):
    """It would poison every sum."""
    assert problem(bad)
    assert Tariff([bad]).duty("640411", "CN", NOW) is None


def test_codes_with_a_lower_duty():
    """The lowest first; those of unknown or equal duty are not told."""
    within = ["640620", "640411", "010121", "950300", "640419"]
    assert TARIFF.lower_duty("640411", "CN", NOW, within) == ["640620", "950300"]
    assert TARIFF.lower_duty("010121", "CN", NOW, within) == []


def item(amount="1000", currency="EUR", code="64062010"):
    return GoodsItem(
        commodity_code=code,
        country_of_origin="CN",
        item_amount=None if amount is None else Decimal(amount),
        item_currency=currency,
    )


@pytest.mark.parametrize(
    ("goods", "candidates", "undervaluation", "expected"),
    [
        (item(), [], None, 0),
        (item(), [("640411", 1.0)], None, 1000 * 0.139 * 1.21),
        (item(), [("640411", 0.5), ("640620", 0.5)], None, 1000 * 0.139 * 1.21 / 2),
        (item(), [("010121", 0.9)], None, 0),  # duty not known
        (item(code="640411"), [("640620", 1.0)], None, 0),  # lower
        (item(code="6404110010"), [("640411", 1.0)], None, 0),  # that is what was declared
        (item(code="010121"), [("640411", 1.0)], (1.0, 3000.0), 2000 * 0.21),  # VAT alone
        (item(), [], (0.5, 3000.0), 0.5 * 2000 * (1.03 * 1.21 - 1)),
        (item(), [], (0.5, 900.0), 0),
        (item(), [("640411", 1.0)], (1.0, 3000.0), 3000 * (1.169 * 1.21 - 1) - 1000 * (1.03 * 1.21 - 1)),
        (item("0"), [], (1.0, 100.0), 100 * (1.03 * 1.21 - 1)),
        (item("-5"), [("640411", 1.0)], (1.0, 100.0), 0),
        (item(None), [("640411", 1.0)], (1.0, 100.0), 0),
        (item(currency="USD"), [("640411", 1.0)], (1.0, 100.0), 0),
    ],
)  # fmt: skip
def test_the_revenue_that_is_expected_to_be_lost(goods, candidates, undervaluation, expected):
    """Duty and VAT on value and duty, code and value wrong independently."""
    duty = TARIFF.duty(goods.commodity_code, goods.country_of_origin, NOW)
    found = expected_revenue(TARIFF, goods, candidates, undervaluation, NOW, declared_duty=duty)
    assert found == pytest.approx(expected)


def test_vat_by_code():
    """A measure of VAT goes before the standard rate."""
    tariff = Tariff(
        [
            measure("64", 0.0),
            measure("6406", 0.0, measure_type="vat", duty_expression="6 %"),
        ]
    )
    assert [tariff.vat(code, NOW) for code in ("640620", "640411")] == [6.0, 21.0]
    lost = expected_revenue(tariff, item(), [], (1.0, 3000.0), NOW, declared_duty=0.0)
    assert lost == pytest.approx(2000 * 0.06)
    assert tariff.duty("640620", "CN", NOW) == 0.0


def goods(value="1000", mass=None, quantity=None, **more):
    return Goods(
        value=Fraction(value),
        net_mass=None if mass is None else Fraction(mass),
        supplementary_quantity=None if quantity is None else Fraction(quantity),
        **more,
    )


def written(expression, **fields):
    return measure("0405", 0.0, duty_expression=expression, **fields)


DOLLARS = ExchangeRates([ExchangeRate(rate_id="USD", currency="USD", rate=1.25)])


@pytest.mark.parametrize(
    ("expression", "declared", "owed", "percent"),
    [
        ("Free", goods(), "0", 0.0),
        ("10.2 %", goods(), "102", 10.2),
        ("10.2 % + 93.1 EUR/DTN", goods(mass="250"), "334.75", 33.475),
        ("10.2 % + 93.1 EUR/100 kg", goods(mass="0.001"), "102.000931", 10.2000931),
        ("8 % MIN 0.3 EUR/KGM", goods("100", "50"), "15", 15.0),
        ("8 % MIN 0.3 EUR/KGM", goods("1000", "50"), "80", 8.0),
        ("12 % MAX 2 EUR/NPR", goods("100", quantity="3"), "6", 6.0),
        ("0.30 EUR/NAR MIN 2.5 % MAX 6 %", goods("100", quantity="1"), "2.5", 2.5),
        ("0.30 EUR/NAR MIN 2.5 % MAX 6 %", goods("100", quantity="10"), "3", 3.0),
        ("0.30 EUR/NAR MIN 2.5 % MAX 6 %", goods("100", quantity="99"), "6", 6.0),
        ("6.6¢/kg", goods("1000", "1000"), "52.8", 5.28),
        ("$1.25/pf.liter", goods("1000", quantity="2"), "2", 0.2),
        ("33 1/3%", goods("3"), "1", 100 / 3),
        ("2 EUR/DZN", goods(quantity="18"), "36", 3.6),  # dozens, where the code has no unit
        ("5 EUR/DTN", goods(), None, None),
        ("5 XYZ/DTN", goods(mass="1"), None, None),
    ],
)
def test_duties_worked_by_hand(expression, declared, owed, percent):
    """Exactly, as a fraction; and in percent of the value."""
    tariff = Tariff([written(expression)], DOLLARS)
    exact = None if owed is None else Fraction(owed)
    assert tariff.owed("04051011", "NZ", NOW, declared) == exact
    duty = tariff.duty("04051011", "NZ", NOW, declared)
    assert duty == (None if percent is None else pytest.approx(percent, rel=1e-12))


def test_the_supplementary_unit_of_the_code_is_converted():
    """18 pieces are a dozen and a half."""
    tariff = Tariff([written("2 EUR/DZN", supplementary_unit="NAR")])
    assert tariff.owed("0405", "NZ", NOW, goods(quantity="18")) == 3
    metres = Tariff([written("2 EUR/DZN", supplementary_unit="MTR")])
    assert metres.owed("0405", "NZ", NOW, goods(quantity="18")) is None


def test_a_specific_duty_is_unknown_without_goods():
    """Rather than nought."""
    tariff = Tariff([written("5 EUR/DTN"), measure("64", 8.0)])
    assert tariff.duty("0405", "NZ", NOW) is None
    assert tariff.lower_duty("6404", "NZ", NOW, ["0405"]) == []


def test_anti_dumping_by_origin_and_exporter():
    """Added to the duty; the measure of a declared additional code goes before that of all others."""
    tariff = Tariff(
        [
            measure("871200", 14.0),
            measure("8712003010", 48.5, "CN", measure_type="anti_dumping"),
            measure("8712003010", 19.2, "CN", measure_type="anti_dumping", additional_code="A963"),
            measure("8712003010", 0.0, "CN", measure_type="countervailing"),
        ]
    )

    def duty(code, origin):
        return tariff.duty(code, origin, NOW, Goods.of(GoodsItem(commodity_code=code)))

    assert duty("8712003010", "CN") == 62.5
    assert duty("8712003010A963", "CN") == 14.0 + 19.2
    assert duty("8712003010A999", "CN") == 62.5
    assert duty("8712003010", "VN") == 14.0
    assert duty("8712003090", "CN") == 14.0
    assert duty("871200", "CN") == 14.0


def test_preferences():
    """One for an origin holds unless none is claimed; one of a programme, where that is."""
    tariff = Tariff(
        [
            measure("64", 17.0),
            measure("64", 0.0, measure_type="preference", origins=("VN", "kr")),
            measure("64", 3.5, measure_type="preference", programme="A+"),
        ]
    )

    def duty(origin, preference=""):
        return tariff.duty("6404", origin, NOW, Goods(preference=preference))

    assert (duty("VN"), duty("KR", "300"), duty("VN", "100")) == (0.0, 0.0, 17.0)
    assert (duty("BD"), duty("BD", "A+"), duty("BD", "A")) == (17.0, 3.5, 17.0)


@pytest.mark.parametrize(
    "bad",
    [
        measure("64", 1.0, measure_type="tribute"),
        measure("64", 1.0, supplementary_unit="cubit"),
        measure("64", 1.0, duty_expression="a tenth"),
        measure("64", 1.0, duty_expression="2 EUR/KGM", measure_type="vat"),
    ],
)
def test_what_cannot_be_computed_is_left_out(bad):
    """With a reason."""
    assert problem(bad)
    assert Tariff([bad]).duty("6404", "CN", NOW) is None


def test_the_samples_tariff_agrees_with_its_products():
    """Every code has its duty, and the code of every false declaration a lower one."""
    sample = Tariff(sample_tariff())
    with TABLE.open(newline="") as file:
        products = list(csv.DictReader(file))
    for row in products:
        assert sample.duty(row["hs6"], row["origin"], NOW) == float(row["duty_percent"]), row
        if false := row["lower_duty_hs6"]:
            assert sample.lower_duty(row["hs6"], row["origin"], NOW, [false]) == [false], row
