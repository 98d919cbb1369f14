"""The skins of fresh and rotten fruit: colour, gloss and relief at every point of a surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, pi, sqrt

import numpy as np

from .solids import Floats, Solid, project, unit

Colour = tuple[int, int, int]


@dataclass
class Skin:
    """At n points: albedo (n, 3) in 0..1 as a camera would store it, gloss and relief (n,)."""

    albedo: Floats
    gloss: Floats
    relief: Floats

    @staticmethod
    def plain(n: int, colour: Colour, gloss: float) -> Skin:
        albedo = np.full((n, 3), np.array(colour, np.float32) / 255, np.float32)
        return Skin(albedo, np.full(n, gloss, np.float32), np.zeros(n, np.float32))

    def paint(self, where: Floats, colour: Colour) -> None:
        """Lays a colour over the skin, as strongly as `where` (n,) in 0..1 says."""
        self.albedo += where[:, None] * (np.array(colour, np.float32) / 255 - self.albedo)


Marking = Callable[[Skin, Floats], None]


def waves(points: Floats, frequency: float, rng: np.random.Generator, count: int = 7) -> Floats:
    """Smooth noise of mean 0 and variance about 1 over points (3, n): plane waves of random direction."""
    directions = rng.standard_normal((count, 3))
    directions /= np.sqrt((directions**2).sum(axis=1, keepdims=True))
    directions *= frequency * np.exp(0.3 * rng.standard_normal((count, 1)))
    phases = rng.uniform(0, 2 * pi, (count, 1)).astype(np.float32)
    values = np.cos(project(directions.astype(np.float32), points) + phases)
    result: Floats = values.sum(axis=0) * np.float32(sqrt(2 / count))
    return result


def step(values: Floats, low: float, high: float) -> Floats:
    """0 below `low`, 1 above `high`, smooth between; the other way round where `low` is larger."""
    t: Floats = ((values - low) / (high - low)).clip(0, 1)
    smooth: Floats = t * t * (3 - 2 * t)
    return smooth


def stretched(points: Floats, x: float, y: float) -> Floats:
    return points * np.array([[x], [y], [1]], np.float32)


def jitter(colour: Colour, rng: np.random.Generator, spread: float = 14) -> Colour:
    r, g, b = np.clip(np.array(colour) + rng.normal(0, spread, 3), 0, 255)
    return (int(r), int(g), int(b))


def pick(rng: np.random.Generator, options: list[Colour]) -> Colour:
    return options[int(rng.integers(len(options)))]


def apple_skin(points: Floats, solid: Solid, rng: np.random.Generator) -> Skin:
    ground = jitter(pick(rng, [(190, 200, 76), (214, 202, 90), (226, 194, 96)]), rng, 10)
    blush = jitter(pick(rng, [(176, 26, 32), (196, 44, 40), (142, 18, 34), (206, 74, 56)]), rng, 10)
    redness = float(rng.choice([-2.5, 0.1, 1.2, 2.4], p=[0.25, 0.25, 0.25, 0.25]))
    skin = Skin.plain(points.shape[1], ground, 0.8)
    streaks = waves(stretched(points, 1, 0.1), 24, rng, 10)
    skin.paint(step(redness + 0.75 * waves(points, 1.5, rng) + 0.35 * streaks, -0.9, 1.1) * 0.96, blush)
    skin.paint(step(waves(points, 34, rng, 9), 1.9, 2.5) * 0.4, (238, 222, 170))
    near_stem = np.exp(-((np.sqrt(points[0] ** 2 + points[2] ** 2) / rng.uniform(0.14, 0.3)) ** 2)) * (points[1] > 0)
    skin.paint(near_stem * rng.uniform(0.3, 0.8), (150, 132, 70))
    skin.relief += 0.004 * waves(points, 5, rng)
    stem = step(solid.stem(points), 0.03, 0.01)
    skin.paint(stem, jitter((92, 64, 38), rng))
    skin.gloss *= 1 - stem
    return skin


def orange_skin(points: Floats, solid: Solid, rng: np.random.Generator) -> Skin:
    base = jitter(pick(rng, [(240, 138, 22), (246, 156, 36), (232, 120, 20), (244, 168, 54)]), rng, 9)
    skin = Skin.plain(points.shape[1], base, 0.55)
    skin.albedo *= 1 + 0.05 * waves(points, 2.5, rng)[:, None]
    if rng.random() < 0.3:
        skin.paint(step(waves(points, 1.5, rng) + 0.6 * points[1], 0.4, 2.2) * rng.uniform(0.3, 0.8), (136, 150, 50))
    pores = waves(points, 46, rng, 16)
    skin.albedo *= 1 - 0.07 * step(pores, 0.4, 1.8)[:, None]
    skin.relief += 0.0045 * pores
    from_axis = np.sqrt(points[0] ** 2 + points[2] ** 2)
    calyx = from_axis * (1 + 0.25 * np.cos(5 * np.arctan2(points[2], points[0])))
    size = rng.uniform(0.09, 0.15)
    skin.paint(step(calyx, size, size * 0.6) * (points[1] > 0), jitter((96, 104, 48), rng))
    skin.paint(step(from_axis, 0.1, 0.03) * (points[1] < 0) * 0.8, (120, 70, 24))
    return skin


def banana_skin(points: Floats, solid: Solid, rng: np.random.Generator) -> Skin:
    base = jitter(pick(rng, [(244, 208, 60), (240, 198, 48), (248, 218, 92)]), rng, 8)
    skin = Skin.plain(points.shape[1], base, 0.3)
    along = solid.along(points)
    skin.albedo *= 1 + 0.03 * waves(points, 3, rng)[:, None]
    skin.paint(step(np.abs(along + 0.1), 0.6, 1.05) * rng.uniform(0, 0.8), (150, 172, 58))
    skin.paint(step(along, 0.88, 0.98) * 0.5, (146, 128, 60))
    skin.paint(step(along, -0.965, -0.995), (58, 42, 28))
    skin.paint(step(along, 0.985, 0.998), (88, 66, 40))
    skin.paint(step(waves(stretched(points, 0.25, 1), 17, rng), 1.5, 2.4) * 0.22, (176, 134, 50))
    return skin


def harmless(solid: Solid, towards: Floats, kind: str, rng: np.random.Generator) -> Marking:
    """What fresh and rotten fruit alike may have: a sticker, a dry scratch, freckles."""
    sticker = solid.spot(towards, 0.5, rng) if rng.random() < 0.16 else None
    scratch = solid.spot(towards, 0.5, rng) if rng.random() < 0.25 else None
    freckled = rng.random() < (0.45 if kind == "banana" else 0.15)
    seed = int(rng.integers(2**32))

    def mark(skin: Skin, points: Floats) -> None:
        own = np.random.default_rng(seed)
        if freckled:
            limit = own.uniform(1.35, 2.1)
            spots = waves(points, own.uniform(14, 30), own, 9)
            skin.paint(step(spots, limit, limit + 0.5) * 0.75, jitter((112, 70, 34), own))
        if scratch is not None:
            offset = points - scratch[:, None]
            line = np.abs(project(_direction(own)[None], offset)[0] + 0.05 * waves(points, 4, own, 4))
            reach = np.sqrt((offset**2).sum(axis=0))
            skin.paint(step(line, 0.035, 0.012) * step(reach, own.uniform(0.2, 0.55), 0.1) * 0.8, (158, 116, 68))
        if sticker is not None:
            offset = points - sticker[:, None]
            reach = np.sqrt((offset**2).sum(axis=0))
            skin.paint(step(reach, 0.2, 0.18), jitter((236, 236, 230), own))
            disc = pick(own, [(24, 88, 168), (200, 30, 38), (30, 128, 60), (28, 28, 34)])
            skin.paint(step(reach, 0.165, 0.15), disc)
            bar = step(np.abs(project(_direction(own)[None], offset)[0]), 0.05, 0.035)
            skin.paint(bar * step(reach, 0.13, 0.12), (240, 226, 90))

    return mark


_ROTTEN_SHADES: dict[str, list[Colour]] = {
    "apple": [(112, 70, 36), (146, 98, 52), (72, 42, 26)],
    "orange": [(120, 74, 28), (150, 96, 40), (96, 70, 44)],
    "banana": [(62, 42, 26), (38, 28, 22), (98, 66, 32)],
}
_MOULDS: list[Colour] = [(96, 122, 104), (120, 138, 92), (104, 118, 130)]
_MOULDY = {"apple": 0.3, "orange": 0.6, "banana": 0.06}


def rot(solid: Solid, towards: Floats, kind: str, rng: np.random.Generator) -> Marking:
    """Brown, black or mouldy places, from hardly any to most of the fruit, on a skin that may be dull all over."""
    severity = rng.beta(1.4, 1.2)
    thin = 0.6 if kind == "banana" else 1.0
    places = [
        # The first faces the camera: no one can tell what does not show.
        (solid.spot(towards, 0.55 if place else 0.3, rng), thin * (0.28 + 0.5 * severity) * exp(rng.normal(0, 0.25)))
        for place in range(1 + int(rng.poisson(1.6)))
    ]
    decay = float(np.clip(severity * rng.uniform(-0.1, 0.9), 0, 0.75))
    shades = _ROTTEN_SHADES[kind]
    seed = int(rng.integers(2**32))

    def mark(skin: Skin, points: Floats) -> None:
        own = np.random.default_rng(seed)
        skin.paint(0.7 * decay * step(waves(points, 2, own), -2, 1), pick(own, shades))
        skin.gloss *= 1 - decay
        skin.relief += decay * 0.03 * waves(stretched(points, 1, 0.4), 12, own)
        for centre, radius in places:
            offset = (points - centre[:, None]) / np.float32(radius)
            reach = np.sqrt((offset**2).sum(axis=0))
            reach = reach * (1 + 0.2 * waves(offset, 2.2, own) + 0.06 * waves(offset, 9, own))
            edge = own.uniform(0.1, 0.4)
            inside = step(reach, 1 + edge / 2, 1 - edge)
            skin.paint(inside * own.uniform(0.75, 1), jitter(pick(own, shades), own, 8))
            skin.paint(inside * step(np.cos(reach * own.uniform(9, 16)), 0.3, 1) * 0.25, (50, 34, 22))
            skin.gloss *= 1 - 0.7 * inside
            skin.relief -= 0.05 * radius * inside * (1 + 0.25 * waves(points, 14, own))
            if own.random() < _MOULDY[kind]:
                fuzz = step(reach + 0.15 * waves(points, 16, own), 0.85, 0.45)
                skin.paint(fuzz * 0.9, jitter((218, 220, 208), own, 6))
                core = step(reach + 0.2 * waves(points, 11, own), 0.6, 0.3)
                skin.paint(core * own.uniform(0.5, 0.95), jitter(pick(own, _MOULDS), own))
                skin.relief += fuzz * (0.03 + 0.004 * waves(points, 40, own))
                skin.gloss *= 1 - fuzz

    return mark


def _direction(rng: np.random.Generator) -> Floats:
    return unit(rng.standard_normal(3, np.float32))
