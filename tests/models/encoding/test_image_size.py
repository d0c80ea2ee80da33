"""How large a picture may be, and in how many parts it is made small: no photo takes 100 MB."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from models.encoding import image as image_module
from models.encoding.image import PHOTO_SIZE, UPRIGHT, decode, decode_picture, on_white
from models.encoding.photo_file import BadPhoto
from schemas.reasons import Reason
from tests.models.encoding.test_image import file, halves, scene


@pytest.mark.parametrize(
    ("subsampling", "side", "is_read"),
    [("4:4:4", 3600, True), ("4:4:4", 3700, False), ("4:2:0", 5100, True), ("4:2:0", 5300, False)],
)
def test_what_a_decoder_keeps_between_scans_is_bounded(subsampling, side, is_read):
    """All coefficients of a progressive JPEG, at whatever scale it is decoded."""
    plain = Image.new("RGB", (side, side))
    assert not decode(file(plain, "JPEG", subsampling=subsampling)).any()
    data = file(plain, "JPEG", subsampling=subsampling, progressive=True)
    if is_read:
        assert not decode(data).any()
        return
    with pytest.raises(BadPhoto, match="million coefficients") as caught:
        decode(data)
    assert caught.value.reason == Reason.PHOTO_TOO_MANY_PIXELS


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16"])
def test_strips_give_the_same_picture_as_the_whole(mode, orientation, monkeypatch):
    """A large one is turned, put on white and narrowed part by part; a usual one at once."""
    image = scene((300, 500))
    if mode == "I;16":
        image = image.convert("I").point(lambda level: level * 250).convert("I;16")
    elif mode == "RGBA":
        image.putalpha(image.convert("L"))
    else:
        image = image.convert(mode)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = file(image, "PNG", exif=exif.tobytes())
    whole = Image.open(io.BytesIO(data))
    whole.load()
    turned = whole if orientation == 1 else whole.transpose(UPRIGHT[orientation])
    expected = on_white(turned).resize((PHOTO_SIZE, PHOTO_SIZE), Image.Resampling.BICUBIC)
    assert (decode(data) == np.asarray(expected)).all()
    monkeypatch.setattr(image_module, "MAX_AT_ONCE", 0)
    assert np.abs(decode(data).astype(int) - np.asarray(expected)).mean() < 0.5  # rounded


def test_transparency_is_kept_where_it_is_asked_for():
    """As of a heat map, which is laid over its photo."""
    data = file(halves("RGBA", (9, 8, 7, 0), (9, 8, 7, 255)), "PNG")
    resized = decode_picture(data, 20).resized((20, 10), transparent=True)
    assert (resized.mode, resized.getpixel((0, 5))[3], resized.getpixel((19, 5))) == ("RGBA", 0, (9, 8, 7, 255))  # fmt: skip
