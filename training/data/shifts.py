"""Photos as another photographer would have taken them: mild changes that leave no doubt about what is to be seen.

What a model says of them tells how much it depends on the framing, the light, the camera and the background of one
photographer's photos. Hendrycks and Dietterich (2019, arXiv 1903.12261) measure robustness to corruptions in the same
manner; these are milder, and meant to be met in photos that somebody else brings.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from ..machine.threads import in_threads
from .splits import Split

REVISION = 1
"""Part of every key; to be raised when the pixels that come out change."""

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float64]

_NUMBERS = 16
_GAMMA = 2.2
# Of the side. A photo that is shown smaller continues as its edges are.
_CLOSEST, _FARTHEST, _ASPECT = 0.75, 1.2, 0.07
_MARGIN = 0.3
# In stops of light; the contrast is that of a display's curve.
_EXPOSURE, _TEMPERATURE, _TINT, _CONTRAST = 0.6, 0.3, 0.08, 0.2
# The blur's radius as a part of the side, and the lowest and highest quality of JPEG.
_BLUR = 1 / 112
_QUALITY = (40, 80)
# A pixel is of the background if no channel differs by more from the middle of the frame's; see `_background`.
_TOLERANCE, _UNIFORM = 36, 0.6
_TONES, _COLOUR = (70, 230), 25


def _frame(pixels: Pixels, numbers: Numbers, strength: float) -> Pixels:
    """Nearer or from farther off, and not in the middle: 0.75 to 1.2 of the side, 7 % wider or narrower."""
    zoom, aspect, x, y = numbers[:4]
    side = len(pixels)
    zoom = 1 + strength * (_CLOSEST + (_FARTHEST - _CLOSEST) * zoom - 1)
    stretch = 1 + strength * _ASPECT * _either_way(aspect)
    margin = math.ceil(_MARGIN * side)
    around = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    width, height = zoom * stretch * side, zoom / stretch * side
    left, top = margin + (side - width) * x, margin + (side - height) * y
    box = (left, top, left + width, top + height)
    return np.asarray(Image.fromarray(around).resize((side, side), Image.Resampling.BICUBIC, box=box))


def _light(pixels: Pixels, numbers: Numbers, strength: float) -> Pixels:
    """Up to 0.6 stops brighter or darker, warmer or colder, greener or redder, harder or softer."""
    exposure, temperature, tint, contrast = (strength * _either_way(number) for number in numbers[4:8])
    warm = _TEMPERATURE * temperature
    stops = _EXPOSURE * exposure + np.array([warm, _TINT * tint, -warm])
    linear = (np.arange(256) / 255) ** _GAMMA
    curves = np.clip(linear * 2 ** stops[:, None], 0, 1) ** (2 ** (_CONTRAST * contrast) / _GAMMA)
    table = np.rint(255 * curves).astype(np.uint8)
    return np.stack([table[channel][pixels[..., channel]] for channel in range(3)], axis=-1)


def _camera(pixels: Pixels, numbers: Numbers, strength: float) -> Pixels:
    """Less sharp, and saved as a JPEG of quality 40 to 80."""
    blur, quality = map(float, numbers[8:10])
    lowest, highest = _QUALITY
    image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(strength * blur * _BLUR * len(pixels)))
    file = BytesIO()
    image.save(file, "JPEG", quality=round(highest - strength * (highest - lowest) * quality))
    with Image.open(file) as saved:
        return np.asarray(saved.convert("RGB"))


def _background(pixels: Pixels, numbers: Numbers, strength: float) -> Pixels:
    """On a ground of another tone, from dark to light and slightly coloured, with its shadows as they are.

    The ground is what is connected with the photo's edge and has about its middle colour. A photo whose edge is for
    less than 60 % of about one colour has no such ground, and stays as it is.
    """
    # Of what is imported here, nothing else needs it.
    from scipy import ndimage  # type: ignore[import-untyped]

    edge = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]]).astype(np.int16)
    middle = np.median(edge, axis=0)
    if (np.abs(edge - middle).max(axis=1) <= _TOLERANCE).mean() < _UNIFORM:
        return pixels
    regions, _ = ndimage.label(np.abs(pixels - middle).max(axis=2) <= _TOLERANCE)
    touching = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
    ground = Image.fromarray(np.where(np.isin(regions, touching[touching > 0]), np.uint8(255), np.uint8(0)))
    # Without a rim of the old tone along what stands on it.
    soft = np.asarray(ground.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(1)))[..., None] / 255
    darkest, lightest = _TONES
    tone = darkest + (lightest - darkest) * numbers[10] + _COLOUR * _either_way(numbers[11:14])
    changed = np.clip(pixels + strength * soft * (tone - middle), 0, 255)
    toned: Pixels = np.rint(changed).astype(np.uint8)
    return toned


def _all_of_them(pixels: Pixels, numbers: Numbers, _strength: float) -> Pixels:
    """All four at once, each of them 0.6 as strong."""
    for change in (_background, _frame, _light, _camera):
        pixels = change(pixels, numbers, 0.6)
    return pixels


SHIFTS: tuple[Callable[[Pixels, Numbers, float], Pixels], ...] = (_frame, _light, _camera, _background, _all_of_them)
"""What is done to uint8 (side, side, 3) with `_NUMBERS` uniform numbers, at a strength of 0 (nearly nothing) to 1."""


@dataclass(frozen=True)
class Shift:
    """The change number `variant` of `SHIFTS`: a function of a photo, of its key and of the variant, and nothing else.

    It pickles, and takes some 2 ms a photo of 224 pixels.
    """

    variant: int

    def __call__(self, photos: Tensor, keys: Sequence[str]) -> Tensor:
        """uint8 (n, side, side, 3) on the CPU, changed; `keys` are theirs, one each."""
        pixels = photos.numpy()
        changed = np.empty_like(pixels)

        def change(row: int) -> None:
            numbers = _numbers(f"{REVISION} {self.variant} {keys[row]}")
            changed[row] = SHIFTS[self.variant](pixels[row], numbers, 1.0)

        in_threads(change, range(len(photos)))
        return torch.from_numpy(changed)


def shifted_photos(split: Split) -> tuple[Split, ...]:
    """`split` under each of `SHIFTS`. Photos are changed when they are taken; none is kept here.

    Each has keys of its own, so what frozen stages give for it is kept like that of any other photo. Where `split` has
    no keys the names decide, and nothing is kept.
    """
    return tuple(
        replace(
            split,
            keys=tuple(f"{key}.shift{variant}.{REVISION}" for key in split.keys),
            identities=None,
            change=Shift(variant),
        )
        for variant in range(len(SHIFTS))
    )


def _numbers(text: str) -> Numbers:
    """Uniform in 0..1, decided by `text`."""
    digest = hashlib.blake2b(text.encode(), digest_size=4 * _NUMBERS).digest()
    return (np.frombuffer(digest, dtype="<u4") >> 8) / 2**24


def _either_way(number: Numbers) -> Numbers:
    """From 0..1 to -1..1."""
    return 2 * number - 1
