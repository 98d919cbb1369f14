"""The depthwise convolution that does not wait for a compiler gives what torch's own does, with and without it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.machine import vision
from training.models.kernels import uncompiled_depthwise
from training.models.kernels.depthwise_convolution import is_depthwise, reference
from training.models.kernels.uncompiled_depthwise import UncompiledDepthwise

from .cases import GEOMETRIES, close, convolution, images

CHANNELS = 16
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


@pytest.mark.parametrize("device", DEVICES)
@given(
    kernel=st.sampled_from((1, 3, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    side=st.integers(7, 16),
    dtype=st.sampled_from((torch.float32, torch.bfloat16)),
    bias=st.booleans(),
)
@settings(deadline=None)
def test_it_gives_what_a_convolution_does(
    device: str, kernel: int, stride: int, padding: int, side: int, dtype: torch.dtype, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(CHANNELS, CHANNELS, kernel, groups=CHANNELS, bias=bias).to(dtype).requires_grad_(False)
    values = images(CHANNELS, side=side).to(dtype)
    expected = reference(values, layer.weight, layer.bias, stride, padding)
    layer.to(device)
    found = uncompiled_depthwise.uncompiled_depthwise(values.to(device), layer.weight, layer.bias, stride, padding)
    assert found.is_contiguous(memory_format=torch.channels_last)
    close(found.cpu(), expected)


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
        assert is_depthwise(plain)
        layer = UncompiledDepthwise(plain)
        assert layer.state_dict().keys() == plain.state_dict().keys()
        values = images(CHANNELS, side=side)
        close(layer(values), plain(values))
        with torch.autocast("cpu", torch.bfloat16):
            close(layer(values), plain(values))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_only_depthwise_convolutions_are_replaced(geometry: str) -> None:
    assert is_depthwise(convolution(geometry)) == geometry.startswith("depthwise")


class Compiled(Exception):
    """cuDNN would be asked now."""


def compiled(*_: object) -> torch.Tensor:
    raise Compiled


def test_it_compiles_once_a_shape_has_cost_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = images(CHANNELS, count=1), images(CHANNELS, count=2)
    monkeypatch.setattr(uncompiled_depthwise, "WORTH", 3 * few.numel())
    monkeypatch.setattr(uncompiled_depthwise, "reference", compiled)
    layer = UncompiledDepthwise(nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS))
    for _ in range(3):
        layer(few)
    with pytest.raises(Compiled):
        layer(few)
    # Every other shape has a compilation of its own.
    layer(many)
    layer(many)
    with pytest.raises(Compiled):
        layer(many)


def test_cudnn_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)
    layer = UncompiledDepthwise(nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS))
    layer(images(CHANNELS))
    with pytest.raises(RuntimeError):
        layer(torch.zeros(1, CHANNELS, 1, 1))
    assert torch.backends.cudnn.enabled
