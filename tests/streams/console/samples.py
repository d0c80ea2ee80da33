"""Events and pictures for the console's tests and screenshots; nothing of it is real."""

import io
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from PIL import Image, ImageDraw, ImageFilter

from schemas.reasons import TEXTS, Reason
from schemas.records import (
    Alert,
    AlertItem,
    AlertReason,
    Assessment,
    Contribution,
    Degradation,
    Explanation,
    HsCandidate,
    ItemAssessment,
    ItemExplanation,
    PricePeers,
    Selection,
    Signal,
    SimilarGoods,
    TraderHistory,
)

PHOTOS = "goods-photos"
AT = datetime(2026, 11, 2, 9, 14, 3, tzinfo=UTC)
PRICE = "unit price 2.10 EUR/kg; 95 % of 64 peers 11.00–34.00"

GOODS = (
    # name, text, declared, suggested, its probability, origin, value, mass, reasons, lane, risk
    ("shoe", "RUNNING SHOES MESH UPPER RUBBER SOLE, PARTS OF FOOTWEAR", "64062090", "640411", 0.77, "CN", "178.50", "85.0", ("code_unlikely", "code_not_in_photo", "unit_price_low"), "red", 0.86),
    ("lamp", "LED TABLE LAMP ALUMINIUM WITH DIMMER", "94051190", "940521", 0.81, "CN", "412.00", "38.0", ("unit_price_low",), "yellow", 0.44),
    ("bag", "LADIES HANDBAG OUTER SURFACE OF LEATHER", "42029298", "420221", 0.69, "IN", "149.00", "0.70", ("code_not_in_text", "photo_reused"), "red", 0.79),
    ("watch", "WRIST WATCH QUARTZ GIFT SAMPLE", "91021900", "910211", 0.58, "HK", "145.00", "0.20", ("consignment_split", "like_past_irregularities"), "red", 0.72),
    ("shirt", "MEN SHIRT COTTON KNITTED SIZE L 40 PCS", "61051000", "610510", 0.91, "BD", "260.00", "9.60", ("like_past_irregularities",), "yellow", 0.38),
    ("pan", "KITCHEN ARTICLES", "73239300", "761510", 0.31, "TR", "88.00", "4.10", ("text_vague",), "yellow", 0.51),
    ("drill", "CORDLESS DRILL 18V WITH TWO BATTERIES", "84672100", "846721", 0.88, "CN", "1240.00", "210.0", ("unit_price_low",), "red", 0.68),
    ("toy", "PLASTIC TOY CAR REMOTE CONTROL", "95030075", "950300", 0.95, "CN", "31.50", "0.90", ("photo_reused",), "yellow", 0.33),
)  # fmt: skip
OTHERS = {
    "640411": ("640419", "640299", "640391"),
    "761510": ("732393", "821599", "691110"),
}
OFFICES = ("BEBRU000", "BEANR000", "BELGG000")


def alert(place=0, *, name="26BEH70000000000", version=1, **changes):
    """An alert of one of GOODS; `changes` of its fields."""
    kind, text, declared, suggested, likely, origin, value, mass, reasons, lane, risk = GOODS[
        place % len(GOODS)
    ]
    fields = {
        "declaration_id": f"{name}{place:02}",
        "declaration_version": version,
        "assessment_id": f"assessment-{place}",
        "lane": lane,
        "risk": risk,
        "expected_revenue_at_risk": round(float(value) * 0.17 * risk * 3, 2),
        "declaration_office": OFFICES[place % len(OFFICES)],
        "acceptance_time": AT + timedelta(minutes=7 * place),
        "country_of_dispatch": "CN" if origin == "HK" else origin,
        "mode_of_transport": "4",
        "items": (
            AlertItem(
                sequence_number=1,
                description=text,
                commodity_code=declared,
                suggested_hs6=suggested,
                suggested_probability=likely,
                country_of_origin=origin,
                item_amount=Decimal(value),
                item_currency="EUR",
                net_mass=Decimal(mass),
                images=(f"s3://{PHOTOS}/samples/{kind}.jpg",),
                risk=risk,
                reasons=tuple(AlertReason(code=code, text=TEXTS[Reason(code)]) for code in reasons),
            ),
        ),
        "bundle_id": "0" * 64,
    }
    return Alert(**fields | changes)


