"""Tables of tariffs: our own form, and the US schedule's."""

from datetime import UTC, datetime

import pytest

from models.datasets.tariff_table import BadTable, Unread, read
from schemas.records import EPOCH, TariffMeasure

OWN = """commodity_code,country_of_origin,duty,measure_type,additional_code,supplementary_unit,valid_from,valid_until
0405,,10.2 % + 93.1 EUR/DTN,,,,2026-01-01,
640411,VN KR,Free,preference,,,2026-01-01T00:00:00+01:00,2027-01-01
8712003010,CN,19.2 %,anti_dumping,A963,p/st,,
64041,,1 %,,,,,
640419,,See 9912,,,,,
640420,,5 %,,,,yesterday,
0405,,11 %,,,,2026-01-01,
"""
US = """hts_number,unit,general,special,column2
01012100,,Free,,Free
0101300000,"[""No.""]",6.8%,"Free (A+,AU,S) 2¢/kg (JP) See 9912.95.91 (PE)",15%
0102,"[""doz."",""kg""]",5.7¢/kg on drained weight,No change,
"""


def table(folder, text):
    """Write a table and read it."""
    path = folder / "tariff.csv"
    path.write_text(text, encoding="utf-8-sig")
    return read(path)


def test_our_own_form(tmp_path):
    """Every line is a measure, or told with its reason."""
    measures, unread = table(tmp_path, OWN)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    common = {"source": "tariff.csv"}
    assert measures[0] == TariffMeasure(
        measure_id="0405-third_country-all-20260101",
        commodity_code="0405",
        duty_expression="10.2 % + 93.1 EUR/DTN",
        valid_from=start,
        **common,
    )
    assert measures[1].origins == ("VN", "KR")
    assert measures[1].country_of_origin == ""
    assert measures[1].valid_from == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert measures[1].valid_until == datetime(2027, 1, 1, tzinfo=UTC)
    assert measures[2] == TariffMeasure(
        measure_id="8712003010-anti_dumping-CN-A963",
        commodity_code="8712003010",
        country_of_origin="CN",
        duty_expression="19.2 %",
        measure_type="anti_dumping",
        additional_code="A963",
        supplementary_unit="NAR",
        **common,
    )
    assert unread == [
        Unread(5, "64041", "duty", "1 %", "its commodity_code is not 2, 4, 6, 8 or 10 digits"),
        Unread(6, "640419", "duty", "See 9912", "it refers to another measure or note"),
        Unread(7, "640420", "valid_from", "yesterday", "it is no time of ISO 8601"),
        Unread(8, "0405", "", "", "an earlier line has its id"),
    ]
    assert len(measures) == 3


def test_the_us_schedule(tmp_path):
    """General rate, preferences by country or programme, column 2; what cannot be read is told."""
    measures, unread = table(tmp_path, US)
    summary = [
        (m.measure_id, m.duty_expression, m.measure_type, m.origins, m.programme) for m in measures
    ]
    column2 = ("BY", "CU", "KP", "RU")
    assert summary == [
        ("US-01012100-general", "Free", "", (), ""),
        ("US-01012100-column2", "Free", "", column2, ""),
        ("US-0101300000-general", "6.8%", "", (), ""),
        ("US-0101300000-column2", "15%", "", column2, ""),
        ("US-0101300000-special1-A+", "Free", "preference", (), "A+"),
        ("US-0101300000-special1", "Free", "preference", ("AU", "CA", "MX"), ""),
        ("US-0101300000-special2", "2¢/kg", "preference", ("JP",), ""),
    ]
    assert [m.supplementary_unit for m in measures[2:]] == ["NAR"] * 5
    assert [(one.line, one.column, one.reason) for one in unread] == [
        (3, "special", "it refers to another measure or note"),
        (4, "general", "it rests on what a declaration does not say"),
        (4, "special", "it names no programme"),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no column commodity_code"),
        ("hs6,duty\n640411,1 %\n", "no column commodity_code"),
        ("commodity_code,rate\n640411,1 %\n", "no column duty"),
        ('commodity_code,duty\n640411,"1 %\n', "no CSV"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, text, why):
    """The message says what to correct."""
    with pytest.raises(BadTable, match=why):
        table(tmp_path, text)


def test_a_file_of_another_encoding(tmp_path):
    """UTF-8 alone."""
    path = tmp_path / "tariff.csv"
    path.write_bytes("commodity_code,duty,source\n64,1 %,Käse\n".encode("utf-16"))
    with pytest.raises(BadTable, match="UTF-8"):
        read(path)


def test_what_lines_do_not_say(tmp_path):
    """Source and start hold for all of them."""
    path = tmp_path / "a.csv"
    path.write_text("commodity_code,duty\n64,1 %\n")
    start = datetime(2026, 7, 1, tzinfo=UTC)
    (measure,), _ = read(path, source="TARIC", valid_from=start)
    assert (measure.source, measure.valid_from, measure.valid_until) == ("TARIC", start, EPOCH)
