from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from training.machine import vision
from training.models.kernels.depthwise_convolution import (
    DepthwiseConv2d,
    depthwise_convolution,
    is_slow_depthwise,
    reference,
)

from .cases import GEOMETRIES, close, convolution, images

CHANNELS = 16


@given(
    kernel=st.sampled_from((3, 5, 7)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    side=st.integers(7, 16),
    dtype=st.sampled_from((torch.float32, torch.bfloat16)),
    bias=st.booleans(),
)
def test_forward_and_gradients_are_those_of_a_convolution(
    kernel: int, stride: int, padding: int, side: int, dtype: torch.dtype, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(CHANNELS, CHANNELS, kernel, groups=CHANNELS, bias=bias).to(dtype)
    results = []
    for operator in (depthwise_convolution, reference):
        layer.zero_grad()
        values = images(CHANNELS, side=side).to(dtype).requires_grad_()
        found = operator(values, layer.weight, layer.bias, stride, padding)
        found.backward(torch.randn(found.shape, generator=torch.Generator().manual_seed(3)).to(dtype))
        gradients = [copy.deepcopy(parameter.grad) for parameter in layer.parameters()]
        results.append([found, values.grad, *gradients])
    for mine, expected in zip(*results, strict=True):
        close(mine, expected)


@pytest.mark.skipif(not vision.has_timm(), reason="needs timm")
@pytest.mark.parametrize("side", [9, 14])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_layer_stands_for_the_convolution_whatever_its_padding(side: int, stride: int) -> None:
    layers = vision.timm().layers
    torch.manual_seed(0)
    for plain in (
        nn.Conv2d(CHANNELS, CHANNELS, 5, stride, 2, groups=CHANNELS),
        layers.Conv2dSame(CHANNELS, CHANNELS, 5, stride, groups=CHANNELS),
    ):
        assert is_slow_depthwise(plain)
        layer = DepthwiseConv2d(plain)
        assert layer.weight is plain.weight
        for autocast in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                close(layer(images(CHANNELS, side=side)), plain(images(CHANNELS, side=side)))


def test_gradients_under_autocast_reach_weights_in_their_own_precision() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(CHANNELS, CHANNELS, 5, 2, 2, groups=CHANNELS, bias=False)
    gradients = []
    for layer in (DepthwiseConv2d(copy.deepcopy(plain)), copy.deepcopy(plain)):
        with torch.autocast("cpu", torch.bfloat16):
            layer(images(CHANNELS)).float().square().mean().backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.dtype == torch.float32
        gradients.append(layer.weight.grad)
    difference = (gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max()
    assert difference < 3e-2


def test_which_convolutions_are_replaced() -> None:
    assert {name for name in GEOMETRIES if is_slow_depthwise(convolution(name))} == {"depthwise, stride 2"}
    assert not is_slow_depthwise(nn.Conv2d(8, 8, 5, groups=8, dilation=2))
    assert not is_slow_depthwise(nn.Conv2d(8, 16, 5, groups=8))
    assert is_slow_depthwise(nn.Conv2d(8, 8, 3, 2, groups=8))
    assert not is_slow_depthwise(nn.Conv2d(8, 8, 5, padding="same", groups=8))
    assert not is_slow_depthwise(nn.Conv2d(8, 8, 5, padding=(2, 1), groups=8))
