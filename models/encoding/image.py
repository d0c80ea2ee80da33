"""The bytes of a photo → pixels. Whatever a hostile file does, it ends as a BadPhoto."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, ExifTags, Image, ImageChops

from models.encoding.photo_file import (
    BadPhoto,
    check_coefficients,
    check_parts,
    check_scans,
    completed_webp,
    format_of,
    is_cut_off,
    webp_lacks,
)
from schemas.reasons import Reason

PHOTO_SIZE: Final = 224
"""Side of the square that the image encoder sees. Unit: pixels."""
MAX_PIXELS: Final = {
    "JPEG": 50_000_000,
    "PNG": 4096 * 4096,
    "GIF": 4096 * 4096,
    "WEBP": 5_000_000,
    "AVIF": 5_000_000,
}
"""Of each format. A JPEG is decoded at a smaller scale; the others in full, for which PNG and GIF
take up to 5 bytes of memory a pixel, WebP and AVIF up to 20. So a photo never takes 100 MB."""
MAX_AT_ONCE: Final = 4_000_000
"""Pixels that are turned, put on white and resized at once: copies of more take too much memory."""
ROWS: Final = 128
"""Rows of a larger picture that are at a time."""
MOST_MISSING: Final = 0.2
"""Share of a photo that may be missing at its end."""
UNDECODED: Final = 128
"""Value of a byte that was not decoded, as in a JPEG's missing blocks; or, inverted, one less."""
JPEG_END: Final = b"\xff\xd9"
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Orientation (Exif) → what turns a photo upright."""
SIDEWAYS: Final = frozenset(UPRIGHT[orientation] for orientation in (5, 6, 7, 8))
RESAMPLING: Final = Image.Resampling.BICUBIC

# Photos are decoded in two threads; more would busy-wait for the cores that infer.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo's first frame."""

    image: Image.Image
    """As the file has it."""
    rows: int
    """That are there, from the top of `image`."""
    turn: Image.Transpose | None
    """What turns `image` upright."""
    truncated: bool
    """The end of the file is missing, and with it rows at the end of the picture."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright. Unit: pixels."""
        width, height = self.image.width, self.rows
        return (height, width) if self.turn in SIDEWAYS else (width, height)

    def resized(self, size: tuple[int, int], *, transparent: bool = False) -> Image.Image:
        """Return the picture at another size, upright.

        Args:
            size: width and height. Unit: pixels.
            transparent: keep transparency, as RGBA; else the picture is RGB on white.
        """
        width, height = self.size
        if width * height <= MAX_AT_ONCE:
            return self._strip(0, height, transparent=transparent).resize(size, RESAMPLING)
        narrow = Image.new("RGBA" if transparent else "RGB", (size[0], height))
        for top in range(0, height, ROWS):
            strip = self._strip(top, min(top + ROWS, height), transparent=transparent)
            narrow.paste(strip.resize((size[0], strip.height), RESAMPLING), (0, top))
        return narrow.resize(size, RESAMPLING)

    def _strip(self, top: int, bottom: int, *, transparent: bool) -> Image.Image:
        """Return some rows of the upright picture, as RGBA or on white."""
        width, height = self.image.width, self.rows
        if self.turn in SIDEWAYS:
            from_left = self.turn in {Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270}
            ends = (top, bottom) if from_left else (width - bottom, width - top)
            strip = self.image.crop((ends[0], 0, ends[1], height))
        else:
            from_top = self.turn in {None, Image.Transpose.FLIP_LEFT_RIGHT}
            ends = (top, bottom) if from_top else (height - bottom, height - top)
            strip = self.image.crop((0, ends[0], width, ends[1]))
        if self.turn is not None:
            strip = strip.transpose(self.turn)
        return strip.convert("RGBA") if transparent else on_white(strip)


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """What the image encoder sees of a photo."""

    pixels: NDArray[np.uint8]
    """RGB of shape (PHOTO_SIZE, PHOTO_SIZE, 3); the whole picture, its aspect not kept."""
    truncated: bool
    """See `Picture`."""


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels of `decode_photo`, whether truncated or not."""
    return decode_photo(data).pixels


def decode_photo(data: bytes) -> DecodedPhoto:
    """Decode a photo for the image encoder, in bounded time and memory.

    Raises:
        BadPhoto: with the reason code.
    """
    picture = decode_picture(data, PHOTO_SIZE)
    with _bad_photos():
        small = picture.resized((PHOTO_SIZE, PHOTO_SIZE))
    return DecodedPhoto(np.asarray(small, dtype=np.uint8), picture.truncated)


def decode_picture(data: bytes, side: int) -> Picture:
    """Decode a photo's first frame.

    Formats are allow-listed; parts, scans and pixels are counted before any is decoded; a JPEG is
    decoded at the smallest scale that is large enough. A photo whose end is missing is used as far
    as it goes, if most of it is there.

    Args:
        data: the file.
        side: that the picture needs in both directions; it may be larger. Unit: pixels.

    Raises:
        BadPhoto: with the reason code.
    """
    format_ = format_of(data)
    check_parts(data, format_)
    with _bad_photos():
        image, missing = _loaded(data, format_, side)
        rows = round(image.height * (1 - (missing or 0.0)))
        return Picture(image, rows, UPRIGHT.get(_orientation(image)), missing is not None)


def on_white(image: Image.Image) -> Image.Image:
    """Return a picture as RGB of 8 bits, what is transparent in it white."""
    if image.mode.startswith("I"):
        image, transparent = _eight_bits(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        transparent = ImageChops.invert(image.getchannel("A"))
    else:
        transparent = None
    if image.mode == "F":
        image = image.convert("L")
    if image.mode != "RGB":  # a copy may take 100 MB
        image = image.convert("RGB")
    if transparent is not None:
        image.paste((255, 255, 255), mask=transparent)
    return image


def normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels as EfficientNet-Lite was trained on them: (x - 127) / 128, channels first.

    Returns:
        Shape (3, PHOTO_SIZE, PHOTO_SIZE).
    """
    return ((pixels.astype(np.float32) - 127.0) / 128.0).transpose(2, 0, 1)


