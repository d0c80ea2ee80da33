"""Photos of every format and mode → what a person sees, upright on white; bounded whatever comes."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from models.encoding.image import (
    MAX_PIXELS,
    PHOTO_SIZE,
    decode,
    decode_photo,
    decode_picture,
    on_white,
)
from models.encoding.photo_file import BadPhoto
from schemas.reasons import Reason

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF")
LOSSLESS = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def scene(size=(160, 120)):
    """A picture in which no two regions are alike."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    bands = (columns * 255 // size[0], rows * 255 // size[1], rows * columns // 100 % 256)
    return Image.fromarray(np.stack(bands, axis=2).astype(np.uint8))


def file(image, format_, **options):
    out = io.BytesIO()
    image.save(out, format_, **LOSSLESS.get(format_, {}) | options)
    return out.getvalue()


def halves(mode, left, right):
    """A picture of one value left and another right."""
    if mode == "I;16":
        return Image.fromarray(np.repeat([[left] * 32 + [right] * 32], 64, 0).astype(np.uint16))
    image = Image.new(mode, (64, 64), left)
    image.paste(right, (32, 0, 64, 64))
    return image


def seen(data):
    """The colours left and right, in the middle of each half."""
    pixels = decode(data)
    middle, quarter = PHOTO_SIZE // 2, PHOTO_SIZE // 4
    return tuple(pixels[middle, quarter]), tuple(pixels[middle, 3 * quarter])


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_is_decoded_to_one_size(format_):
    expected = decode(file(scene(), "PNG")).astype(int)
    photo = decode_photo(file(scene(), format_))
    assert (photo.pixels.shape, photo.pixels.dtype) == ((PHOTO_SIZE, PHOTO_SIZE, 3), np.uint8)
    assert not photo.truncated
    assert np.abs(photo.pixels - expected).mean() < (12 if format_ == "GIF" else 4)


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "AVIF", "GIF"])
def test_of_an_animation_the_first_frame_counts(format_):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "green")]
    data = file(frames[0], format_, save_all=True, append_images=frames[1:])
    left, _ = seen(data)
    assert np.abs(np.array(left, int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (halves("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), (WHITE, BLACK)),
        (halves("RGBA", (255, 0, 0, 0), (255, 0, 0, 128)), (WHITE, (255, 127, 127))),
        (halves("LA", (0, 0), (50, 255)), (WHITE, (50, 50, 50))),
        (halves("L", 7, 50), ((7, 7, 7), (50, 50, 50))),
        (halves("1", 0, 1), (BLACK, WHITE)),
        (halves("I;16", 0x0A00, 0xC800), ((10, 10, 10), (200, 200, 200))),
        (halves("RGB", (1, 2, 3), (4, 5, 6)), ((1, 2, 3), (4, 5, 6))),
    ],
)
def test_a_png_of_any_mode_is_seen_on_white(image, expected):
    """As a person sees it on a page."""
    assert seen(file(image, "PNG")) == expected


@pytest.mark.parametrize(
    ("image", "transparent", "expected"),
    [
        (halves("L", 7, 50), 7, (WHITE, (50, 50, 50))),
        (halves("RGB", (1, 2, 3), (4, 5, 6)), (1, 2, 3), (WHITE, (4, 5, 6))),
        (halves("I;16", 0x0A00, 0xC800), 0x0A00, (WHITE, (200, 200, 200))),
        (halves("1", 0, 1), 0, (WHITE, WHITE)),
    ],
)
def test_a_png_may_name_one_value_that_is_transparent(image, transparent, expected):
    assert seen(file(image, "PNG", transparency=transparent)) == expected


@pytest.mark.parametrize("format_", ["PNG", "GIF"])
def test_a_palette_may_be_transparent(format_):
    image = halves("P", 0, 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    assert seen(file(image, format_, transparency=0)) == (WHITE, (9, 8, 7))


def test_a_palette_may_have_degrees_of_transparency():
    image = halves("P", 0, 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert seen(file(image, "PNG", transparency=b"\x00\x80")) == (WHITE, (255, 127, 127))


@pytest.mark.parametrize("format_", ["WEBP", "AVIF"])
def test_transparency_of_other_formats_is_white_too(format_):
    left, right = seen(file(halves("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), format_))
    assert min(left) > 250
    assert max(right) < 5


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("I", (1, 1), 0x6400), (100, 100, 100)),
        (Image.new("I", (1, 1), 1 << 30), WHITE),
        (Image.new("I", (1, 1), -5), BLACK),
        (Image.new("I;16B", (1, 1), 0x6400), (100, 100, 100)),
        (Image.new("F", (1, 1), 100.0), (100, 100, 100)),
        (Image.new("PA", (1, 1), (0, 0)), WHITE),
        (Image.new("RGBa", (1, 1), (0, 0, 0, 0)), WHITE),
        (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), (255, 0, 0)),
        (Image.new("YCbCr", (1, 1), (255, 128, 128)), WHITE),
        (Image.new("HSV", (1, 1), (0, 0, 255)), WHITE),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_any_other_mode_of_the_decoder_is_read(image, expected):
    seen_ = on_white(image)
    assert (seen_.mode, seen_.getpixel((0, 0))) == ("RGB", expected)


def test_an_opaque_picture_keeps_every_bit():
    """Transparency that is not used changes nothing."""
    opaque = scene().convert("RGBA")
    assert (decode(file(opaque, "PNG")) == decode(file(scene(), "PNG"))).all()


def test_a_jpeg_may_be_in_colours_of_print():
    left, right = seen(file(halves("CMYK", (0, 255, 255, 0), (0, 0, 0, 255)), "JPEG"))
    assert left[0] > 240
    assert max(*left[1:], *right) < 20


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright(format_, orientation):
    """The white corner is where the camera's orientation says."""
    corner = Image.new("RGB", (96, 64), "black")
    corner.paste("white", (0, 0, 32, 21))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    pixels = decode(file(corner, format_, exif=exif.tobytes())).mean(axis=2)
    corners = {
        (top, left): pixels[10 if top else -10, 10 if left else -10] > 128
        for top in (True, False)
        for left in (True, False)
    }
    expected = {1: (1, 1), 2: (1, 0), 3: (0, 0), 4: (0, 1), 5: (1, 1), 6: (1, 0), 7: (0, 0), 8: (0, 1)}  # fmt: skip
    top, left = map(bool, expected[orientation])
    assert [place for place, white in corners.items() if white] == [(top, left)]


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0" + b"\xff" * 100,
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x07\0\0\0\x01\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\x7f\0\0\0\0" * 300,
    ],
)
def test_damaged_metadata_damages_no_photo(format_, exif):
    assert (decode(file(scene(), format_, exif=exif)) == decode(file(scene(), format_))).all()


@pytest.mark.parametrize(
    ("options", "cuts"),
    [
        (("JPEG", {}), (1, 2, 3, 0.02, 0.1)),
        (("JPEG", {"progressive": True}), (1, 2, 3, 0.02, 0.1, 0.4)),
        (("PNG", {}), (12, 13, 17, 0.02, 0.1)),
        (("GIF", {}), (1, 2, 3, 0.02, 0.1)),
        (("GIF", {"interlace": 1}), (1, 2, 3, 0.02, 0.1)),
        (("WEBP", {"lossless": False}), (1, 2, 3, 12, 0.02, 0.1)),
        (("WEBP", {}), (1, 2, 3)),
    ],
    ids=str,
)
def test_a_photo_without_its_end_is_used_and_marked(options, cuts):
    """What is there of it: most of the picture, and nothing in place of the rest."""
    format_, saving = options
    whole = file(scene((400, 300)), format_, **saving)
    expected = decode(whole).astype(int)
    for cut in cuts:
        photo = decode_photo(whole[: -max(1, round(cut * len(whole)))] if cut < 1 else whole[:-cut])
        assert photo.truncated, cut
        rows = round(PHOTO_SIZE * 0.6)  # the rest fills the square, so it is drawn out a little
        assert np.abs(photo.pixels - expected)[:rows].mean() < 40, cut


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6])
def test_a_photo_of_which_much_is_missing_is_damaged(format_, share):
    whole = file(scene((400, 300)), format_)
    with pytest.raises(BadPhoto) as caught:
        decode(whole[: max(12, round(len(whole) * share))])
    assert caught.value.reason == Reason.PHOTO_UNREADABLE


def test_black_and_transparent_rows_are_not_missing():
    """Only what was not decoded is: here the last chunks."""
    image = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    image.paste(scene((200, 60)))
    photo = decode_photo(file(image, "PNG")[:-20])
    assert photo.truncated
    assert (photo.pixels[-100:] == 255).all()


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_a_heic_photo_has_a_reason_of_its_own(brand):
    """So that its sender learns what to send instead."""
    data = struct.pack(">I4s4sI", 24, b"ftyp", brand, 0) + b"mif1heic" + bytes(1000)
    with pytest.raises(BadPhoto) as caught:
        decode(data)
    assert caught.value.reason == Reason.PHOTO_HEIC


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg/>",
        b"BM" + bytes(100),
        b"II*\0" + bytes(100),
        b"%PDF-1.7",
        struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + bytes(100),
        struct.pack(">I4s4sI", 0xFFFFFFFF, b"ftyp", b"jxl ", 0) + bytes(100),
        b"RIFF\x24\0\0\0WAVEfmt " + bytes(100),
    ],
)
def test_other_formats_are_refused(data):
    with pytest.raises(BadPhoto) as caught:
        decode(data)
    assert caught.value.reason == Reason.PHOTO_FORMAT_REFUSED


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def segment(marker, data):
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def enlarged(format_):
    """A file that promises ten thousand by ten thousand pixels."""
    data = file(scene(), format_)
    if format_ == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", 10_000, 10_000) + data[at + 4 :]
    if format_ == "PNG":
        header = chunk(b"IHDR", struct.pack(">II", 10_000, 10_000) + data[24:29])
        return data[:8] + header + data[33:]
    if format_ == "GIF":
        return data[:6] + struct.pack("<HH", 10_000, 10_000) + data[10:]
    if format_ == "AVIF":
        at = data.index(b"ispe") + 8
        return data[:at] + struct.pack(">II", 10_000, 10_000) + data[at + 8 :]
    canvas = struct.pack("<I", 9_999)[:3]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas + canvas
    return (
        b"RIFF" + struct.pack("<I", len(data) - 8 + len(extended)) + b"WEBP" + extended + data[12:]
    )


