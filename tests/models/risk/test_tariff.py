"""The tariff: which duty holds, and what a wrong declaration would cost."""

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from models.risk.tariff import Tariff, expected_revenue, problem
from schemas.records import GoodsItem, TariffMeasure
from streams.synthetic.sample_catalogue import TABLE
from streams.synthetic.sample_tariff import load_tariff_csv

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


def test_the_vat_rate_may_be_given():
    """Percent."""
    duty = TARIFF.duty(item().commodity_code, item().country_of_origin, NOW)
    found = expected_revenue(
        TARIFF, item(), [("640411", 1.0)], None, NOW, declared_duty=duty, vat=0.0
    )
    assert found == pytest.approx(139)


def test_the_samples_tariff_agrees_with_its_products():
    """Every code has its duty, and the code of every false declaration a lower one."""
    sample = Tariff(load_tariff_csv(TABLE.with_name("tariff.csv")))
    with TABLE.open(newline="") as file:
        products = list(csv.DictReader(file))
    for row in products:
        assert sample.duty(row["hs6"], row["origin"], NOW) == float(row["duty_percent"]), row
        if false := row["lower_duty_hs6"]:
            assert sample.lower_duty(row["hs6"], row["origin"], NOW, [false]) == [false], row


@pytest.mark.parametrize(
    "table",
    [
        "hs6,rate\n640411,1\n",
        "hs6,duty_rate\n640411,dear\n",
        "hs6,duty_rate\n640411\n",
        "hs6,duty_rate\nshoes,1\n",
    ],
)
def test_a_bad_table_of_duties_says_where(tmp_path, table):
    """File and line."""
    path = tmp_path / "tariff.csv"
    path.write_text(table)
    with pytest.raises(ValueError, match=r"tariff\.csv, line 2: "):
        load_tariff_csv(path)
