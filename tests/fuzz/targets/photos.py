"""Photos: files of every format, whose parts lie."""

import io
import struct
import zlib
from functools import cache

from PIL import Image, ImageCms

from models.encoding.image import PHOTO_SIZE, decode_photo
from models.encoding.perceptual_hash import perceptual_hash
from models.encoding.photo_file import BadPhoto
from streams.console.web.pictures import reencoded
from streams.evidence.photos import NoPhoto
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import target

SIDES = (
    0,
    1,
    2,
    64,
    223,
    4095,
    4096,
    4097,
    7000,
    7072,
    16_384,
    65_535,
    2**24,
    2**31 - 1,
    2**32 - 1,
)
XMP = b"<?xpacket begin?><!DOCTYPE x [<!ENTITY a 'b'><!ENTITY c '&a;&a;&a;'>]><x:xmpmeta xmlns:x='adobe:ns:meta/'>&c;"


def scene(mode: str) -> Image.Image:
    """A small picture with structure."""
    gradient = Image.linear_gradient("L").resize((96, 64))
    if mode == "I;16":
        return gradient.convert("I").point(lambda level: level * 257).convert("I;16")
    if mode in {"RGBA", "LA"}:
        return Image.merge(mode, [gradient] * len(mode))
    return gradient.convert(mode)


