"""Amounts in any currency → EUR: by the rate of the day, else by a dated one, else told."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from models.risk import exchange
from models.risk.code_lists import CURRENCIES
from models.risk.exchange import SHIPPED, SHIPPED_ON, ExchangeRates, comparable, currency_code
from models.risk.prices import declared_log_unit_price
from schemas.examples import examples
from schemas.reasons import Reason
from schemas.records import ExchangeRate

LOW = dict(examples("declaration"))["declaration/low-value"]
AT = LOW.acceptance_time
DAY = timedelta(days=1)


def rate(value, since=AT - DAY, until=exchange.EPOCH, *, currency="USD", id_="r"):
    return ExchangeRate(
        rate_id=id_, currency=currency, rate=value, valid_from=since, valid_until=until
    )


def compared(currency, *rates, **item):
    fields = {"item_amount": Decimal(100), "net_mass": Decimal(2), "item_currency": currency}
    goods_item = replace(LOW.goods_items[0], **fields | item)
    result = comparable(replace(LOW, goods_items=(goods_item,)), ExchangeRates(rates), AT)
    (prepared,) = result.declaration.goods_items
    return prepared, [(gap.reason, gap.detail) for gap in result.gaps]


@pytest.mark.parametrize(
    ("declared", "code"),
    [
        ("EUR", "EUR"), ("eur", "EUR"), (" EUR ", "EUR"), ("E\u200bUR", "EUR"), ("ＥＵＲ", "EUR"), ("€", "EUR"),
        ("usd", "USD"), ("\tGbp\n", "GBP"), ("RMB", "CNY"), ("", ""), ("  ", ""),
    ],
)  # fmt: skip
def test_a_currency_is_known_however_it_is_written(declared, code):
    assert currency_code(declared) == code


def test_an_amount_in_euro_stays():
    """Nothing is missing, however the code is written."""
    for declared in ("EUR", "eur", " EUR "):
        item, gaps = compared(declared)
        assert (item.item_amount, item.item_currency, gaps) == (100, "EUR", [])


def test_the_rate_of_the_day_converts():
    """Of several valid ones that which began last."""
    ended = rate(9.0, AT - 3 * DAY, AT - 2 * DAY, id_="ended")
    later = rate(9.0, AT + DAY, id_="later")
    item, gaps = compared("usd", ended, rate(4.0, AT - 2 * DAY), rate(1.25, id_="s"), later)
    assert (item.item_amount, item.item_currency, gaps) == (80, "EUR", [])
    assert declared_log_unit_price(item) == pytest.approx(math.log(40))


@pytest.mark.parametrize(
    ("rates", "used"),
    [
        ([rate(1.25, AT - 3 * DAY, AT - 2 * DAY), rate(2.0, AT - 2 * DAY, AT - DAY, id_="s")], 2.0),
        ([rate(1.25, AT + DAY), rate(2.0, AT + 2 * DAY, id_="s")], 1.25),
        ([], SHIPPED["USD"]),
        ([rate(2.0, currency="GBP")], SHIPPED["USD"]),
    ],
)
def test_where_no_rate_is_valid_a_dated_one_converts_and_is_told(rates, used):
    """The last before, the next, the shipped one."""
    item, ((reason, detail),) = compared("USD", *rates)
    assert float(item.item_amount) == pytest.approx(100 / used)
    assert reason == Reason.EXCHANGE_RATE_OUTDATED
    assert detail.startswith(f"{used} USD for 1 EUR, of 20")


@pytest.mark.parametrize(
    ("currency", "detail"),
    [
        ("VND", "no exchange rate of VND is known"),
        ("XQQ", "no exchange rate of XQQ is known"),
        ("", "no currency is declared"),
        ("Jane Doe", "its currency is no code"),
        ("$", "its currency is no code"),
    ],
)
def test_a_price_that_cannot_be_compared_is_told(currency, detail):
    """What is no code is not repeated: it may be a name."""
    item, gaps = compared(currency)
    assert item.item_amount == 100
    assert gaps == [(Reason.PRICE_UNKNOWN, detail)]
    assert declared_log_unit_price(item) is None


def test_what_is_not_declared_cannot_be_compared():
    """An amount, or a mass."""
    for field, what in (("item_amount", "amount"), ("net_mass", "net mass")):
        _, gaps = compared("EUR", **{field: None})
        assert gaps == [(Reason.PRICE_UNKNOWN, f"no {what} is declared")]


def test_small_amounts_do_not_become_nothing():
    """A rupiah is no gift."""
    item, _ = compared("IDR", item_amount=Decimal("1.00"))
    assert 0 < item.item_amount < Decimal("0.001")


def test_countries_are_compared_without_case_and_blanks():
    """Peers and routes are counted by them."""
    goods_item = replace(LOW.goods_items[0], country_of_origin=" cn")
    lodged = replace(LOW, country_of_dispatch="cn ", goods_items=(goods_item,))
    prepared = comparable(lodged, ExchangeRates(), AT).declaration
    assert (prepared.country_of_dispatch, prepared.goods_items[0].country_of_origin) == ("CN", "CN")


@pytest.mark.parametrize(
    "bad",
    [
        rate(0.0), rate(-1.0), rate(math.nan), rate(math.inf), rate(1e300), rate(1e-300),
        rate(1.0, currency=""), rate(1.0, currency="US"), rate(1.0, currency="EUR"),
        rate(2.0, AT, AT), rate(2.0, AT, AT - DAY),
    ],
)  # fmt: skip
def test_a_bad_rate_is_ignored(bad):
    """As if there were none."""
    assert exchange.problem(bad)
    assert ExchangeRates([bad]).quote("USD", AT).since == SHIPPED_ON


def test_the_shipped_table_is_of_existing_currencies():
    """Dated, and of this order: so many for one euro."""
    assert SHIPPED.keys() <= CURRENCIES
    assert datetime(2026, 1, 1, tzinfo=UTC) < SHIPPED_ON
    assert SHIPPED["GBP"] < 1 < SHIPPED["USD"] < SHIPPED["CNY"] < SHIPPED["JPY"]
