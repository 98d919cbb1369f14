"""The sizes that shapes give are those of what the stages compute, and finding them leaves the stages as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training import Numerics, Prefixes
from training.frozen.sizes import row_bytes
from training.models.backbones import BACKBONES, Backbone, Parts, assemble, build

WITHOUT_WEIGHTS = ["residual:3x32x32", "bag:64", "encoder:64", "pixels:1x8x8", "table:5"]
NAMES = [*BACKBONES, "timm:tf_efficientnet_lite0", *WITHOUT_WEIGHTS]
QUICK = ["squeezenet1_1", *WITHOUT_WEIGHTS]


def row_of(backbone: Backbone) -> torch.Tensor:
    """What the first stage takes of one example."""
    if backbone.name.startswith(("bag", "encoder")):
        return torch.full((1, 64), ord("a"), dtype=torch.uint8)
    if backbone.preprocessing is None:
        return torch.zeros(1, 5)
    side = int(backbone.name.rpartition("x")[2]) if ":" in backbone.name and "timm" not in backbone.name else 64
    return torch.zeros(1, len(backbone.preprocessing.mean), side, side)


@pytest.mark.parametrize("numerics", [Numerics(), Numerics("bf16", channels_last=True)], ids=str)
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_sizes_are_those_of_what_is_computed(name: str, numerics: Numerics) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    with torch.random.fork_rng():
        prefixes = Prefixes(backbones=build, numerics=numerics)
        backbone = prefixes.backbone(name)
    row = row_of(backbone).contiguous()
    if row.ndim == 4:
        row = row.contiguous(memory_format=numerics.memory_format)
    found = []
    for stage in range(len(backbone.stages)):
        row = prefixes.forward(name, row, stage, stage + 1)
        found.append(row.numel() * row.element_size())
    assert row_bytes(backbone, row_of(backbone), numerics) == tuple(found)


class Counting(nn.Module):
    """Remembers what it was called with, as some layers do with a cast of their weights."""

    def __init__(self, halves: bool = False) -> None:
        super().__init__()
        self.calls: list[torch.Tensor] = []
        self.halves = halves

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.calls.append(values)
        # The second way has a shape that depends on the values.
        return values[:, : int((values[0] == 0).sum()) // 2] if self.halves else values * 2


@pytest.mark.parametrize(("halves", "sizes"), [(False, (24, 24, 12)), (True, (24, 12, 12))])
def test_a_stage_is_not_called_itself_and_may_depend_on_values(halves: bool, sizes: tuple[int, ...]) -> None:
    stages = (Counting(), Counting(halves), nn.Identity())
    backbone = assemble("made up", Parts(stages, (6, 6, 3), None, nn.Identity(), nn.Identity()), "made up")
    assert row_bytes(backbone, torch.ones(1, 6), Numerics()) == sizes
    assert stages[0].calls == stages[1].calls == []