@pytest.mark.parametrize("format_", FORMATS)
def test_pixels_are_counted_before_they_are_decoded(format_):
    with pytest.raises(BadPhoto) as caught:
        decode(enlarged(format_))
    assert caught.value.reason in {Reason.PHOTO_TOO_MANY_PIXELS, Reason.PHOTO_UNREADABLE}
    assert caught.value.reason == Reason.PHOTO_TOO_MANY_PIXELS or format_ == "WEBP"


def test_a_format_that_is_decoded_in_full_may_have_fewer_pixels_than_a_jpeg():
    """A JPEG is decoded at an eighth of its scale."""
    side = int(MAX_PIXELS["PNG"] ** 0.5) + 100
    large = Image.new("L", (side, side))
    assert not decode(file(large, "JPEG")).any()
    with pytest.raises(BadPhoto) as caught:
        decode(file(large, "PNG"))
    assert caught.value.reason == Reason.PHOTO_TOO_MANY_PIXELS


def laborious():
    """Files that would keep a decoder busy for seconds to hours; each 9 MB, or what suffices."""
    size = 9_000_000
    jpeg, png, gif = (file(scene(), format_) for format_ in ("JPEG", "PNG", "GIF"))
    first = 13 + (3 << (gif[10] & 7) + 1)
    scanned = file(Image.new("L", (7000, 7000)), "JPEG", progressive=True)
    last = scanned[scanned.rindex(b"\xff\xda") : -2]
    exif = segment(0xE1, b"Exif\0\0" + bytes(10))
    comment = b"\x21\xfe" + b"\x01a" * (size // 2) + b"\0"
    return {
        "scans": scanned[:-2] + last * 1000 + scanned[-2:],
        "Exif segments": jpeg[:2] + exif * (size // len(exif)) + jpeg[2:],
        "fill bytes": jpeg[:2] + b"\xff" * size + jpeg[2:],
        "junk": jpeg[:2] + segment(0xE0, b"") + bytes(size) + jpeg[2:],
        "chunks": png[:33] + chunk(b"abCd", b"") * (size // 12) + png[33:],
        "chunks at the end": png[:-12] + chunk(b"abCd", b"") * (size // 12) + png[-12:],
        "text": png[:33] + chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000))) * 100 + png[33:],
        "comment": gif[:first] + comment + gif[first:],
        "extensions": gif[:first] + b"\x21\x01\0" * (size // 3) + gif[first:],
        "zeros": gif[:first] + bytes(size) + gif[first:],
    }  # fmt: skip


@pytest.mark.parametrize("name", laborious())
def test_a_laborious_file_is_refused_at_once(name):
    data = laborious()[name]
    start = time.monotonic()
    with pytest.raises(BadPhoto) as caught:
        decode(data)
    assert time.monotonic() - start < 2
    assert caught.value.reason == Reason.PHOTO_UNREADABLE


def test_a_bearable_photo_of_a_camera_is_not_laborious():
    """Segments of 64 kB of metadata, and the scans of a progressive file."""
    jpeg = file(scene((1600, 1200)), "JPEG", progressive=True)
    data = jpeg[:2] + segment(0xE5, b"maker" + bytes(60_000)) * 50 + jpeg[2:]
    assert not decode_photo(data).truncated


@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=9)), max_size=5),
    st.floats(0, 1),
)
@settings(max_examples=150, deadline=None)
def test_whatever_a_file_holds_it_is_a_picture_or_a_bad_photo(format_, changes, end):
    data = bytearray(FILES[format_])
    for place, new in changes:
        at = round(place * len(data))
        data[at : at + len(new)] = new
    for part in (bytes(data), bytes(data[: round(end * len(data))])):
        try:
            assert min(decode_picture(part, PHOTO_SIZE).size) > 0
            assert decode(part).shape == (PHOTO_SIZE, PHOTO_SIZE, 3)
        except BadPhoto as bad:
            assert bad.reason.startswith("photo_")


FILES = {format_: file(scene((64, 48)), format_) for format_ in FORMATS}