@cache
def files() -> tuple[tuple[str, bytes], ...]:
    """Good files: format and content."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {
        "save_all": True,
        "append_images": [scene("L").convert("RGB"), scene("RGB").rotate(90)],
        "duration": 10,
    }
    ways = (
        ("JPEG", "RGB", {"quality": 80, "exif": exif.tobytes(), "icc_profile": profile}),
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
        ("PNG", "RGB", {"exif": exif.tobytes(), "icc_profile": profile}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {"transparency": 3}),
        ("PNG", "1", {}),
        ("PNG", "LA", {}),
        ("PNG", "I;16", {}),
        ("PNG", "RGB", frames),
        ("WEBP", "RGB", {"exif": exif.tobytes(), "icc_profile": profile}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("WEBP", "RGB", frames),
        ("GIF", "P", {"transparency": 1}),
        ("GIF", "RGB", frames),
        ("AVIF", "RGB", {"exif": exif.tobytes()}),
        ("AVIF", "RGBA", {}),
        ("TIFF", "RGB", {}),
        ("BMP", "RGB", {}),
    )  # fmt: skip
    return tuple(
        (format_, saved(scene(mode), format_, **options)) for format_, mode, options in ways
    )


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    """A file of a picture."""
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def photo(choices: Choices) -> bytes:
    """A file with lies, damage and parts of other files."""
    format_, data = choices.pick(files())
    relate = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "WEBP": _webp, "AVIF": _avif}.get(format_)
    if relate is not None and choices.one_in(2):
        data = relate(choices, data)
    if choices.one_in(2):
        data = mutations.damaged(choices, data)
    if choices.one_in(10):  # a polyglot
        _, other = choices.pick(files())
        at = choices.below(len(data) + 1)
        data = choices.pick(
            (data + other, data[:at] + other, other[:12] + data, b"%PDF-1.7\n" + data)
        )
    return data


def _jpeg(choices: Choices, data: bytes) -> bytes:
    """Segments of lying size, geometry and content."""
    start = data.index(b"\xff\xda")
    segments, position = [], 2
    while position < start:
        length = 2 + int.from_bytes(data[position + 2 : position + 4])
        segments.append(bytearray(data[position : position + length]))
        position += length
    for segment in segments:
        if (
            0xC0 <= segment[1] <= 0xCF
            and segment[1] not in {0xC4, 0xC8, 0xCC}
            and choices.one_in(2)
        ):
            sides = (choices.pick(SIDES) & 0xFFFF, choices.pick(SIDES) & 0xFFFF)
            segment[5:9] = struct.pack(">HH", *sides)
            if choices.one_in(3):
                segment[1] = choices.pick((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCF))
            if choices.one_in(4):
                segment[4] = choices.pick((8, 12, 16, 1, 0))
            if choices.one_in(3):
                segment[11] = choices.pick((0x11, 0x22, 0x44, 0x41, 0x14, 0x00, 0xFF))
        elif choices.one_in(6):
            segment[:] = mutations.damaged(choices, bytes(segment))
    content = choices.pick(
        (
            b"",
            b"Exif\0\0" + choices.bytes(40),
            b"http://ns.adobe.com/xap/1.0/\0" + XMP,
            b"ICC_PROFILE\0\x01\xff" + choices.bytes(200),
            b"MPF\0" + choices.bytes(20),
            b"8BIM" + b"\xff" * 100,
        )
    )
    extra = struct.pack(">BBH", 0xFF, choices.between(0xE0, 0xEF), len(content) + 2) + content
    times = choices.pick((1, 1, 5, 900, 6000)) if content else 0
    scans = data[start:] * choices.pick((1, 1, 2, 40))
    return data[:2] + extra * times + b"".join(segments) + scans


def _png(choices: Choices, data: bytes) -> bytes:
    """Chunks of lying geometry and bombs, all with a right checksum."""
    chunks, position = [], 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4])
        chunks.append(
            (data[position + 4 : position + 8], data[position + 8 : position + 8 + length])
        )
        position += 12 + length
    out = []
    for kind, given in chunks:
        content = given
        if kind == b"IHDR" and choices.one_in(2):
            shape = choices.pick(
                (
                    content[8:13],
                    bytes(
                        [
                            choices.pick((1, 2, 4, 8, 16)),
                            choices.pick((0, 2, 3, 4, 6)),
                            0,
                            0,
                            choices.below(2),
                        ]
                    ),
                )
            )
            content = struct.pack(">II", choices.pick(SIDES), choices.pick(SIDES)) + shape
        elif kind == b"IDAT" and choices.one_in(3):
            content = zlib.compress(bytes(choices.pick((10, 100_000, 70_000_000))), 1)
        elif choices.one_in(10):
            content = mutations.damaged(choices, content)
        out.append(chunk(kind, content))
        if kind == b"IHDR" and choices.one_in(2):
            out.append(_ancillary(choices))
    return data[:8] + b"".join(out)


def _ancillary(choices: Choices) -> bytes:
    bomb = zlib.compress(bytes(choices.pick((100, 2_000_000, 90_000_000))), 9)
    kind, content = choices.pick(
        (
            (b"iCCP", b"icc\0\0" + bomb),
            (b"zTXt", b"key\0\0" + bomb),
            (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
            (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
            (b"tRNS", choices.bytes(7)),
            (b"eXIf", b"MM\0*\0\0\0\x08\0\xff" + choices.bytes(200)),
            (b"acTL", struct.pack(">II", choices.pick(SIDES), 0)),
            (
                b"fcTL",
                struct.pack(
                    ">IIIIIHHBB", 0, choices.pick(SIDES), choices.pick(SIDES), 0, 0, 1, 1, 0, 0
                ),
            ),
            (b"PLTE", choices.bytes(9)),
            (b"gAMA", bytes(4)),
            (b"pHYs", b"\xff" * 9),
        )
    )
    return chunk(kind, content) * choices.pick((1, 1, 2, 70))


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _gif(choices: Choices, data: bytes) -> bytes:
    screen = struct.pack("<HH", choices.pick(SIDES) & 0xFFFF, choices.pick(SIDES) & 0xFFFF)
    changed = data[:6] + screen + data[10:] if choices.one_in(2) else data
    at = changed.find(b",", 13)
    if at > 0 and choices.one_in(2):
        frame = struct.pack("<HHHH", *(choices.pick(SIDES) & 0xFFFF for _ in range(4)))
        changed = changed[: at + 1] + frame + changed[at + 9 :]
    return changed


def _webp(choices: Choices, data: bytes) -> bytes:
    canvas = b"".join(struct.pack("<I", choices.pick(SIDES) & 0xFFFFFF)[:3] for _ in range(2))
    extended = b"VP8X" + struct.pack("<I", 10) + bytes([choices.below(64), 0, 0, 0]) + canvas
    if data[12:16] == b"VP8X":
        return data[:12] + extended + data[30:] if choices.one_in(2) else data
    extra = choices.pick(
        (b"", b"ANIM\6\0\0\0" + bytes(6), b"ICCP" + struct.pack("<I", 200) + bytes(200))
    )
    body = b"WEBP" + extended + extra + data[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _avif(choices: Choices, data: bytes) -> bytes:
    at = data.find(choices.pick((b"ispe", b"pixi", b"iloc", b"av1C", b"ftyp")))
    if at < 0:
        return data
    lie = struct.pack(">II", choices.pick(SIDES), choices.pick(SIDES))
    return data[: at + 8] + lie + data[at + 16 :]


@target("photo", "decoded", weight=1.5)
def decode(choices: Choices) -> list[str]:
    """The file of a photo, as workers and the console decode it."""
    data = photo(choices)
    ends = []
    try:
        decoded = decode_photo(data)
        assert decoded.pixels.shape == (PHOTO_SIZE, PHOTO_SIZE, 3)
        assert 0 <= perceptual_hash(decoded.pixels) < 1 << 64
        ends.append("decoded")
    except BadPhoto as bad:
        ends.append(bad.reason)
    picture = reencoded(data, transparent=choices.one_in(2))
    ends.append(picture.reason if isinstance(picture, NoPhoto) else "decoded")
    return ends
