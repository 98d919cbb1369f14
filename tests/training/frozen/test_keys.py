"""What was kept is found again by whoever would compute the same, and by nobody else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import Numerics, Prefixes, PrefixStore, Structure
from training.frozen import prefixes as module
from training.frozen.store import BlockKey, clear
from training.frozen.store.blocks import KEY_FILE
from training.models.backbones import build, frozen_name
from training.models.spec import InputSpec

from ...toys import RESOLUTION, toy_backbone, toy_splits
from .prefix_rows import BLOCK, LARGE, Model, names

SPLIT = toy_splits(8, 4).train
STRUCTURE = Structure("toy", 3, InputSpec(resolution=RESOLUTION, batch_size=8))


def computed(folder: Path, monkeypatch: pytest.MonkeyPatch, numerics: Numerics | None = None) -> int:
    """How many images a process of its own puts through the stages to have all features."""
    images = 0
    forward = Prefixes.forward

    def count(self: Prefixes, name: str, activations: torch.Tensor, first: int, last: int) -> torch.Tensor:
        nonlocal images
        images += len(activations)
        return forward(self, name, activations, first, last)

    with monkeypatch.context() as patch:
        patch.setattr(Prefixes, "forward", count)
        store = PrefixStore(folder, disk_limit=LARGE)
        Prefixes(backbones=toy_backbone, numerics=numerics, store=store).block(SPLIT, STRUCTURE, 3, strength=0, view=0)
    return images


def test_another_torch_or_other_kernels_find_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert computed(tmp_path, monkeypatch) == len(SPLIT)
    assert computed(tmp_path, monkeypatch) == 0
    assert computed(tmp_path, monkeypatch, Numerics("bf16")) == len(SPLIT)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "99.0")
        assert computed(tmp_path, monkeypatch) == len(SPLIT)
    with monkeypatch.context() as patch:
        patch.setattr(module, "REVISION", module.REVISION + 1)
        assert computed(tmp_path, monkeypatch) == len(SPLIT)
    assert computed(tmp_path, monkeypatch) == 0
    assert len(PrefixStore(tmp_path, disk_limit=LARGE).usage()) == 4


def test_a_key_names_the_stages_and_prints_no_module(tmp_path: Path) -> None:
    store = PrefixStore(tmp_path, disk_limit=LARGE)
    Prefixes(backbones=toy_backbone, store=store).block(SPLIT, STRUCTURE, 3, strength=0, view=0)
    (use,) = store.usage()
    backbone = toy_backbone()
    assert use.key == BlockKey(
        backbone="toy",
        weights=backbone.weights_digest,
        resolution=RESOLUTION,
        augmentation=0,
        further="",
        view=0,
        cut=3,
        precision="fp32, contiguous, cpu",
        torch=torch.__version__,
        kernels=module.REVISION,
    )


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("bag:64:w1c4b512e8", "bag:64:w1c4b512e16", True),
        ("bag:64:w1c4b512e8", "bag:64:w1c4b1024e8", False),
        ("bag:64:w1c4b512e8", "bag:64:w2c4b512e8", False),
        ("bag:64:w1c4b512e8", "bag:64:w1c3b512e8", False),
        ("bag:64:w1c4b512e8", "bag:128:w1c4b512e8", False),
        ("encoder:64:b512e8l1", "encoder:64:b512e16l2", True),
        ("encoder:64:b512e8l1", "encoder:64:b1024e8l1", False),
        ("encoder:64:b512e8l1", "bag:64:w1c0b512e8", False),
        ("cnn:1x28x28:b2c8k3n1", "cnn:1x28x28:b2c16k3n1", False),
        ("table:3", "table:4", False),
        ("pixels:1x8x8", "pixels:3x8x8", False),
    ],
)
def test_names_are_equal_where_the_frozen_stages_are(one: str, other: str, equal: bool) -> None:
    assert (frozen_name(one, 1) == frozen_name(other, 1)) == equal
    # Names say no less than the modules' own descriptions do.
    assert not equal or str(build(one).stages[0]) == str(build(other).stages[0])
    assert frozen_name(one, 2) == one


def test_a_block_of_an_earlier_version_is_not_found_and_goes_like_any_other(tmp_path: Path) -> None:
    kept, model = PrefixStore(tmp_path, disk_limit=LARGE), Model()
    model.ask(kept, BLOCK, names(3))
    model.ask(kept, replace(BLOCK, view=1), names(3))
    # Keys had no versions then.
    file = tmp_path / BLOCK.digest / KEY_FILE
    file.write_text(
        json.dumps({n: v for n, v in json.loads(file.read_text()).items() if n not in ("torch", "kernels")})
    )
    uses = PrefixStore(tmp_path, disk_limit=LARGE).usage()
    assert {use.key for use in uses} == {None, replace(BLOCK, view=1)}
    assert clear(tmp_path) == sum(use.bytes for use in uses)
    assert not any(path.is_dir() for path in tmp_path.iterdir())
