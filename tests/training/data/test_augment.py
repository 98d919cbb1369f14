import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data.augment import RANDOM_NUMBERS, STRONGEST, augment


def images(count: int = 6, side: int = 24) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def seeded(seed: int, count: int = 6) -> torch.Tensor:
    return torch.rand(count, RANDOM_NUMBERS, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, STRONGEST), st.integers(0, 1000), st.integers(1, 5))
def test_keeps_shape_and_range(strength: int, seed: int, count: int) -> None:
    before = images(count)
    after = augment(before, strength, seeded(seed, count))
    assert after.shape == before.shape
    assert after.dtype == before.dtype
    assert 0 <= float(after.min()) <= float(after.max()) <= 1


@pytest.mark.parametrize("strength", range(STRONGEST + 1))
def test_one_seed_gives_one_batch(strength: int) -> None:
    assert torch.equal(augment(images(), strength, seeded(3)), augment(images(), strength, seeded(3)))


def test_strength_zero_changes_nothing() -> None:
    assert augment(images(), 0, seeded(0)) is not None
    assert torch.equal(augment(images(), 0, seeded(0)), images())


def test_each_step_changes_more() -> None:
    # Smooth images, so that a flip or a small shift does not count as much as noise would make it.
    ramp = torch.linspace(0, 1, 24)
    smooth = torch.stack([ramp.expand(24, 24), ramp.expand(24, 24).T, 0.5 * torch.ones(24, 24)]).expand(400, -1, -1, -1)
    distances = []
    for strength in range(1, STRONGEST + 1):
        changed = augment(smooth.contiguous(), strength, seeded(5, 400))
        distances.append(
            float(
                torch.minimum(
                    (changed - smooth).abs().mean((1, 2, 3)), (changed - smooth.flip(3)).abs().mean((1, 2, 3))
                ).mean()
            )
        )
    assert distances == sorted(distances)
    assert distances[0] > 0


def test_every_image_has_its_own_change() -> None:
    same = images(1).expand(8, -1, -1, -1).contiguous()
    changed = augment(same, 2, seeded(0, 8))
    assert len({tuple(image.flatten()[:50].tolist()) for image in changed}) == 8


def test_the_input_is_not_written_to() -> None:
    before = images()
    augment(before, STRONGEST, seeded(0))
    assert torch.equal(before, images())


def test_the_layout_of_channels_does_not_matter() -> None:
    plain = augment(images(), 4, seeded(2))
    last = augment(images().contiguous(memory_format=torch.channels_last), 4, seeded(2))
    torch.testing.assert_close(plain, last)


def test_an_unknown_strength_is_refused() -> None:
    with pytest.raises(ValueError, match="strength"):
        augment(images(), STRONGEST + 1, seeded(0))
