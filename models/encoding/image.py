"""The bytes of a photo → pixels. Whatever a hostile file does, it ends as a BadPhoto."""

import io
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from schemas.reasons import Reason

PHOTO_SIZE: Final = 224
"""Side of the square that the image encoder sees. Unit: pixels."""
MAX_PIXELS: Final = 50_000_000
FORMATS: Final = ("JPEG", "PNG", "WEBP")


class BadPhoto(Exception):  # noqa: N818 - says what it is
    """A photo that cannot be used: a bad datum, with its reason code."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode a photo's first frame, upright, without metadata.

    Time and memory are bounded: formats are allow-listed, the pixels are counted in the header
    before any is decoded, and a JPEG is decoded at the smallest scale that is large enough.

    Returns:
        RGB of shape (PHOTO_SIZE, PHOTO_SIZE, 3); the whole picture, its aspect not kept.

    Raises:
        BadPhoto: with the reason code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            photo = Image.open(io.BytesIO(data), formats=FORMATS)
        if photo.width * photo.height > MAX_PIXELS:
            too_many = f"{photo.width} × {photo.height}"
            raise BadPhoto(Reason.PHOTO_TOO_MANY_PIXELS, too_many)  # noqa: TRY301 - one way out
        photo.draft("RGB", (PHOTO_SIZE, PHOTO_SIZE))
        upright = ImageOps.exif_transpose(photo).convert("RGB")
        small = upright.resize((PHOTO_SIZE, PHOTO_SIZE), Image.Resampling.BICUBIC)
    except BadPhoto:
        raise
    except UnidentifiedImageError as error:
        raise BadPhoto(Reason.PHOTO_FORMAT_REFUSED) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadPhoto(Reason.PHOTO_TOO_MANY_PIXELS) from error
    except Exception as error:  # decoders raise whatever they meet: OSError, SyntaxError, …
        raise BadPhoto(Reason.PHOTO_UNREADABLE, type(error).__name__) from error
    return np.asarray(small, dtype=np.uint8)


def normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels as EfficientNet-Lite was trained on them: (x - 127) / 128, channels first.

    Returns:
        Shape (3, PHOTO_SIZE, PHOTO_SIZE).
    """
    return ((pixels.astype(np.float32) - 127.0) / 128.0).transpose(2, 0, 1)
