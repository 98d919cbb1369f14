"""Changed photos are a function of a photo's key and the change, mild, and of the examples that they were made of."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import Split, modality_named, shifted
from training.data.shifts import SHIFTS, Shift, shifted_photos

from ...toys import toy_splits

SIDE = 40
GROUND, FRUIT = (245, 240, 235), (200, 60, 40)
FRAME, LIGHT, CAMERA, BACKGROUND, ALL = range(len(SHIFTS))


def fruit_on_a_ground() -> torch.Tensor:
    """(1, side, side, 3): a square of one colour on a ground of another, with a hole of the ground's colour in it."""
    photo = torch.tensor(GROUND, dtype=torch.uint8).repeat(1, SIDE, SIDE, 1)
    photo[:, 8:32, 8:32] = torch.tensor(FRUIT, dtype=torch.uint8)
    photo[:, 17:23, 17:23] = torch.tensor(GROUND, dtype=torch.uint8)
    return photo


def noise(seed: int, count: int = 3, side: int = SIDE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 3), generator=generator).to(torch.uint8)


@given(st.integers(0, 2**16), st.integers(1, 40), st.sampled_from(range(len(SHIFTS))))
@settings(max_examples=40)
def test_a_change_is_decided_by_photo_key_and_variant_alone(seed: int, side: int, variant: int) -> None:
    photos, keys = noise(seed, side=side), ["a", "b", "a"]
    before = photos.clone()
    changed = Shift(variant)(photos, keys)
    assert changed.shape == photos.shape
    assert changed.dtype == torch.uint8
    assert torch.equal(photos, before)
    again = pickle.loads(pickle.dumps(Shift(variant)))
    for row, key in enumerate(keys):
        assert torch.equal(again(photos[row : row + 1], [key])[0], changed[row])


@pytest.mark.parametrize("variant", range(len(SHIFTS)))
def test_another_key_gives_another_photo(variant: int) -> None:
    photo = fruit_on_a_ground()
    assert not torch.equal(Shift(variant)(photo, ["a"]), photo)
    assert not torch.equal(Shift(variant)(photo, ["a"]), Shift(variant)(photo, ["b"]))


@given(st.text(max_size=8))
@settings(max_examples=30)
def test_another_background_leaves_what_stands_on_it(key: str) -> None:
    photo = fruit_on_a_ground()
    changed = Shift(BACKGROUND)(photo, [key])
    inside = (slice(None), slice(14, 26), slice(14, 26))
    assert torch.equal(changed[inside], photo[inside])  # the hole is not connected with the edge
    corner = changed[0, 0, 0].int()
    assert (changed[0, :3].int() - corner).abs().max() <= 1


def test_a_photo_without_a_plain_edge_keeps_its_background() -> None:
    photos = noise(0)
    assert torch.equal(Shift(BACKGROUND)(photos, ["a", "b", "c"]), photos)


@given(st.text(max_size=8))
@settings(max_examples=30)
def test_light_keeps_the_order_of_values_and_a_frame_shows_no_other_colours(key: str) -> None:
    ramp = torch.arange(240, dtype=torch.uint8).view(1, 1, 240, 1).repeat(1, 240, 1, 3)
    changed = Shift(LIGHT)(ramp, [key])[0, 0].int()
    assert (changed.diff(dim=0) >= 0).all()
    grey = changed[128]
    assert 50 <= grey.min() <= grey.max() <= 220
    plain = torch.full((1, SIDE, SIDE, 3), 90, dtype=torch.uint8)
    assert torch.equal(Shift(FRAME)(plain, [key]), plain)


def test_a_shifted_split_is_the_same_examples_with_keys_of_its_own() -> None:
    splits = toy_splits()
    forms = shifted(splits, "image")
    assert len(forms) == len(SHIFTS)
    assert len({key for form in forms for key in form.keys} | set(splits.valid.keys)) == (1 + len(forms)) * 24
    everyone = torch.arange(24)
    for form in forms:
        assert (form.names, form.groups) == (splits.valid.names, splits.valid.groups)
        pixels, labels = form.take(everyone)
        assert torch.equal(labels, splits.valid.labels)
        assert not torch.equal(pixels, splits.valid.take(everyone)[0])
        some = torch.tensor([5, 2])
        assert torch.equal(form.take(some)[0], pixels[some])
        chosen = form.labels == 1
        assert torch.equal(form.subset(chosen).take(torch.arange(8))[0], pixels[chosen])


def test_without_keys_names_decide() -> None:
    valid = toy_splits().valid
    nameless = shifted_photos(replace(valid, keys=()))
    renamed = shifted_photos(replace(valid, keys=(), names=tuple(f"x{name}" for name in valid.names)))
    assert all(form.keys == () for form in nameless)
    index = torch.arange(3)
    assert torch.equal(nameless[LIGHT].take(index)[0], shifted_photos(replace(valid, keys=()))[LIGHT].take(index)[0])
    assert not torch.equal(nameless[LIGHT].take(index)[0], renamed[LIGHT].take(index)[0])


def test_only_photos_have_such_changes() -> None:
    rows = Split(torch.zeros(2, 3), torch.arange(2), torch.zeros(2), (), ("a", "b"))
    for name in ("tabular", "text"):
        assert modality_named(name).shifted(rows) == ()
