"""Pictures of fresh and rotten fruit, drawn: stand-ins for photos where there are none."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, exp, pi, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from search_spaces import InputError

from .skins import Colour, Marking, Skin, apple_skin, banana_skin, harmless, jitter, orange_skin, pick, rot, step
from .solids import Floats, Solid, Surface, banana_solid, project, round_solid, trace, turned, unit

_KINDS = {"apples": "apple", "banana": "banana", "oranges": "orange"}
LABELS = tuple(state + kind for state in ("fresh", "rotten") for kind in _KINDS)

_SKINS = {"apple": apple_skin, "banana": banana_skin, "orange": orange_skin}


@dataclass(frozen=True)
class Fruit:
    """One piece of fruit, whatever the view: its shape, the pose it is shown in, its skin."""

    kind: str
    solid: Solid
    pose: tuple[float, float, float]
    skin_seed: int
    markings: tuple[Marking, ...]


def grow(label: str, rng: np.random.Generator) -> Fruit:
    """A piece of fruit of one of the `LABELS`."""
    if label not in LABELS:
        raise InputError(f"no drawing of {label!r}: there is {', '.join(LABELS)}")
    rotten = label.startswith("rotten")
    kind = _KINDS[label.removeprefix("rotten" if rotten else "fresh")]
    if kind == "banana":
        solid = banana_solid(
            half_angle=rng.uniform(0.55, 0.95),
            width=rng.uniform(0.2, 0.27),
            turn=rng.uniform(0, 6),
        )
        pose = (rng.uniform(-0.5, 0.5), rng.normal(0, 0.5) + pi * int(rng.integers(2)), rng.uniform(0, 2 * pi))
    elif kind == "orange":
        solid = round_solid(
            dimple=rng.uniform(0.02, 0.1),
            height=rng.uniform(0.88, 0.98),
            taper=rng.uniform(-0.03, 0.04),
            lobes=0,
            stem=0,
            lean=0,
        )
        pose = (rng.normal(0.2, 0.7), rng.uniform(0, 2 * pi), rng.uniform(0, 2 * pi))
    else:
        solid = round_solid(
            dimple=rng.uniform(0.32, 0.42),
            height=rng.uniform(0.78, 0.95),
            taper=rng.uniform(0.06, 0.2),
            lobes=rng.uniform(0.02, 0.1),
            stem=rng.uniform(0.12, 0.4),
            lean=rng.normal(0, 0.5),
        )
        pose = (rng.normal(0.4, 0.4), rng.uniform(0, 2 * pi), rng.normal(0, 0.5))
    towards = turned(*pose)[2]
    markings = [harmless(solid, towards, kind, rng)]
    if rotten:
        markings.insert(0, rot(solid, towards, kind, rng))
    return Fruit(kind, solid, pose, int(rng.integers(2**32)), tuple(markings))


def render(label: str, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A picture (size, size, 3) of one of the `LABELS`; the same state of `rng` gives the same picture."""
    return photograph(grow(label, rng), rng, size)


