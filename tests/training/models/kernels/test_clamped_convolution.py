from __future__ import annotations

import pytest
import torch

from training.models.kernels.clamped_convolution import ClampedConv2d, clamped_convolution, is_fused, reference

from .cases import CLAMPS, GEOMETRIES, close, convolution, images


@pytest.mark.parametrize("clamp", CLAMPS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_it_is_a_convolution_and_a_clamp(geometry: str, clamp: str, dtype: torch.dtype) -> None:
    like, values = convolution(geometry, bias=True), images().to(dtype)
    if not is_fused(values):
        pytest.skip("oneDNN has no such operation here")
    assert like.bias is not None
    weight, bias = like.weight.to(dtype), like.bias.to(dtype)
    bounds = None if clamp == "no clamp" else CLAMPS[clamp]
    close(clamped_convolution(values, weight, bias, like, bounds), reference(values, weight, bias, like, bounds))


def test_only_a_cpu_in_channels_last_has_it() -> None:
    assert not is_fused(images().contiguous())
    assert not is_fused(torch.empty(1, 2, 3, 3, device="meta").contiguous(memory_format=torch.channels_last))
    assert not is_fused(images().double())


@pytest.mark.parametrize("laid_out", [torch.contiguous_format, torch.channels_last])
@torch.no_grad()
def test_the_layer_is_the_same_in_every_layout_and_under_autocast(laid_out: torch.memory_format) -> None:
    plain = convolution("3 x 3", bias=True)
    layer = ClampedConv2d(plain, (0.0, 6.0))
    values = images().contiguous(memory_format=laid_out)
    close(layer(values), plain(values).clamp(0, 6))
    with torch.autocast("cpu", torch.bfloat16):
        expected = plain(values).clamp(0, 6)
        assert expected.dtype == torch.bfloat16
        close(layer(values), expected)


@torch.no_grad()
def test_weights_are_cast_once() -> None:
    layer = ClampedConv2d(convolution("pointwise", bias=True), None)
    with torch.autocast("cpu", torch.bfloat16):
        layer(images())
        first = layer._in(torch.bfloat16)
        layer(images())
        assert layer._in(torch.bfloat16) is first
