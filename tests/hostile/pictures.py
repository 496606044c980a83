"""Pictures that a visitor might upload, made from code: odd ones that must be read, and broken ones."""

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def saved(image: Image.Image, kind: str, **options) -> bytes:
    """The bytes of ``image`` as a file of ``kind``."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _noise(size=(48, 40), mode="RGB") -> Image.Image:
    drawn = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(drawn).convert(mode)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *more: bytes, bits=1, colour=0) -> bytes:
    """A PNG of ``data`` (not yet compressed) whose header tells any size; ``more`` chunks go before the picture."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return _SIGNATURE + header + b"".join(more) + _chunk(b"IDAT", zlib.compress(data, 9)) + _chunk(b"IEND", b"")


def _rows(width: int, height: int) -> bytes:
    """The unpacked data of a black picture of one bit a pixel."""
    return bytes(height * (1 + (width + 7) // 8))


def _sixteen() -> bytes:
    rows = b"".join(b"\0" + np.linspace(0, 65535, 24).astype(">u2").tobytes() for _ in range(8))
    return png(8, 8, rows, bits=16, colour=2)


def _turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return saved(_noise(), "JPEG", exif=exif)


def _moving(kind: str) -> bytes:
    frames = [_noise((32, 32)), Image.new("RGB", (32, 32), "teal"), Image.new("RGB", (32, 32), "red")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, loop=0)


READABLE: dict[str, Callable[[], bytes]] = {
    **{f"animated {kind}": lambda kind=kind: _moving(kind) for kind in ("PNG", "GIF", "WEBP", "TIFF")},
    **{f"exif orientation {turn}": lambda turn=turn: _turned(turn) for turn in (0, 2, 3, 4, 5, 6, 7, 8, 9)},
    **{f"one pixel {kind}": lambda kind=kind: saved(_noise((1, 1)), kind) for kind in FORMATS},
    **{
        f"{size[0]} x {size[1]} {kind}": lambda size=size, kind=kind: saved(_noise(size), kind)
        for size in ((1, 5000), (5000, 1)) for kind in ("PNG", "JPEG")
    },
    **{f"png {mode}": lambda mode=mode: saved(_noise(mode=mode), "PNG") for mode in ("1", "L", "LA", "P", "RGBA")},
    **{f"tiff {mode}": lambda mode=mode: saved(_noise(mode=mode), "TIFF") for mode in ("CMYK", "LAB", "F")},
    "jpeg CMYK": lambda: saved(_noise(mode="CMYK"), "JPEG"),
    "jpeg grey, progressive": lambda: saved(_noise(mode="L"), "JPEG", progressive=True),
    "bmp of one bit": lambda: saved(_noise(mode="1"), "BMP"),
    "palette with transparency": lambda: saved(_noise(mode="P"), "PNG", transparency=bytes(range(256))),
    "gif with transparency": lambda: saved(_noise(mode="P"), "GIF", transparency=0),
    "sixteen bits grey": lambda: saved(Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60)), "PNG"),
    "sixteen bits colour": _sixteen,
    "float with infinities": lambda: saved(Image.fromarray(np.float32([[np.nan, np.inf], [-np.inf, 1]])), "TIFF"),
    "9,900 x 9,900": lambda: png(9900, 9900, _rows(9900, 9900)),
    "something after the end": lambda: saved(_noise(), "PNG") + b"<script>hostile()</script>" * 99,
}  # fmt: skip
"""Must be answered."""


def _cut(kind: str, share: float) -> bytes:
    whole = saved(_noise(), kind)
    return whole[: max(int(len(whole) * share), 12)]


def _lying(kind: str, side: int) -> bytes:
    """A small file whose header tells ``side`` pixels a side (a WebP's: what fits), 0 for none."""
    data = bytearray(saved(_noise(), kind, **({"lossless": True} if kind == "WEBP" else {})))
    if kind == "PNG":
        return png(side, side, b"\0" * 64)
    if kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", min(side, 65535), min(side, 65535))
    if kind == "WEBP":
        at = data.index(b"VP8L") + 9
        told = min(max(side, 1), 16384) - 1
        data[at : at + 4] = struct.pack("<I", told | told << 14)
    if kind == "GIF":
        data[6:10] = struct.pack("<HH", min(side, 65535), min(side, 65535))
        at = data.index(b"\x2c") + 5
        data[at : at + 4] = data[6:10]
    if kind == "BMP":
        data[18:26] = struct.pack("<ii", side, side)
    if kind == "TIFF":
        at = struct.unpack("<I", data[4:8])[0] + 2
        for entry in range(at, at + 24, 12):  # the first two tags are width and height
            data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, side)
    return bytes(data)


def _negative_bmp() -> bytes:
    data = bytearray(saved(_noise(), "BMP"))
    data[18:26] = struct.pack("<ii", -48, -40)
    return bytes(data)


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("a.png", saved(_noise(), "PNG"))
    return out.getvalue()


def _bomb(kind: bytes) -> bytes:
    """A PNG whose text, or colour profile, unpacks to 100 MB."""
    packed = zlib.compress(bytes(100_000_000), 9)
    inside = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind]
    return png(8, 8, _rows(8, 8), _chunk(kind, inside + packed))


_SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg" onload="hostile()"><script>hostile()</script><text>&x;</text></svg>"""

BROKEN: dict[str, Callable[[], bytes]] = {
    **{
        f"{kind} cut at {share:.0%}": lambda kind=kind, share=share: _cut(kind, share)
        for kind in FORMATS for share in (0, 0.1, 0.5, 0.9)
    },
    **{
        f"{kind} that tells {side} pixels a side": lambda kind=kind, side=side: _lying(kind, side)
        for kind in FORMATS for side in (0, 9_000, 30_000, 2**31 - 1)
    },
    **{f"png with {kind.decode()} of 100 MB": lambda kind=kind: _bomb(kind) for kind in (b"zTXt", b"iTXt", b"iCCP")},
    "30,000 x 30,000": lambda: png(30_000, 30_000, _rows(30_000, 30_000)),
    "more data than the header tells": lambda: png(8, 8, bytes(50_000_000)),
    "tiff YCbCr": lambda: saved(_noise(mode="YCbCr"), "TIFF"),
    "bmp of negative size": _negative_bmp,
    "svg with script": lambda: _SVG,
    "html": lambda: b"<html><script>hostile()</script><img src=x onerror=hostile()>",
    "text": lambda: b"I am not a picture.",
    "zip": _zip,
    "gzip": lambda: gzip.compress(b"x" * 1000),
    "pickle": lambda: pickle.dumps({"path": "/etc/passwd"}),
    "pdf": lambda: b"%PDF-1.4\n1 0 obj <</OpenAction <</S /JavaScript /JS (app.alert(1))>>>> endobj",
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
    "empty": lambda: b"",
    "one byte": lambda: b"\x89",
    "signature alone": lambda: _SIGNATURE,
    "zeros": lambda: bytes(4096),
    "gif that is a script": lambda: b"GIF89a/*" + bytes(8) + b"*/=1;hostile()",
}  # fmt: skip
"""End in an answer, where there is something to see, or in a message."""
