"""The file of a photo → the format that it is in, checked before a decoder reads it.

Decoders read headers part by part in Python, and a progressive JPEG scan by scan over all pixels: a
small file could keep one busy for hours. What a file may hold of these is counted first.
"""

from collections.abc import Sequence
from typing import Final

from schemas.reasons import Reason

MAX_PARTS: Final = 5000
"""Parts that a file may have before its pixels, or of its pixels: a photo has a few dozen, one of
10 MB in the small blocks of libpng 1,250."""
MAX_SCANNED: Final = 800_000_000
"""Scans of a JPEG, times its pixels; as for 50 million pixels in 16 scans. Takes about a second."""
MAX_COEFFICIENTS: Final = 40_000_000
"""Of a JPEG that is decoded in several scans: they are kept in full, whatever the scale, in two
bytes each. 40 million pixels in grey, 26 in the usual colours, 13 in full ones."""
RIFF_HEAD: Final = 8
"""Bytes of the name and size of a chunk."""
ZEROS: Final = 1 << 16
"""More than a decoder reads ahead. Unit: bytes."""
MARKER: Final = 0xFF
"""Byte that begins a marker in a JPEG, and may fill the room before one."""
BRANDS_READ: Final = 256
"""Bytes of the list of brands that are read."""
AVIF: Final = (b"avif", b"avis")
HEIC: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
"""Brands of HEVC pictures (ISO/IEC 23008-12), as telephones take them."""


class BadPhoto(Exception):  # noqa: N818 - says what it is
    """A photo that cannot be used: a bad datum, with its reason code."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def format_of(data: bytes) -> str:
    """Return the format of a file by its first bytes, as Pillow names it.

    Raises:
        BadPhoto: it is none that is read.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4]), BRANDS_READ)
        brands = {data[8:12], *(data[start : start + 4] for start in range(16, end, 4))}
        if brands.intersection(AVIF):
            return "AVIF"
        if brands.intersection(HEIC):
            raise BadPhoto(Reason.PHOTO_HEIC)
    raise BadPhoto(Reason.PHOTO_FORMAT_REFUSED)


def check_parts(data: bytes, format_: str) -> None:
    """Check that a decoder does not read too many parts.

    Raises:
        BadPhoto: it has too many.
    """
    count = {"JPEG": _jpeg_parts, "PNG": _png_parts, "GIF": _gif_parts}.get(format_)
    if count is not None and count(data) > MAX_PARTS:
        raise BadPhoto(Reason.PHOTO_UNREADABLE, f"more than {MAX_PARTS} parts")


def check_scans(data: bytes, pixels: int) -> None:
    """Check that a JPEG does not go over its pixels too often.

    Raises:
        BadPhoto: it does.
    """
    scans = data.count(b"\xff\xda")  # may count some of metadata, too
    if scans * pixels > MAX_SCANNED:
        raise BadPhoto(Reason.PHOTO_UNREADABLE, f"{scans} scans")


def check_coefficients(
    data: bytes, pixels: int, samplings: Sequence[tuple[int, int]], *, progressive: bool
) -> None:
    """Check that a decoder does not keep too much of a JPEG between its scans.

    Args:
        data: the file.
        pixels: of the picture.
        samplings: horizontal and vertical factor of each component.
        progressive: whether its frame is.

    Raises:
        BadPhoto: it does.
    """
    _, scan = _jpeg_head(data)
    in_scan = data[scan + 4] if scan + 4 < len(data) else 0
    if not progressive and in_scan >= len(samplings):
        return  # one scan: nothing is kept
    largest = max((h for h, _ in samplings), default=1) * max((v for _, v in samplings), default=1)
    coefficients = pixels * sum(h * v for h, v in samplings) / max(1, largest)
    if coefficients > MAX_COEFFICIENTS:
        detail = f"{round(coefficients / 1e6)} million coefficients"
        raise BadPhoto(Reason.PHOTO_TOO_MANY_PIXELS, detail)


def is_cut_off(data: bytes, format_: str) -> bool:
    """Return whether a file lacks the mark of its end; of a JPEG and an AVIF its decoder tells."""
    if format_ == "PNG":
        return b"IEND" not in data
    if format_ == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    return format_ == "WEBP" and webp_lacks(data) > 0


def webp_lacks(data: bytes) -> int:
    """Return how many bytes a WebP file lacks by its own account."""
    return max(0, RIFF_HEAD + _little(data, 4) - len(data))


def completed_webp(data: bytes) -> bytes:
    """Return a WebP file whose last chunk, which is cut off, goes on with zeros.

    Its decoder refuses what it cannot read to the end, and reads zeros as the likeliest picture.
    """
    position = RIFF_HEAD + 4
    while (end := position + RIFF_HEAD + _little(data, position + 4)) <= len(data):
        position = end + end % 2
    size = len(data) + ZEROS - len(data) % 2
    head, chunk = data[:position], data[position:]
    return b"".join(
        (
            head[:4],
            (size - RIFF_HEAD).to_bytes(4, "little"),
            head[RIFF_HEAD:],
            chunk[:4],
            (size - position - RIFF_HEAD).to_bytes(4, "little"),
            chunk[RIFF_HEAD:],
            bytes(size - len(data)),
        )
    )


def _little(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "little")


def _jpeg_parts(data: bytes) -> int:
    """Count segments before the first scan, and the bytes that fill the room between."""
    return _jpeg_head(data)[0]


def _jpeg_head(data: bytes) -> tuple[int, int]:
    """Return the number of parts before the first scan, and the place of its marker."""
    parts, position = 0, 2
    while parts <= MAX_PARTS and position + 1 < len(data):
        parts += 1
        marker = data[position + 1]
        if data[position] != MARKER or marker == MARKER:
            position += 1
        elif marker in {0xD9, 0xDA}:  # end of image, start of scan
            break
        elif marker in {0x00, 0x01, *range(0xD0, 0xD9)}:  # these stand alone
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return parts, position


def _png_parts(data: bytes) -> int:
    """Count chunks."""
    parts, position = 0, 8
    while parts <= MAX_PARTS and position < len(data):
        parts += 1
        position += 12 + int.from_bytes(data[position : position + 4])
    return parts


def _gif_parts(data: bytes) -> int:
    """Count blocks before the first frame, and what stands between."""
    flags = data[10] if len(data) > 10 else 0  # noqa: PLR2004 - of the logical screen
    parts, position = 0, 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while parts <= MAX_PARTS and position < len(data) and data[position] != ord(","):
        parts += 1
        if data[position] == ord("!"):
            position += 2
            while parts <= MAX_PARTS and position < len(data) and data[position]:
                parts += 1
                position += 1 + data[position]
        position += 1
    return parts
