from __future__ import annotations

import copy

import pytest
import torch

from training.models.kernels.convolution import is_plain, is_pointwise
from training.models.kernels.pointwise_convolution import PointwiseConv2d, pointwise_convolution, reference

from .cases import GEOMETRIES, close, convolution, images


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("laid_out", [torch.contiguous_format, torch.channels_last])
def test_forward_and_gradients_are_those_of_a_convolution(
    bias: bool, dtype: torch.dtype, laid_out: torch.memory_format
) -> None:
    results = []
    for operator in (pointwise_convolution, reference):
        layer = copy.deepcopy(convolution("pointwise", bias=bias)).to(dtype)
        values = images().to(dtype).contiguous(memory_format=laid_out).requires_grad_()
        found = operator(values, layer.weight, layer.bias)
        found.backward(torch.randn(found.shape, generator=torch.Generator().manual_seed(3)).to(dtype))
        results.append([found, values.grad, layer.weight.grad, *([layer.bias.grad] if layer.bias is not None else [])])
    for mine, expected in zip(*results, strict=True):
        close(mine, expected)


def test_the_layer_has_the_parameters_of_the_convolution() -> None:
    plain = convolution("pointwise", bias=True)
    layer = PointwiseConv2d(plain)
    assert layer.weight is plain.weight
    close(layer(images()), plain(images()))
    assert layer(images()).is_contiguous(memory_format=torch.channels_last)


def test_which_convolutions_are_products_of_matrices() -> None:
    assert {name for name in GEOMETRIES if is_pointwise(convolution(name))} == {"pointwise"}
    assert is_plain(convolution("pointwise"))
    assert not is_plain(PointwiseConv2d(convolution("pointwise")))
