"""Residual networks that begin with random weights: their shape is named, their chains are found, and they learn."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from training.models.backbones import build, residual
from training.models.kernels.clamped_convolution import ClampedConv2d
from training.models.lowering import lower

from ...contracts.backbone import BackboneCase, BackboneContract, measure_statistics
from .test_lowering import CPU, LAST, with_statistics

SMALL = "residual:3x32x32:b2w8"


class TestContract(BackboneContract):
    @pytest.fixture
    def case(self) -> BackboneCase:
        backbone = build(SMALL)
        model = nn.Sequential(*backbone.stages, backbone.source_head)
        images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 4 - 2
        measure_statistics(model, images)
        return BackboneCase(backbone, copy.deepcopy(model), images)


@given(st.integers(1, 3), st.sampled_from([16, 32, 64]), st.integers(1, 3))
def test_a_name_says_the_whole_shape(blocks: int, width: int, channels: int) -> None:
    shape = residual.Shape((channels, 32, 32), blocks, width)
    assert residual.shape_of(residual.name_of(shape)) == shape


def test_a_name_without_blocks_is_the_plain_network() -> None:
    plain = residual.Shape((3, 32, 32))
    assert residual.shape_of("residual:3x32x32") == plain
    assert residual.shape_of(residual.name_of(plain)) == plain


@pytest.mark.parametrize("name", ["cnn:3x32x32", "residual:3x32", "residual:3x32x32:b1", "resnet18"])
def test_what_is_no_network_has_no_shape(name: str) -> None:
    assert residual.shape_of(name) is None
    assert residual.shape_of(name) is None


@pytest.mark.parametrize("side", [28, 32])
@pytest.mark.parametrize("blocks", [1, 3])
@torch.no_grad()
def test_each_group_but_the_first_halves_the_side_and_doubles_the_channels(blocks: int, side: int) -> None:
    backbone = build(f"residual:1x{side}x{side}:b{blocks}w16")
    seen = torch.rand(2, 1, side, side)
    shapes = []
    for stage in backbone.stages:
        seen = stage(seen)
        shapes.append(tuple(seen.shape[1:]))
    assert shapes == [(16, side, side), (16, side, side), (32, side // 2, side // 2), (64, side // 4, side // 4)]
    assert [shape[0] for shape in shapes] == list(backbone.widths)
    assert backbone.pool(seen).shape == (2, 64)
    # Of He et al., in their words: 6 n + 2 layers with weights, the shortcuts' two and the head aside.
    layers = [module for stage in backbone.stages for module in stage.modules() if isinstance(module, nn.Conv2d)]
    assert len(layers) == 6 * blocks + 1 + 2


def test_every_convolution_is_found_with_its_norm() -> None:
    backbone = with_statistics(build(SMALL))
    stages = backbone.chains
    for stage, chains in zip(backbone.stages, stages, strict=True):
        convolutions = {name for name, module in stage.named_modules() if isinstance(module, nn.Conv2d)}
        assert {chain.convolution for chain in chains} == convolutions
    for chain in (chain for chains in stages[1:] for chain in chains):
        assert (chain.activation is not None) == chain.convolution.endswith("body.0"), chain


@torch.no_grad()
def test_frozen_stages_compute_the_same() -> None:
    backbone = with_statistics(build(SMALL))
    seen = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)).contiguous(
        memory_format=torch.channels_last
    )
    for folded, stage in zip(lower(backbone, len(backbone.stages), LAST, CPU).frozen, backbone.stages, strict=True):
        assert all(type(m) is ClampedConv2d for m in folded.modules() if isinstance(m, nn.Conv2d))
        mine, seen = folded(seen), stage(seen)
        torch.testing.assert_close(mine, seen, rtol=1e-3, atol=1e-4 * float(seen.abs().max()))


def test_trained_stages_take_the_steps_of_torchs_modules() -> None:
    backbone = with_statistics(build(SMALL))
    plain = nn.Sequential(*copy.deepcopy(backbone.stages)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    quick = nn.Sequential(*lower(backbone, 0, LAST, CPU).trained)
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    for model in (plain, quick):
        model.train()(images.contiguous(memory_format=torch.channels_last)).square().mean().backward()
    for ours, theirs in zip(quick.parameters(), plain.parameters(), strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4 * float(theirs.grad.abs().max()) + 1e-6)
    torch.testing.assert_close(quick.state_dict(), plain.state_dict(), rtol=1e-4, atol=1e-5)


def test_weights_are_the_same_in_every_process_and_leave_chance_alone() -> None:
    state = torch.get_rng_state()
    here = build(SMALL).weights_digest
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert build(SMALL).weights_digest == here
    code = f"from training.models.backbones import build; print(build({SMALL!r}).weights_digest)"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == here


def test_all_of_it_can_be_reset() -> None:
    for stage in build(SMALL).stages:
        owners = [module for module in stage.modules() if list(module.parameters(recurse=False))]
        assert owners
        assert all(hasattr(module, "reset_parameters") for module in owners)


def test_it_learns() -> None:
    torch.manual_seed(1)
    backbone = build(SMALL)
    model = nn.Sequential(*backbone.stages, backbone.pool, nn.Linear(backbone.widths[-1], 3)).train()
    images, labels = torch.randn(24, 3, 16, 16), torch.arange(24) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(15):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
