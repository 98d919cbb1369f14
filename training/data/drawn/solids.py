"""Shapes of fruit as signed distance functions, and the rays that find their surfaces.

Sphere tracing after J. C. Hart, "Sphere tracing: a geometric method for the antialiased ray tracing of implicit
surfaces", 1996, with parallel rays. Points and directions are float32 (3, n): right, up, to the camera.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, sin, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Distance = Callable[[Floats], Floats]

_STEPS = 24
_CAUTION = 0.9  # the functions below are no exact distances
_NEAR = 0.005
_CORNERS = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], np.float32)


@dataclass(frozen=True)
class Solid:
    """A shape of about one unit in radius; its axis is y, a banana's bow lies in the plane of x and y.

    `distance` maps points to (n,), negative inside, and so does `stem` for the stalk alone. `along` maps points to
    -1..1 from the lower end to the stem. `spot` gives a point (3,) near the surface, towards a direction up to a
    spread. All of it lies within `reach` of the origin.
    """

    reach: float
    distance: Distance
    stem: Distance
    along: Callable[[Floats], Floats]
    spot: Callable[[Floats, float, np.random.Generator], Floats]


@dataclass(frozen=True)
class Surface:
    """The visible side of a solid: its pixels (rows and columns), how much of each it covers (0..1), the points in the
    solid's own coordinates, the normals in the camera's, and how open to the light each place is (0..1)."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    coverage: Floats
    points: Floats
    normals: Floats
    openness: Floats


def round_solid(
    *, dimple: float, height: float, taper: float, lobes: float = 0, stem: float = 0, lean: float = 0
) -> Solid:
    """A spindle torus: `dimple` is how deep the poles sink, `taper` how much narrower the lower end is, `stem` how far
    the stalk stands out of the upper pole."""
    tube = 0.97 - dimple
    squeeze = tube / height
    pole = sqrt(tube**2 - dimple**2) / squeeze

    def fruit(p: Floats) -> Floats:
        x, y, z = p
        around = np.sqrt(x * x + z * z)
        if lobes:
            around = around * (1 + lobes * _chebyshev5(x / (around + 1e-6)) * (0.2 - y).clip(0, 1))
        across, up = around * (1 - taper * y) - dimple, y * squeeze
        result: Floats = np.sqrt(across * across + up * up) - tube
        return result

    def stalk(p: Floats) -> Floats:
        y = np.clip(p[1], pole - 0.1, pole + stem)
        result: Floats = np.sqrt((p[0] - lean * (y - pole)) ** 2 + (p[1] - y) ** 2 + p[2] ** 2) - 0.035
        return result

    def spot(towards: Floats, spread: float, rng: np.random.Generator) -> Floats:
        return unit(towards + spread * rng.standard_normal(3, np.float32)) * np.float32(0.93)

    if stem == 0:
        return Solid(1.1, fruit, lambda p: np.full(p.shape[1], np.inf, np.float32), lambda p: p[1], spot)
    return Solid(1.1, lambda p: np.minimum(fruit(p), stalk(p)), stalk, lambda p: p[1], spot)


def banana_solid(*, half_angle: float, width: float, turn: float) -> Solid:
    """A tube of five faces along an arc, thin at its tip and thinner at the stem."""
    bow = 1.08 / sin(half_angle)
    middle = bow * (1 + cos(half_angle)) / 2

    def angle(p: Floats) -> Floats:
        phi: Floats = np.arctan2(p[0], p[1] + middle).clip(-half_angle, half_angle)
        return phi

    def width_at(t: Floats) -> Floats:
        tip = np.clip((t + 1) / 0.4, 0, 1)
        neck = np.clip((0.97 - t) / 0.4, 0, 1)
        shape: Floats = width * (0.3 + 0.7 * np.sqrt(tip * (2 - tip))) * (0.27 + 0.73 * neck * neck * (3 - 2 * neck))
        return shape

    def distance(p: Floats) -> Floats:
        phi = angle(p)
        sine, cosine = np.sin(phi), np.cos(phi)
        dx, dy = p[0] - bow * sine, p[1] + middle - bow * cosine
        outward, forward = dx * sine + dy * cosine, dx * cosine - dy * sine
        off_axis = np.sqrt(outward**2 + p[2] ** 2) + 1e-6
        # cos(5 a + turn) of the angle a about the axis; with cos 5a = T5(cos a), sin 5a = T5(sin a).
        faces = 1 + 0.05 * (_chebyshev5(outward / off_axis) * cos(turn) - _chebyshev5(p[2] / off_axis) * sin(turn))
        result: Floats = np.sqrt(off_axis**2 + forward**2) - width_at(phi / half_angle) * faces
        return result

    def spot(towards: Floats, spread: float, rng: np.random.Generator) -> Floats:
        phi = half_angle * rng.uniform(-0.8, 0.7)
        outward, forward = (np.array(v, np.float32) for v in ((sin(phi), cos(phi), 0), (cos(phi), -sin(phi), 0)))
        aim = towards + spread * rng.standard_normal(3, np.float32)
        centre = bow * outward - np.array([0, middle, 0], np.float32)
        result: Floats = centre + unit(aim - (aim @ forward) * forward) * np.float32(width * 0.95)
        return result

    return Solid(
        1.25,
        distance,
        lambda p: np.full(p.shape[1], np.inf, np.float32),
        lambda p: angle(p) / np.float32(half_angle),
        spot,
    )