def photograph(fruit: Fruit, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A view of `fruit`: place, light, company and camera come from `rng`."""
    light = _Light.of(rng)
    canvas = _background(rng, size)
    pitch, yaw, roll = fruit.pose
    scale = size * rng.uniform(0.3, 0.47) * (1.2 if fruit.kind == "banana" else 1)
    centre = (size * rng.uniform(0.38, 0.62), size * rng.uniform(0.38, 0.62))
    rotation = turned(pitch + rng.normal(0, 0.22), yaw + rng.normal(0, 0.22), roll + rng.normal(0, 0.5))
    if rng.random() < 0.25:
        away = rng.uniform(0, 2 * pi)
        beside = (centre[0] + 1.5 * scale * cos(away), centre[1] + 1.5 * scale * sin(away))
        _place(
            canvas, fruit, turned(pitch, yaw + rng.normal(0, 1.0), rng.uniform(0, 2 * pi)), beside, scale * 0.95, light
        )
    _place(canvas, fruit, rotation, centre, scale, light)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.5, 0.35, 0.15]))):
        (_leaf, _finger, _blob)[int(rng.integers(3))](canvas, rng, light)
    return _camera(canvas, rng)


@dataclass(frozen=True)
class _Light:
    """Where the light comes from and how hard it is; colours are linear."""

    direction: Floats
    key: Floats
    ambient: Floats
    hardness: float

    @staticmethod
    def of(rng: np.random.Generator) -> _Light:
        direction = np.array([rng.normal(0, 0.7), rng.normal(0.5, 0.6), rng.uniform(0.35, 1.3)])
        ambient = rng.uniform(0.18, 0.6)
        warm = rng.normal(0, 0.1)
        tint = np.array([1 + warm, 1, 1 - warm])
        return _Light(
            unit(direction.astype(np.float32)),
            (tint * (1.25 - ambient)).astype(np.float32),
            (ambient * np.array([1 - warm / 2, 1, 1 + warm / 2])).astype(np.float32),
            rng.uniform(0.2, 1),
        )


def _linear(colour: Colour | Floats) -> Floats:
    values = np.asarray(colour, np.float32)
    return (values / 255 if isinstance(colour, tuple) else values) ** 2


def _place(
    canvas: Floats, fruit: Fruit, rotation: Floats, centre: tuple[float, float], scale: float, light: _Light
) -> None:
    """Draws fruit and its shadow over the canvas."""
    size = len(canvas)
    surface = trace(fruit.solid, rotation, centre, scale, size)
    skin = _SKINS[fruit.kind](surface.points, fruit.solid, np.random.default_rng(fruit.skin_seed))
    for marking in fruit.markings:
        marking(skin, surface.points)
    cover = np.zeros((size, size), np.float32)
    cover[surface.rows, surface.columns] = surface.coverage
    _cast_shadow(canvas, cover, light, scale)
    colour = _shade(surface, skin, light, size, scale)
    under = canvas[surface.rows, surface.columns]
    canvas[surface.rows, surface.columns] = under + surface.coverage[:, None] * (colour - under)


def _shade(surface: Surface, skin: Skin, light: _Light, size: int, scale: float) -> Floats:
    relief = np.zeros((size, size), np.float32)
    relief[surface.rows, surface.columns] = skin.relief
    down, right = np.gradient(relief * scale)
    slope = np.stack([right, -down, np.zeros_like(down)], axis=-1)[surface.rows, surface.columns]
    normals = unit(surface.normals - slope.clip(-1, 1).T)
    facing = project(light.direction[None], normals)[0]
    wrap = 0.25
    diffuse = np.clip((facing + wrap) / (1 + wrap), 0, 1)[:, None] * light.key
    sky = (0.65 + 0.35 * normals[1])[:, None] * light.ambient
    half = light.direction + np.array([0, 0, 1], np.float32)
    shine = project(unit(half)[None], normals)[0].clip(0, 1)
    sheen = ((shine**2) ** 2) ** 2
    highlight = (sheen**2) ** 2
    gloss = skin.gloss * (0.35 * highlight * light.hardness + 0.08 * sheen)
    rim = 0.06 * skin.gloss * (1 - normals[2].clip(0, 1)) ** 3
    lit = (
        _linear(skin.albedo.clip(0, 1)) * (diffuse + sky) + (gloss[:, None] * light.key) + rim[:, None] * light.ambient
    )
    result: Floats = lit * (0.45 + 0.55 * surface.openness[:, None])
    return result


def _cast_shadow(canvas: Floats, cover: Floats, light: _Light, scale: float) -> None:
    size = len(cover)
    shift = -light.direction[:2] / light.direction[2].clip(0.5) * scale * 0.3
    picture = Image.fromarray((cover * 255).astype(np.uint8))
    moved = picture.transform((size, size), Image.Transform.AFFINE, (1, 0, -float(shift[0]), 0, 1, float(shift[1])))
    soft = moved.filter(ImageFilter.GaussianBlur(scale * (0.22 - 0.16 * light.hardness)))
    near = picture.filter(ImageFilter.GaussianBlur(scale * 0.07))
    dark = np.maximum(0.62 * np.asarray(soft, np.float32), 0.45 * np.asarray(near, np.float32)) / 255
    canvas *= 1 - dark[:, :, None]


def _clouds(rng: np.random.Generator, size: int, cells: int, octaves: int = 3) -> Floats:
    """Noise (size, size) in about 0..1 whose largest features are `size / cells` pixels."""
    total = np.zeros((size, size), np.float32)
    weight = 0.0
    for octave in range(octaves):
        n = min(cells * 2**octave + 2, size)
        grid = Image.fromarray(rng.random((n, n), np.float32))
        total += np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC)) * 0.55**octave
        weight += 0.55**octave
    return total / np.float32(weight)


_TABLES: list[Colour] = [(236, 234, 230), (206, 178, 138), (128, 92, 60), (90, 96, 104), (188, 196, 200), (62, 54, 48)]
_CLOTHS: list[Colour] = [(180, 40, 44), (58, 92, 150), (84, 128, 80), (230, 226, 214), (214, 190, 90), (120, 90, 60)]


def _background(rng: np.random.Generator, size: int) -> Floats:
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    turn = rng.uniform(0, np.pi)
    u, v = x * cos(turn) + y * sin(turn), -x * sin(turn) + y * cos(turn)
    style = rng.choice(["plain", "wood", "cloth", "ground", "clutter"], p=[0.3, 0.2, 0.15, 0.15, 0.2])
    base = np.asarray(jitter(pick(rng, _TABLES), rng, 12), np.float32) / 255
    canvas = np.ones((size, size, 1), np.float32) * base
    if style == "plain":
        canvas *= (1 + rng.uniform(-0.3, 0.3) * (u - 0.5))[:, :, None]
    elif style == "wood":
        grain = _clouds(rng, size, 4)
        planks = np.floor(v * rng.uniform(3, 7))
        rings = np.sin(v * rng.uniform(30, 70) + 7 * grain + planks * 2.1)
        canvas *= (0.86 + 0.08 * rings + 0.1 * np.sin(planks * 7.3) + 0.2 * (grain - 0.5))[:, :, None]
    elif style == "cloth":
        other = np.asarray(jitter(pick(rng, _CLOTHS), rng, 12), np.float32) / 255
        n = rng.uniform(4, 14)
        checks = step(np.sin(u * n * np.pi), -0.1, 0.1) + step(np.sin(v * n * np.pi), -0.1, 0.1)
        canvas += (0.5 * checks * rng.uniform(0.4, 1))[:, :, None] * (other - canvas)
        canvas *= (0.9 + 0.2 * _clouds(rng, size, 3))[:, :, None]
    elif style == "ground":
        other = (
            np.asarray(jitter(pick(rng, [(70, 92, 44), (110, 84, 56), (150, 140, 120), (50, 44, 40)]), rng), np.float32)
            / 255
        )
        spots = step(_clouds(rng, size, int(rng.integers(6, 24)), 4), 0.4, 0.6)
        canvas += spots[:, :, None] * (other - canvas)
        canvas *= (0.8 + 0.4 * _clouds(rng, size, 30, 2))[:, :, None]
    else:
        picture = Image.new("RGB", (size, size), pick(rng, _TABLES))
        draw = ImageDraw.Draw(picture)
        for _ in range(int(rng.integers(4, 12))):
            colour = jitter(pick(rng, _CLOTHS + _TABLES), rng, 25)
            (left, top), (wide, high) = rng.uniform(-0.3, 1, 2) * size, rng.uniform(0.12, 0.6, 2) * size
            draw.ellipse((left, top, left + wide, top + high), colour)
            lighter = tuple(min(255, int(1.15 * c)) for c in colour)
            draw.ellipse((left + 0.15 * wide, top + 0.1 * high, left + 0.7 * wide, top + 0.6 * high), lighter)
        blurred = picture.filter(ImageFilter.GaussianBlur(size * rng.uniform(0.008, 0.05)))
        canvas = np.asarray(blurred, np.float32) / 255
    return _linear(canvas.clip(0.01, 1)) * np.float32(rng.uniform(0.6, 1.05))


def _edge_place(rng: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    """Coordinates (along, across), in parts of the picture, of something that reaches in from an edge."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    turn = rng.uniform(0, 2 * np.pi)
    start = 0.5 + 0.62 * np.array([cos(turn), sin(turn)])
    aim = turn + np.pi + rng.normal(0, 0.5)
    dx, dy = x - start[0], y - start[1]
    return dx * cos(aim) + dy * sin(aim), dy * cos(aim) - dx * sin(aim)


def _cover(canvas: Floats, inside: Floats, colour: Floats, light: _Light) -> None:
    _cast_shadow(canvas, inside, light, len(canvas) * 0.12)
    canvas += inside[:, :, None] * (colour - canvas)


def _leaf(canvas: Floats, rng: np.random.Generator, light: _Light) -> None:
    size = len(canvas)
    along, across = _edge_place(rng, size)
    length, width = rng.uniform(0.3, 0.6), rng.uniform(0.08, 0.17)
    t = (along / length).clip(0, 1)
    half = width * np.sin(np.pi * t**0.8) * (along > 0)
    across = across + 0.1 * np.sin(3 * t) * rng.normal()
    inside = step(half - np.abs(across), 0, 1.5 / size)
    veins = step(np.abs(across), 0.008, 0.002) + 0.4 * step(np.cos((along - np.abs(across)) * 90), 0.8, 1)
    green = _linear(jitter(pick(rng, [(60, 104, 40), (88, 128, 52), (44, 84, 44), (130, 140, 60)]), rng, 10))
    tone = (0.75 + 0.35 * np.sign(across) * 0.4 + 0.35 * veins)[:, :, None]
    _cover(canvas, inside, green * tone * (light.key * 0.6 + light.ambient), light)


def _finger(canvas: Floats, rng: np.random.Generator, light: _Light) -> None:
    size = len(canvas)
    along, across = _edge_place(rng, size)
    tone = jitter(pick(rng, [(224, 172, 140), (196, 140, 104), (140, 92, 64), (92, 60, 44), (240, 196, 170)]), rng, 6)
    length, radius = rng.uniform(0.24, 0.42), rng.uniform(0.05, 0.075)
    for finger in range(int(rng.integers(1, 4))):
        side = across - finger * radius * 2.05
        reach = length * (1 - 0.12 * abs(finger - 1))
        d = np.hypot(side, np.maximum(along - reach, 0))
        inside = step(d, radius + 0.75 / size, radius - 0.75 / size)
        round_ = np.sqrt((1 - (d / radius) ** 2).clip(0, 1))
        creases = 1 - 0.2 * step(np.abs(along - reach * 0.45), 0.012, 0.004)
        nail = step(np.hypot(side / 0.55, along - reach - radius * 0.2), radius * 0.75, radius * 0.65) * 0.25
        shade = ((0.35 + 0.65 * round_) * creases + nail)[:, :, None]
        _cover(canvas, inside, _linear(tone) * shade * (light.key * 0.7 + light.ambient), light)


def _blob(canvas: Floats, rng: np.random.Generator, light: _Light) -> None:
    """Something out of focus before the fruit."""
    size = len(canvas)
    along, across = _edge_place(rng, size)
    reach, radius = rng.uniform(0.0, 0.2), rng.uniform(0.12, 0.24)
    soft = rng.uniform(0.02, 0.25)
    d = np.hypot(across, along - reach) / radius
    colour = _linear(jitter(pick(rng, _CLOTHS + _TABLES), rng, 25)) * (light.key * 0.5 + light.ambient)
    canvas += step(d, 1 + soft, 1 - soft)[:, :, None] * (colour - canvas)


def _camera(canvas: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shadows of things outside the picture, exposure, colour cast, blur, noise."""
    size = len(canvas)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    if rng.random() < 0.3:
        turn, offset, soft = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3), rng.uniform(0.01, 0.1)
        line = x * cos(turn) + y * sin(turn) - offset
        if rng.random() < 0.5:
            line = np.cos(line * rng.uniform(12, 40)) * 0.1
        canvas = canvas * (1 - rng.uniform(0.3, 0.7) * step(line, -soft, soft))[:, :, None]
    canvas = canvas * (1 - rng.uniform(0, 0.9) * (x**2 + y**2))[:, :, None]
    cast = np.exp(rng.normal(0, 0.1, 3)).astype(np.float32)
    canvas = canvas * cast * exp(rng.normal(0.15, 0.22))
    canvas = canvas / (1 + 0.25 * canvas) * 1.2
    picture = np.sqrt(canvas.clip(0, 1))
    grey = (picture[:, :, :1] + picture[:, :, 1:2] + picture[:, :, 2:]) / 3
    picture = grey + (picture - grey) * np.float32(rng.uniform(0.6, 1.15))
    picture += rng.uniform(0, 0.14) * (rng.random((size, size, 3), np.float32) - 0.5)
    drawn = Image.fromarray((picture.clip(0, 1) * 255 + 0.5).astype(np.uint8))
    blur = rng.exponential(0.5) if rng.random() < 0.6 else 0
    return np.asarray(drawn.filter(ImageFilter.GaussianBlur(blur * size / 160)) if blur > 0.2 else drawn)