def assessment(of):
    """The assessment that led to an alert."""
    item = of.items[0]
    others = OTHERS.get(item.suggested_hs6, OTHERS["640411"])
    other = min((1 - item.suggested_probability) / 2, item.suggested_probability * 0.8)
    return Assessment(
        declaration_id=of.declaration_id,
        declaration_version=of.declaration_version,
        declaration_office=of.declaration_office,
        lane=of.lane,
        risk=of.risk,
        selection=Selection(basis="risk", probability=1.0),
        items=(
            ItemAssessment(
                sequence_number=1,
                commodity_code=item.commodity_code,
                risk=item.risk,
                candidates=(
                    HsCandidate(hs6=item.suggested_hs6, probability=item.suggested_probability),
                    *(
                        HsCandidate(hs6=code, probability=other / share)
                        for code, share in zip(others, (1, 2, 6), strict=True)
                    ),
                ),
                hs_set=(item.suggested_hs6, others[0]),
                hs_set_coverage=0.95,
                modalities=("text", "image", "price"),
                signals=tuple(
                    Signal(
                        code=reason.code,
                        weight=2.0 - 0.5 * place,
                        detail=PRICE if reason.code == Reason.UNIT_PRICE_LOW else "",
                    )
                    for place, reason in enumerate(item.reasons)
                ),
            ),
        ),
        degraded=of.degraded,
        bundle_id=of.bundle_id,
    )


def explanation(of, *, heat_map=True):
    """The explanation of an alert."""
    item = of.items[0]
    words, start = [], 0
    weights = (0.62, 1.31, 0.12, 0.08, 0.22, 0.41, -0.66, -0.02, -0.92)
    for place, word in enumerate(item.description.split(" ")):
        words.append(Contribution(part=word, start=start, weight=weights[place % len(weights)]))
        start += len(word) + 1
    kind = item.images[0].rpartition("/")[2].removesuffix(".jpg") if item.images else ""
    return Explanation(
        declaration_id=of.declaration_id,
        declaration_version=of.declaration_version,
        assessment_id=of.assessment_id,
        items=(
            ItemExplanation(
                sequence_number=1,
                modality_shares=(
                    Contribution(part="text", start=-1, weight=1.72),
                    Contribution(part="image", start=-1, weight=1.34),
                    Contribution(part="tabular", start=-1, weight=0.95),
                ),
                words=tuple(words),
                attributes=(
                    Contribution(part="price", start=-1, weight=1.28, detail=PRICE),
                    Contribution(part="photo_use", start=-1, weight=0.31),
                    Contribution(part="history", start=-1, weight=-0.42, detail="3 of 41 irregular"),
                    Contribution(part="consignments", start=-1, weight=0.09),
                ),
                peers=PricePeers(unit_price=2.1, low=11.0, median=19.34, high=34.0, count=64),
                heat_maps=(f"s3://{PHOTOS}/samples/{kind}-heat.png",) if heat_map else ("",),
                similar_goods=(
                    SimilarGoods(reference=f"640411/12 s3://{PHOTOS}/samples/shoe-2.jpg", hs6="640411", similarity=0.93),
                    SimilarGoods(reference="640411/31", hs6="640411", similarity=0.88),
                    SimilarGoods(reference="640419/7", hs6="640419", similarity=0.81),
                ),
                suggested_hs6=item.suggested_hs6,
                duty_difference=Decimal("13.89"),
                reasons=tuple(Signal(code=reason.code, weight=1.0) for reason in item.reasons),
                changes=(
                    Signal(
                        code="green_with_suggested_code",
                        weight=-3.1,
                        detail=f"{item.commodity_code} → {item.suggested_hs6}: risk 86 % → 14 %",
                    ),
                ),
            ),
        ),
        bundle_id=of.bundle_id,
        traders=(
            TraderHistory(role="importer", inspected=41, irregular=3, declarations_day=6),
            TraderHistory(role="seller", declarations_day=2),
            TraderHistory(role="declarant", inspected=530, irregular=12),
        ),
    )  # fmt: skip


