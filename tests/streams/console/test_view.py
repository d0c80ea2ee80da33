"""What is drawn: geometry, words and pictures, whatever the events say."""

import io
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from schemas.reasons import Reason
from schemas.records import Contribution
from streams.console.web.charts import WIDTH, log_odds, peers, waterfall
from streams.console.web.pictures import reencoded
from streams.console.web.view import _words
from streams.evidence.photos import NoPhoto
from tests.streams.console import samples

WEIGHT = st.floats(-20, 20)
unhurried = settings(deadline=None)  # other work may share the processor


@unhurried
@given(st.lists(WEIGHT, max_size=20), WEIGHT)
def test_a_waterfall_stays_in_its_drawing(weights, start):
    """Each bar begins where the last ended, and the last one ends at the sum."""
    drawn = waterfall([("part", weight, "") for weight in weights], start=start)
    assert [step.name for step in drawn.steps] == ["base", *["part"] * len(weights), "total"]
    assert all(step.x >= 0 and step.x + step.width <= WIDTH + 3 for step in drawn.steps)
    assert math.isclose(drawn.steps[-1].weight, start + sum(weights), abs_tol=1e-9)


@unhurried
@given(st.floats(-1, 1e9), st.floats(-1, 1e9), st.floats(-1, 1e9))
def test_peers_stay_in_their_drawing(value, low, high):
    """However far off the price."""
    if drawn := peers(value, low, high):
        for x in (drawn.value_x, drawn.low_x, drawn.median_x, drawn.high_x):
            assert 0 <= x <= WIDTH


@unhurried
@given(
    st.text(max_size=30),
    st.lists(st.builds(Contribution, part=st.text(max_size=5), start=st.integers(-2, 40), weight=WEIGHT), max_size=6),
)  # fmt: skip
def test_marked_words_never_change_the_text(text, weights):
    """Whatever the explanation says."""
    assert "".join(word.text for word in _words(text, weights)) == text


def test_words_are_marked_by_weight():
    """The strongest in the darkest shade; lowering ones below 0."""
    words = _words("RED SHOES OLD", [Contribution(part="SHOES", start=4, weight=2.0), Contribution(part="OLD", start=10, weight=-1.0)])  # fmt: skip
    assert [(word.text, word.level) for word in words] == [("RED ", 0), ("SHOES", 4), (" ", 0), ("OLD", -2)]  # fmt: skip


@pytest.mark.parametrize("risk", [0.0, 0.5, 1.0])
def test_log_odds_are_finite(risk):
    """Also of what is certain."""
    assert math.isfinite(log_odds(risk))


def test_a_picture_is_encoded_again():
    """Smaller, without metadata or what was appended; heat maps stay transparent."""
    photo = Image.new("RGB", (3000, 40), "red")
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    out = io.BytesIO()
    photo.save(out, "JPEG", exif=exif, comment=b"secret")
    encoded = reencoded(out.getvalue() + b"<script>", transparent=False)
    assert b"secret" not in encoded
    assert b"<script>" not in encoded
    assert Image.open(io.BytesIO(encoded)).width <= 1400
    heat = Image.open(io.BytesIO(reencoded(samples.heat_map(), transparent=True)))
    assert heat.getpixel((0, 0))[3] == 0
    for bad in (b"", b"GIF89a", out.getvalue()[:200]):
        assert isinstance(reencoded(bad, transparent=False), NoPhoto)
    huge = io.BytesIO()
    Image.new("1", (8000, 8000)).save(huge, "PNG")
    refused = reencoded(huge.getvalue(), transparent=False)
    assert refused == NoPhoto(Reason.PHOTO_TOO_MANY_PIXELS, "8000 × 8000")


@pytest.mark.parametrize("format_", ["AVIF", "GIF", "PNG", "WEBP"])
def test_a_photo_of_any_format_is_shown_on_white(format_):
    """As the model sees it."""
    out = io.BytesIO()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(out, format_)
    shown = Image.open(io.BytesIO(reencoded(out.getvalue(), transparent=False)))
    assert (shown.format, shown.mode) == ("JPEG", "RGB")
    assert min(shown.getpixel((20, 20))) > 250
