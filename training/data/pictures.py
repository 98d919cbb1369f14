"""One picture out of the bytes of a file: upright, RGB, eight bits, and within what the memory holds.

`pomona/onnx_predict.py` writes the same out once more, as it has to work without this package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..machine.memory import machine_memory
from ..machine.threads import Weights

_WHITE = (255, 255, 255)
# Widths of what cameras and scanners write into files of 16 or 32 bits; a file is of the smallest that holds it.
_BITS = (8, 10, 12, 14, 16)
_FULL = 2**16 - 1
# Pillow keeps the upper eight of 16 bits of colours, which have one of these layouts in the file.
_DEEP_COLOURS = re.compile(r".*;16[BLN]")
# Where the picture itself begins in JPEG 2000, and how far behind that the bits of its first channel are named.
_CODESTREAM, _PRECISION = b"\xff\x4f\xff\x51", 42
# Of a picture in memory with the copies that are made of it (8 to 13 measured, of WebP 21); and what a progressive JPEG
# takes besides, at its full size.
_PIXEL_BYTES, _PROGRESSIVE_BYTES = 16, 6
_PHOTOMETRIC, _LARGEST_VALUE, _BITS_PER_SAMPLE = 262, 281, 258


def read_rgb(data: bytes, resolution: int) -> Image.Image:
    """The upright RGB picture in `data`; a JPEG no larger than twice `resolution` needs, as that is cheaper to decode.

    Transparent parts become white. Of an animation, the first frame. Grey values of more than eight bits are divided
    by the range that they fill (docs/decisions/0013).

    Raises:
        Exception: what Pillow's many parsers raise on what is no whole picture.
    """
    with _opened(data, resolution) as image:
        return _rgb(image)[0]


def square(data: bytes, resolution: int) -> NDArray[np.uint8]:
    """The whole picture in `data`, resized to (resolution, resolution, 3) with antialiasing, aspect not kept."""
    side = (resolution, resolution)
    with _opened(data, resolution) as image:
        return np.asarray(_rgb(image)[0].resize(side, Image.Resampling.BICUBIC, reducing_gap=3.0))


def why_unreadable(data: bytes) -> str | None:
    """Why no picture can be had from `data`; None where one can."""
    return examined(data)[1]


def examined(data: bytes) -> tuple[str, str | None]:
    """How grey values of more than eight bits are read, empty for all other pictures and for full 16 bits; and why no
    picture can be had from `data`, None where one can."""
    try:
        with _opened(data, 1) as image:
            return _rgb(image)[1], None
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return "", "no image format known here"
    except Exception as problem:  # whatever a parser meets in a broken file
        return "", " ".join(str(problem).split()) or type(problem).__name__


@contextmanager
def _opened(data: bytes, resolution: int) -> Iterator[Image.Image]:
    """The picture, not loaded yet; others wait while it is in use and there is no room for all."""
    image: Image.Image = Image.open(BytesIO(data))
    width, height = image.size
    needed = width * height * _PROGRESSIVE_BYTES if image.info.get("progressive") else 0
    image.draft(None, (2 * resolution, 2 * resolution))
    needed += image.width * image.height * _PIXEL_BYTES
    # That there are too many for any machine is said by Pillow.
    if needed > machine_memory() // 2:
        raise ValueError(
            f"{width} x {height} pixels take {needed / 2**20:.0f} MiB to decode, more than half of this machine's "
            "memory: make it smaller"
        )
    with _room().hold(needed):
        yield image


@cache
def _room() -> Weights:
    """Bytes for all pictures that are being decoded in this process."""
    return Weights(min(max(machine_memory() // 16, 2**28), 2**31))


def _rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """The picture, and how its grey values were read, as `examined` says it."""
    layout, white = _layout(image), _white(image)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    reading = ""
    if image.mode.startswith("I"):
        image, reading = _eight_bits(image, white)
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    elif (white >= _FULL or _DEEP_COLOURS.fullmatch(layout)) and _is_dark(image):
        raise ValueError(
            "its 16-bit colours use 14 bits or fewer, and would come out nearly black: stretch them to 16 bits, or "
            "save it with 8"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        flat = Image.new("RGB", image.size, _WHITE)
        flat.paste(image, mask=image.getchannel("A"))
        return flat, reading
    return image.convert("RGB"), reading


def _layout(image: Image.Image) -> str:
    """What Pillow calls the layout of pixels in the file; to be asked before they are loaded."""
    tile = getattr(image, "tile", None)
    arguments = tile[0][3] if tile else None
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _white(image: Image.Image) -> int:
    """The value that PPM and JPEG 2000 call white, 0 where none is known; to be asked before the pixels are loaded.

    Where it is below 2^16 - 1, Pillow stretches what it reads to all bits that it has.
    """
    tile, file = getattr(image, "tile", None), getattr(image, "fp", None)
    if image.format == "PPM" and tile and isinstance(tile[0][3], tuple):
        return int(tile[0][3][1])
    if image.format == "JPEG2000" and isinstance(file, BytesIO):
        data = file.getvalue()
        place = data.find(_CODESTREAM) + _PRECISION
        return int(2 ** (1 + (data[place] & 0x7F)) - 1)
    return 0


def _is_dark(image: Image.Image) -> bool:
    """Whether colours of 16 bits, of which Pillow rounds those of PPM to eight and cuts others, use 14 or fewer."""
    brightest = max(int(np.asarray(image.getchannel(name)).max()) for name in image.getbands() if name not in "Aa")
    return brightest <= (64 if image.format == "PPM" else 63)


def _eight_bits(image: Image.Image, white: int) -> tuple[Image.Image, str]:
    """Grey values of 16 or 32 bits by the range that they fill, and what that is where it is not 16 bits."""
    values = np.asarray(image)
    transparent = np.isin(values, image.info.get("transparency", []))
    seen = np.zeros(1, values.dtype) if transparent.all() else values[~transparent]
    low, high = int(seen.min()), int(seen.max())
    if low < 0 or high >= 2**16:
        raise ValueError(f"grey values from {low} to {high} have no agreed range: save it with 8 or 16 bits")
    bits = _bits_of(image, high, white)
    grey = (values >> (bits - 8)).astype(np.uint8)
    # Pillow reverses such files of eight bits, but none of more.
    negative = _tag(image, _PHOTOMETRIC) == 0
    reading = f"{bits}{'n' if negative else ''}{'t' if transparent.any() else ''}"
    shown = np.where(transparent, np.uint8(255), 255 - grey if negative else grey)
    return Image.fromarray(shown), "" if reading == "16" else reading


def _bits_of(image: Image.Image, high: int, white: int) -> int:
    if 0 < white < _FULL:
        return 16
    for payload in (2 ** (_tag(image, _BITS_PER_SAMPLE) or 16) - 1, _tag(image, _LARGEST_VALUE)):
        if payload is not None and high <= payload < _FULL:
            high = payload
    return next(bits for bits in _BITS if high < 2**bits)


def _tag(image: Image.Image, number: int) -> int | None:
    """A whole number that a TIFF file says about itself."""
    value = getattr(image, "tag_v2", {}).get(number)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else None
