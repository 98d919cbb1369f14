"""The sizes that a plan is made of are those of what the stages compute, for every kind of backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from training import Numerics, Prefixes, PrefixStore, Split, Structure
from training.frozen.sizes import filled_up, row_bytes, rows_at_once, rows_to_try
from training.models.backbones import BACKBONES, build
from training.models.spec import InputSpec

WITHOUT_WEIGHTS = ["residual:3x32x32", "bag:64", "encoder:64", "pixels:1x8x8", "table:5"]
META = torch.device("meta")
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
def test_sizes_are_those_of_what_is_computed(tmp_path: Path, name: str, numerics: Numerics) -> None:
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

    prefixes = Prefixes(backbones=lambda _: backbone, numerics=numerics, store=PrefixStore(tmp_path, disk_limit=0))
    sizes = prefixes.plan(split, structure, augmented=False).row_bytes
    assert sizes == tuple(output.nbytes for output in outputs(prefixes))


@given(count=st.integers(1, 9), wanted=st.integers(1, 9), last=st.booleans())
def test_on_a_gpu_every_batch_has_one_size(count: int, wanted: int, last: bool) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    rows = torch.empty(count, 4, 3, 2).contiguous(memory_format=layout)
    assert filled_up(rows, wanted) is rows
    filled = filled_up(rows.to(META), wanted)
    assert filled.shape == (max(count, wanted), 4, 3, 2)
    assert filled.is_contiguous(memory_format=layout)


@given(rows=st.integers(1, 5))
def test_sizes_are_an_example_s_however_many_are_tried(rows: int) -> None:
    stages = [nn.Flatten(), nn.Linear(12, 7), nn.Linear(7, 5)]
    found = row_bytes(stages, 5, torch.zeros(rows, 3, 4), Numerics())
    assert found == (12 * 4, 7 * 4, 5 * 4)


def test_a_gpu_tries_as_many_as_it_computes_at_once() -> None:
    assert rows_to_try(100, torch.device("cpu")) == 1
    assert rows_to_try(100, torch.device("cuda")) == rows_at_once(100, torch.device("cuda"))
