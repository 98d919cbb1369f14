"""What surrounds drawn fruit: the light, the ground it lies on, what stands before it. Colours are linear (gamma 2)."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .skins import Colour, jitter, pick, step
from .solids import Floats, unit

_TABLES: list[Colour] = [(236, 234, 230), (206, 178, 138), (128, 92, 60), (90, 96, 104), (188, 196, 200), (62, 54, 48)]
_CLOTHS: list[Colour] = [(180, 40, 44), (58, 92, 150), (84, 128, 80), (230, 226, 214), (214, 190, 90), (120, 90, 60)]
_GROUNDS: list[Colour] = [(70, 92, 44), (110, 84, 56), (150, 140, 120), (50, 44, 40)]
_LEAVES: list[Colour] = [(60, 104, 40), (88, 128, 52), (44, 84, 44), (130, 140, 60)]
_HANDS: list[Colour] = [(224, 172, 140), (196, 140, 104), (140, 92, 64), (92, 60, 44), (240, 196, 170)]


@dataclass(frozen=True)
class Light:
    """One light from `direction` (3,), hard (1) or soft (0), and what comes from everywhere; colours (3,)."""

    direction: Floats
    key: Floats
    ambient: Floats
    hardness: float

    @staticmethod
    def of(rng: np.random.Generator) -> Light:
        direction = np.array([rng.normal(0, 0.7), rng.normal(0.5, 0.6), rng.uniform(0.35, 1.3)], np.float32)
        ambient, warm = rng.uniform(0.18, 0.6), rng.normal(0, 0.1)
        key = np.array([1 + warm, 1, 1 - warm], np.float32) * (1.25 - ambient)
        sky = np.array([1 - warm / 2, 1, 1 + warm / 2], np.float32) * ambient
        return Light(unit(direction), key, sky, rng.uniform(0.2, 1))


def linear(colour: Colour) -> Floats:
    return _rgb(colour) ** 2


def _rgb(colour: Colour) -> Floats:
    return np.array(colour, np.float32) / np.float32(255)


def background(rng: np.random.Generator, size: int) -> Floats:
    """An empty scene (size, size, 3)."""
    y, x = _grid(size)
    turn = rng.uniform(0, pi)
    u, v = x * cos(turn) + y * sin(turn), y * cos(turn) - x * sin(turn)
    style = rng.choice(["plain", "wood", "cloth", "ground", "clutter"], p=[0.3, 0.2, 0.15, 0.15, 0.2])
    canvas = np.ones((size, size, 1), np.float32) * _rgb(jitter(pick(rng, _TABLES), rng, 12))
    if style == "plain":
        canvas *= (1 + rng.uniform(-0.3, 0.3) * (u - 0.5))[:, :, None]
    elif style == "wood":
        grain, planks = _clouds(rng, size, 4), np.floor(v * rng.uniform(3, 7))
        rings = np.sin(v * rng.uniform(30, 70) + 7 * grain + planks * 2.1)
        canvas *= (0.76 + 0.08 * rings + 0.1 * np.sin(planks * 7.3) + 0.2 * grain)[:, :, None]
    elif style == "cloth":
        n = rng.uniform(4, 14)
        checks = step(np.sin(u * n * pi), -0.1, 0.1) + step(np.sin(v * n * pi), -0.1, 0.1)
        other = _rgb(jitter(pick(rng, _CLOTHS), rng, 12))
        canvas += (0.5 * checks * rng.uniform(0.4, 1))[:, :, None] * (other - canvas)
        canvas *= (0.9 + 0.2 * _clouds(rng, size, 3))[:, :, None]
    elif style == "ground":
        spots = step(_clouds(rng, size, int(rng.integers(6, 24)), 4), 0.4, 0.6)
        canvas += spots[:, :, None] * (_rgb(jitter(pick(rng, _GROUNDS), rng)) - canvas)
        canvas *= (0.8 + 0.4 * _clouds(rng, size, 30, 2))[:, :, None]
    else:
        canvas = _clutter(rng, size)
    scene: Floats = canvas.clip(0.01, 1) ** 2 * np.float32(rng.uniform(0.6, 1.05))
    return scene


def _grid(size: int) -> Floats:
    grid: Floats = np.mgrid[0:size, 0:size].astype(np.float32) / np.float32(size)
    return grid


def _clouds(rng: np.random.Generator, size: int, cells: int, octaves: int = 3) -> Floats:
    """Noise (size, size) in about 0..1 whose largest features are `size / cells` pixels."""
    total, weight = np.zeros((size, size), np.float32), 0.0
    for octave in range(octaves):
        n = min(cells * 2**octave + 2, size)
        grid = Image.fromarray(rng.random((n, n), np.float32))
        total += np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC)) * 0.55**octave
        weight += 0.55**octave
    return total / np.float32(weight)


def _clutter(rng: np.random.Generator, size: int) -> Floats:
    """Round things of all colours, out of focus, in 0..1 as a camera would store them."""
    picture = Image.new("RGB", (size, size), pick(rng, _TABLES))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(4, 12))):
        colour = jitter(pick(rng, _CLOTHS + _TABLES), rng, 25)
        (left, top), (wide, high) = rng.uniform(-0.3, 1, 2) * size, rng.uniform(0.12, 0.6, 2) * size
        draw.ellipse((left, top, left + wide, top + high), colour)
        lighter = tuple(min(255, int(1.15 * c)) for c in colour)
        draw.ellipse((left + 0.15 * wide, top + 0.1 * high, left + 0.7 * wide, top + 0.6 * high), lighter)
    blurred = picture.filter(ImageFilter.GaussianBlur(size * rng.uniform(0.008, 0.05)))
    return np.asarray(blurred, np.float32) / np.float32(255)


def cast_shadow(canvas: Floats, cover: Floats, light: Light, height: float) -> None:
    """Darkens the canvas where something that covers `cover` (size, size), `height` pixels high, keeps light away."""
    shift = -light.direction[:2] / max(float(light.direction[2]), 0.5) * height * 0.3
    picture = Image.fromarray((cover * 255).astype(np.uint8))
    moved = picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, -float(shift[0]), 0, 1, float(shift[1])))
    soft = moved.filter(ImageFilter.GaussianBlur(height * (0.22 - 0.16 * light.hardness)))
    near = picture.filter(ImageFilter.GaussianBlur(height * 0.07))
    dark = np.maximum(0.62 * np.asarray(soft, np.float32), 0.45 * np.asarray(near, np.float32)) / np.float32(255)
    canvas *= 1 - dark[:, :, None]


def obstacle(canvas: Floats, rng: np.random.Generator, light: Light) -> None:
    """A leaf, fingers or something out of focus that reaches into the picture from an edge."""
    (_leaf, _fingers, _blur_of_something)[int(rng.integers(3))](canvas, rng, light)


def _from_an_edge(rng: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    """Coordinates (along, across), in parts of the picture, of something that reaches in from an edge."""
    y, x = _grid(size)
    turn = rng.uniform(0, 2 * pi)
    aim = turn + pi + rng.normal(0, 0.5)
    dx, dy = x - (0.5 + 0.62 * cos(turn)), y - (0.5 + 0.62 * sin(turn))
    return dx * cos(aim) + dy * sin(aim), dy * cos(aim) - dx * sin(aim)


def _lay_over(canvas: Floats, inside: Floats, colour: Floats, light: Light) -> None:
    cast_shadow(canvas, inside, light, len(canvas) * 0.12)
    canvas += inside[:, :, None] * (colour - canvas)


def _leaf(canvas: Floats, rng: np.random.Generator, light: Light) -> None:
    size = len(canvas)
    along, across = _from_an_edge(rng, size)
    length, width = rng.uniform(0.3, 0.6), rng.uniform(0.08, 0.17)
    t = (along / length).clip(0, 1)
    across = across + 0.1 * rng.normal() * np.sin(3 * t)
    inside = step(width * np.sin(pi * t**0.8) * (along > 0) - np.abs(across), 0, 1.5 / size)
    veins = step(np.abs(across), 0.008, 0.002) + 0.4 * step(np.cos((along - np.abs(across)) * 90), 0.8, 1)
    tone = (0.75 + 0.14 * np.sign(across) + 0.35 * veins)[:, :, None]
    _lay_over(
        canvas, inside, linear(jitter(pick(rng, _LEAVES), rng, 10)) * tone * (0.6 * light.key + light.ambient), light
    )


def _fingers(canvas: Floats, rng: np.random.Generator, light: Light) -> None:
    size = len(canvas)
    along, across = _from_an_edge(rng, size)
    colour = linear(jitter(pick(rng, _HANDS), rng, 6)) * (0.7 * light.key + light.ambient)
    length, radius = rng.uniform(0.24, 0.42), rng.uniform(0.05, 0.075)
    for finger in range(int(rng.integers(1, 4))):
        side, reach = across - finger * radius * 2.05, length * (1 - 0.12 * abs(finger - 1))
        off = np.hypot(side, np.maximum(along - reach, 0))
        inside = step(off, radius + 0.75 / size, radius - 0.75 / size)
        creases = 1 - 0.2 * step(np.abs(along - reach * 0.45), 0.012, 0.004)
        nail = 0.25 * step(np.hypot(side / 0.55, along - reach - radius * 0.2), radius * 0.75, radius * 0.65)
        tone = (0.35 + 0.65 * np.sqrt((1 - (off / radius) ** 2).clip(0, 1))) * creases + nail
        _lay_over(canvas, inside, colour * tone[:, :, None], light)


def _blur_of_something(canvas: Floats, rng: np.random.Generator, light: Light) -> None:
    along, across = _from_an_edge(rng, len(canvas))
    reach, radius, soft = rng.uniform(0.0, 0.2), rng.uniform(0.12, 0.24), rng.uniform(0.02, 0.25)
    colour = linear(jitter(pick(rng, _CLOTHS + _TABLES), rng, 25)) * (0.5 * light.key + light.ambient)
    canvas += step(np.hypot(across, along - reach) / radius, 1 + soft, 1 - soft)[:, :, None] * (colour - canvas)
