"""Pictures of fresh and rotten fruit, drawn: stand-ins for photos where there are none."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, exp, pi, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from search_spaces import InputError

from .scenery import Light, background, cast_shadow, obstacle
from .skins import Marking, Skin, apple_skin, banana_skin, harmless, orange_skin, rot, step
from .solids import Floats, Solid, Surface, banana_solid, project, round_solid, trace, turned, unit

_KINDS = {"apples": "apple", "banana": "banana", "oranges": "orange"}
LABELS = tuple(state + kind for state in ("fresh", "rotten") for kind in _KINDS)

_SKINS = {"apple": apple_skin, "banana": banana_skin, "orange": orange_skin}


@dataclass(frozen=True)
class Fruit:
    """One piece of fruit, whatever the view: its shape, the pose it is shown in (pitch, yaw, roll), its skin."""

    kind: str
    solid: Solid
    pose: tuple[float, float, float]
    skin_seed: int
    markings: tuple[Marking, ...]


def grow(label: str, rng: np.random.Generator) -> Fruit:
    """A piece of fruit of one of the `LABELS`.

    Raises:
        InputError: there are no drawings of that label.
    """
    if label not in LABELS:
        raise InputError(f"no drawings of {label!r}: there are {', '.join(LABELS)}")
    rotten = label.startswith("rotten")
    kind = _KINDS[label.removeprefix("rotten" if rotten else "fresh")]
    if kind == "banana":
        solid = banana_solid(
            half_angle=rng.uniform(0.55, 0.95), width=rng.uniform(0.2, 0.27), turn=rng.uniform(0, 2 * pi)
        )
        pose = (rng.uniform(-0.5, 0.5), rng.normal(0, 0.5) + pi * int(rng.integers(2)), rng.uniform(0, 2 * pi))
    elif kind == "orange":
        solid = round_solid(dimple=rng.uniform(0.02, 0.1), height=rng.uniform(0.88, 0.98), taper=rng.normal(0, 0.02))
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
    rotting = (rot(solid, towards, kind, rng),) if rotten else ()
    return Fruit(kind, solid, pose, int(rng.integers(2**32)), (*rotting, harmless(solid, towards, kind, rng)))


def render(label: str, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A picture (size, size, 3) of one of the `LABELS`; the same state of `rng` gives the same picture."""
    return photograph(grow(label, rng), rng, size)


def photograph(fruit: Fruit, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A view (size, size, 3) of `fruit`: place, light, company and camera come from `rng`."""
    light = Light.of(rng)
    canvas = background(rng, size)
    pitch, yaw, roll = fruit.pose
    scale = size * rng.uniform(0.3, 0.47) * (1.2 if fruit.kind == "banana" else 1)
    x, y = size * rng.uniform(0.38, 0.62), size * rng.uniform(0.38, 0.62)
    if rng.random() < 0.25:
        # A second piece of the same sort, seen from another side, half out of the picture.
        away, other_side = rng.uniform(0, 2 * pi), turned(pitch, yaw + rng.normal(), rng.uniform(0, 2 * pi))
        beside = (x + 1.5 * scale * cos(away), y + 1.5 * scale * sin(away))
        _place(canvas, fruit, other_side, beside, scale * 0.95, light)
    rotation = turned(pitch + rng.normal(0, 0.18), yaw + rng.normal(0, 0.18), roll + rng.normal(0, 0.5))
    _place(canvas, fruit, rotation, (x, y), scale, light)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.55, 0.35, 0.1]))):
        obstacle(canvas, rng, light)
    return _camera(canvas, rng)


def _place(
    canvas: Floats, fruit: Fruit, rotation: Floats, centre: tuple[float, float], scale: float, light: Light
) -> None:
    """Draws fruit and its shadow over the canvas."""
    surface = trace(fruit.solid, rotation, centre, scale, len(canvas))
    skin = _SKINS[fruit.kind](surface.points, fruit.solid, np.random.default_rng(fruit.skin_seed))
    for marking in fruit.markings:
        marking(skin, surface.points)
    place = (surface.rows, surface.columns)
    cover, relief = np.zeros((2, *canvas.shape[:2]), np.float32)
    cover[place], relief[place] = surface.coverage, skin.relief
    cast_shadow(canvas, cover, light, scale)
    down, right = np.gradient(relief * scale)
    slope = np.stack([right[place], -down[place], np.zeros_like(skin.relief)])
    colour = _shade(surface, skin, unit(surface.normals - slope.clip(-1, 1)), light)
    canvas[place] += surface.coverage[:, None] * (colour - canvas[place])


def _shade(surface: Surface, skin: Skin, normals: Floats, light: Light) -> Floats:
    """Light that each point sends to the camera (n, 3): diffuse, wrapped a little round the terminator, and shine."""
    facing = project(light.direction[None], normals)[0]
    diffuse = ((facing + 0.25) / 1.25).clip(0, 1)[:, None] * light.key
    sky = (0.65 + 0.35 * normals[1])[:, None] * light.ambient
    half = unit(light.direction + np.array([0, 0, 1], np.float32))
    sheen = project(half[None], normals)[0].clip(0, 1) ** 2
    sheen = (sheen**2) ** 2
    shine = skin.gloss * (0.35 * light.hardness * (sheen**2) ** 2 + 0.08 * sheen)
    rim = 0.06 * skin.gloss * (1 - normals[2].clip(0, 1)) ** 3
    lit = skin.albedo.clip(0, 1) ** 2 * (diffuse + sky) + shine[:, None] * light.key + rim[:, None] * light.ambient
    result: Floats = lit * (0.45 + 0.55 * surface.openness)[:, None]
    return result


def _camera(canvas: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shadows of things outside the picture, vignette, exposure, colour cast, grain, blur."""
    size = len(canvas)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / np.float32(size) - np.float32(0.5)
    if rng.random() < 0.3:
        turn, offset, soft = rng.uniform(0, 2 * pi), rng.uniform(-0.3, 0.3), rng.uniform(0.01, 0.1)
        line = x * cos(turn) + y * sin(turn) - offset
        if rng.random() < 0.5:
            line = np.cos(line * rng.uniform(12, 40)) * np.float32(0.1)
        canvas = canvas * (1 - rng.uniform(0.3, 0.7) * step(line, -soft, soft))[:, :, None]
    vignette = (1 - rng.uniform(0, 0.9) * (x**2 + y**2))[:, :, None]
    exposed = canvas * vignette * np.exp(rng.normal(0, 0.1, 3)).astype(np.float32) * exp(rng.normal(0.15, 0.22))
    picture = np.sqrt((1.2 * exposed / (1 + 0.25 * exposed)).clip(0, 1))
    grey = (picture[:, :, :1] + picture[:, :, 1:2] + picture[:, :, 2:]) / 3
    picture = grey + rng.uniform(0.6, 1.15) * (picture - grey)
    picture += rng.uniform(0, 0.14) * (rng.random((size, size, 3), np.float32) - np.float32(0.5))
    drawn = Image.fromarray((picture.clip(0, 1) * 255 + 0.5).astype(np.uint8))
    blur = rng.exponential(0.5) * size / 160 if rng.random() < 0.6 else 0.0
    return np.asarray(drawn.filter(ImageFilter.GaussianBlur(blur)) if blur > 0.2 else drawn)