@contextmanager
def _bad_photos() -> Iterator[None]:
    """Turn what decoders raise into a BadPhoto: OSError, SyntaxError, whatever they meet."""
    try:
        yield
    except BadPhoto:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadPhoto(Reason.PHOTO_TOO_MANY_PIXELS) from error
    except Exception as error:
        raise BadPhoto(Reason.PHOTO_UNREADABLE, type(error).__name__) from error


def _opened(data: bytes, format_: str, side: int) -> Image.Image:
    """Read the header, and check what it promises."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data), formats=(format_,))
    pixels = image.width * image.height
    if pixels > MAX_PIXELS[format_]:
        raise BadPhoto(Reason.PHOTO_TOO_MANY_PIXELS, f"{image.width} × {image.height}")
    if format_ == "JPEG":
        check_scans(data, pixels)
        samplings = [(across, down) for _, across, down, _ in image.layer]  # type: ignore[attr-defined] # of a JPEG
        check_coefficients(data, pixels, samplings, progressive="progressive" in image.info)
    image.draft("RGB", (side, side))
    return image


def _loaded(data: bytes, format_: str, side: int) -> tuple[Image.Image, float | None]:
    """Decode the pixels.

    Returns:
        the picture; and the share of it that is missing at its end, None if the file is whole.
    """
    missing = 0.0 if is_cut_off(data, format_) else None
    if format_ == "WEBP" and missing is not None:
        lacks = webp_lacks(data)
        missing = _bearable(lacks / (len(data) + lacks))
        data = completed_webp(data)
    image = _opened(data, format_, side)
    if _loads(image):
        return image, missing
    image = _opened(data + JPEG_END if format_ == "JPEG" else data, format_, side)
    return image, _bearable(_load_truncated(image))


def _loads(image: Image.Image) -> bool:
    """Decode the pixels; returns False for a truncated photo."""
    try:
        image.load()
    except OSError as error:
        if "truncated" not in str(error):
            raise
        return False
    return True


def _bearable(missing: float) -> float:
    """Return a share that is missing, if it is not too large."""
    if missing > MOST_MISSING:
        raise BadPhoto(Reason.PHOTO_UNREADABLE, "truncated")
    return missing


def _load_truncated(image: Image.Image) -> float:
    """Decode what there is of a truncated photo; returns the share of its rows that is missing."""
    # One bit has no third value; a transparent GIF's decoder fills its own.
    if image.mode == "1" or (image.format == "GIF" and "transparency" in image.info):
        return 1.0
    fill = UNDECODED * 257 if image.mode.startswith("I") else UNDECODED
    bands = len(image.getbands())
    image.im = Image.new(image.mode, image.size, fill if bands == 1 else (fill,) * bands).im
    try:
        image.load()
    except OSError:
        image.tile = []  # type: ignore[attr-defined] # of a file: nothing more is to be decoded
    missing = 0
    for top in range(0, image.height, ROWS):
        strip = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        rows = np.asarray(strip).reshape(strip.height, -1).view(np.uint8)
        missing += sum(bool((UNDECODED - row <= 1).all()) for row in rows)
    return missing / image.height


def _orientation(image: Image.Image) -> int:
    """Return the orientation that the metadata says: damaged metadata damages no photo."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - a parser of hostile bytes raises whatever it meets
        return 1
    return orientation if isinstance(orientation, int) else 1


def _eight_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return a grey picture of 16 bits with 8, and what is transparent in it as a mask."""
    levels = np.asarray(image).clip(0, 65535).astype(np.uint16)
    transparent = image.info.get("transparency")
    mask = None
    if isinstance(transparent, int):
        mask = Image.fromarray((levels == transparent).astype(np.uint8) * np.uint8(255))
    return Image.fromarray((levels >> 8).astype(np.uint8)), mask