def trace(solid: Solid, rotation: Floats, centre: tuple[float, float], scale: float, size: int) -> Surface:
    """What a camera sees of a solid turned by `rotation` (3, 3), its middle at `centre` (column, row), one unit being
    `scale` pixels, in a picture of `size` pixels a side."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    right, up = (x - centre[0]) / scale, (centre[1] - y) / scale
    height = solid.reach**2 - right**2 - up**2
    rows, columns = np.nonzero(height > 0)
    near = np.sqrt(height[rows, columns])
    start = project(rotation.T, np.stack([right[rows, columns], up[rows, columns], near]))
    forward = rotation.T @ np.array([[0], [0], [-1]], np.float32)
    closest, depth = _march(solid.distance, start, forward, 2 * near)
    coverage = np.clip(1 - np.maximum(closest - _NEAR, 0) * scale, 0, 1)
    seen = coverage > 0
    points = start[:, seen] + depth[seen] * forward
    gradient = sum(corner[:, None] * solid.distance(points + 0.01 * corner[:, None]) for corner in _CORNERS)
    normals = unit(np.asarray(gradient))
    openness = np.clip(solid.distance(points + 0.16 * normals) / 0.16, 0, 1)
    return Surface(rows[seen], columns[seen], coverage[seen], points, project(rotation, normals), openness)


def _march(distance: Distance, start: Floats, forward: Floats, end: Floats) -> tuple[Floats, Floats]:
    """The smallest distance on each ray up to `end`, and how far along the ray it is."""
    closest, best = np.empty(start.shape[1], np.float32), np.empty(start.shape[1], np.float32)
    rays = np.arange(start.shape[1])
    depth, at, low = np.zeros_like(best), np.zeros_like(best), np.full_like(best, np.inf)
    for _ in range(_STEPS):
        if not len(rays):
            break
        gap = distance(start + depth * forward)
        nearer = gap < low
        low, at = np.where(nearer, gap, low), np.where(nearer, depth, at)
        depth = depth + _CAUTION * gap
        on = (gap > _NEAR) & (depth < end)
        if on.mean() < 0.7:
            done = ~on
            closest[rays[done]], best[rays[done]] = low[done], at[done]
            rays, start, depth, at, low, end = rays[on], start[:, on], depth[on], at[on], low[on], end[on]
    closest[rays], best[rays] = low, at
    return closest, best


def turned(pitch: float, yaw: float, roll: float) -> Floats:
    """Rotation that yaws about the solid's axis, then pitches its stem to the camera, then rolls in the picture."""
    (cp, sp), (cy, sy), (cr, sr) = ((cos(a), sin(a)) for a in (pitch, yaw, roll))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    rotation: Floats = (about_z @ about_x @ about_y).astype(np.float32)
    return rotation


def _chebyshev5(c: Floats) -> Floats:
    """cos 5a, given cos a; sin 5a, given sin a."""
    square = c * c
    result: Floats = c * ((16 * square - 20) * square + 5)
    return result


def project(directions: Floats, points: Floats) -> Floats:
    """`directions` (k, 3) @ `points` (3, n), without the threads that a matrix product would start for so little."""
    x, y, z = points
    result: Floats = directions[:, :1] * x + directions[:, 1:2] * y + directions[:, 2:] * z
    return result


def unit(vectors: Floats) -> Floats:
    """Vectors (3,) or (3, n) brought to length 1."""
    result: Floats = vectors / np.maximum(np.sqrt((vectors**2).sum(axis=0)), 1e-6)
    return result