def without_photo(of):
    """The degradation of an alert whose photo was not found."""
    return Degradation(sequence_number=1, evidence="image", code="photo_not_found", detail="")


class Junk:
    """A Kafka message that is no event."""

    def __init__(self, offset=7):
        self._offset = offset

    def error(self):
        return None

    def topic(self):
        return "alerts"

    def partition(self):
        return 2

    def offset(self):
        return self._offset

    def key(self):
        return b"key"

    def value(self):
        return b"junk"

    def headers(self):
        return None

    def timestamp(self):
        return 1, 1000


def shoe(size=(1200, 900), shift=0):
    """A drawn running shoe."""
    width, height = size
    picture = Image.new("RGB", size, (236, 238, 240))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width * 0.12, height * 0.70, width * 0.92, height * 0.86), fill=(205, 209, 213))
    unit = width / 12
    body = [(1.6, 6.3), (1.7, 4.2), (2.6, 3.0), (4.1, 3.1), (5.2, 4.3), (7.6, 5.0), (9.8, 5.5), (10.4, 6.3)]  # fmt: skip
    colour = ((188, 48, 44), (38, 92, 150), (46, 120, 82))[shift % 3]
    draw.polygon([(x * unit, y * unit) for x, y in body], fill=colour)
    draw.polygon([(x * unit, y * unit) for x, y in ((2.6, 3.0), (4.1, 3.1), (5.2, 4.3), (4.0, 4.6), (2.4, 4.3))], fill=tuple(c // 2 for c in colour))  # fmt: skip
    draw.rounded_rectangle((1.4 * unit, 6.15 * unit, 10.6 * unit, 6.95 * unit), unit * 0.35, fill=(250, 250, 248))  # fmt: skip
    for place in range(20):
        x = (1.8 + place * 0.44) * unit
        draw.line((x, 6.95 * unit, x + unit * 0.16, 6.62 * unit), fill=(170, 174, 178), width=5)
    for place in range(5):
        x, y = (4.9 + place * 0.52) * unit, (4.05 + place * 0.15) * unit
        draw.line((x, y, x - 0.55 * unit, y + 0.75 * unit), fill=(248, 248, 248), width=12)
    draw.arc((6.0 * unit, 4.9 * unit, 9.4 * unit, 8.2 * unit), 200, 300, fill=(250, 250, 250), width=16)  # fmt: skip
    return _jpeg(picture.filter(ImageFilter.GaussianBlur(0.8)))


def box(name, size=(900, 700)):
    """A drawn parcel, of another colour for each name."""
    picture = Image.new("RGB", size, (238, 239, 241))
    draw = ImageDraw.Draw(picture)
    hue = sum(name.encode()) * 37 % 360
    colour = tuple(int(140 + 60 * math.cos(math.radians(hue + turn))) for turn in (0, 120, 240))
    draw.rounded_rectangle((220, 160, 680, 560), 40, fill=colour)
    draw.rectangle((430, 160, 470, 560), fill=tuple(c - 40 for c in colour))
    return _jpeg(picture)


def heat_map(size=(300, 225)):
    """A heat map that is hot at the shoe's laces: transparent where it says nothing."""
    picture = Image.new("RGBA", size)
    pixels = picture.load()
    for x in range(size[0]):
        for y in range(size[1]):
            spots = ((0.50, 0.52, 0.16, 1.0), (0.27, 0.45, 0.13, 0.55))
            heat = sum(
                most
                * math.exp(-((x / size[0] - a) ** 2 + (y / size[1] - b) ** 2) / (2 * r * r / 3))
                for a, b, r, most in spots
            )
            heat = min(heat, 1.0)
            pixels[x, y] = (255, int(210 * (1 - heat)), int(60 * (1 - heat)), int(255 * heat))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def pictures():
    """Object keys → files, for all of GOODS."""
    files = {f"samples/{goods[0]}.jpg": box(goods[0]) for goods in GOODS if goods[0] != "pan"}
    heat = heat_map()
    files |= {f"samples/{goods[0]}-heat.png": heat for goods in GOODS}
    return files | {"samples/shoe.jpg": shoe(), "samples/shoe-2.jpg": shoe((600, 450), 1)}


def _jpeg(picture):
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()
