from __future__ import annotations

from math import pi

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.data.drawn.solids import banana_solid, project, round_solid, trace, turned, unit

angles = st.floats(-pi, pi)


@given(angles, angles, angles)
def test_turning_keeps_lengths_and_hands(pitch: float, yaw: float, roll: float) -> None:
    rotation = turned(pitch, yaw, roll)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)


@given(angles, angles, angles, st.floats(15, 30))
def test_a_ball_looks_like_a_ball_from_every_side(pitch: float, yaw: float, roll: float, scale: float) -> None:
    radius = 0.97
    ball = round_solid(dimple=0, height=radius, taper=0)
    rotation = turned(pitch, yaw, roll)
    seen = trace(ball, rotation, (32, 32), scale, 64)
    # The rim fades out over the pixel beyond it.
    np.testing.assert_allclose(seen.coverage.sum(), pi * (radius * scale + 0.5) ** 2, rtol=0.03)
    inner = seen.coverage == 1
    where = project(rotation, seen.points)[:, inner]
    np.testing.assert_allclose((where**2).sum(axis=0), radius**2, atol=0.05)
    np.testing.assert_allclose(where[0], (seen.columns[inner] - 32) / scale, atol=1e-3)
    np.testing.assert_allclose(where[1], (32 - seen.rows[inner]) / scale, atol=1e-3)
    facing = seen.normals[:, inner][2] > 0.3
    np.testing.assert_allclose(seen.normals[:, inner][:, facing], unit(where)[:, facing], atol=0.05)


@given(angles, angles, angles)
def test_what_is_outside_the_picture_is_not_seen(pitch: float, yaw: float, roll: float) -> None:
    banana = banana_solid(half_angle=0.8, width=0.25, turn=0)
    assert trace(banana, turned(pitch, yaw, roll), (-200, 30), 20, 64).rows.size == 0
    half = trace(banana, turned(pitch, yaw, roll), (0, 30), 20, 64)
    assert (half.columns >= 0).all()
    assert half.rows.size > 0


@given(st.floats(0.55, 0.95), st.floats(0.2, 0.27), st.integers(0, 2**32 - 1))
def test_spots_lie_on_the_skin(half_angle: float, width: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for solid in (
        banana_solid(half_angle=half_angle, width=width, turn=1),
        round_solid(dimple=0.05, height=0.95, taper=0),
    ):
        towards = unit(rng.standard_normal(3, np.float32))
        spot = solid.spot(towards, 0.4, rng)[:, None]
        assert abs(float(solid.distance(spot)[0])) < 0.15
        assert float((spot**2).sum()) < solid.reach**2
