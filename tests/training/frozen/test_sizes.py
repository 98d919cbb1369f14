"""The sizes that shapes give are those of what the stages compute, and finding them leaves the stages as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from training import Numerics, Prefixes, PrefixStore, Split, Structure
from training.frozen.sizes import row_bytes
from training.models.backbones import BACKBONES, build
from training.models.spec import InputSpec

WITHOUT_WEIGHTS = ["residual:3x32x32", "bag:64", "encoder:64", "pixels:1x8x8", "table:5"]
NAMES = [*BACKBONES, "timm:tf_efficientnet_lite0", *WITHOUT_WEIGHTS]
QUICK = ["squeezenet1_1", *WITHOUT_WEIGHTS]


# What is stored of an example.
STORED = {
    "residual": torch.full((1, 32, 32, 3), 7, dtype=torch.uint8),
    "bag": torch.full((1, 64), ord("a"), dtype=torch.uint8),
    "encoder": torch.full((1, 64), ord("a"), dtype=torch.uint8),
    "pixels": torch.full((1, 8, 8, 1), 7, dtype=torch.uint8),
    "table": torch.ones(1, 5),
}
PHOTO = torch.full((1, 64, 64, 3), 7, dtype=torch.uint8)


@pytest.mark.parametrize("numerics", [Numerics(), Numerics("bf16", channels_last=True)], ids=str)
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_sizes_are_those_of_what_is_computed_and_leave_it_as_it_is(
    tmp_path: Path, name: str, numerics: Numerics
) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    with torch.random.fork_rng():
        backbone = build(name)
    stages = len(backbone.stages)
    stored = STORED.get(name.partition(":")[0], PHOTO)
    one = torch.zeros(1, dtype=torch.int64)
    split = Split(stored, one, one, (), ("a",), ("a",))
    structure = Structure(name, stages, InputSpec(resolution=stored.shape[1], batch_size=1))

    def outputs(prefixes: Prefixes) -> list[torch.Tensor]:
        found = [prefixes.inputs(stored, structure, 0, None)]
        for stage in range(stages):
            found.append(prefixes.forward(name, found[-1], stage, stage + 1))
        return found[1:]

    untouched = outputs(Prefixes(backbones=lambda _: backbone, numerics=numerics))
    store = PrefixStore(tmp_path, disk_limit=0)
    planned = Prefixes(backbones=lambda _: backbone, numerics=numerics, store=store)
    sizes = planned.plan(split, structure, augmented=False).row_bytes
    assert sizes == tuple(output.nbytes for output in untouched)
    assert all(map(torch.equal, untouched, outputs(planned)))


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
    assert row_bytes(stages, 3, torch.ones(1, 6), Numerics()) == sizes
    assert stages[0].calls == stages[1].calls == []
