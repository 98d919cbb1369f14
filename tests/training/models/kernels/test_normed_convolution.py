from __future__ import annotations

import copy

import pytest
import torch

from training.models.kernels.normed_convolution import NormedConv2d, normed_convolution, reference

from .cases import CLAMPS, GEOMETRIES, close, convolution, images, norm


@pytest.mark.parametrize("training", [False, True], ids=["pretrained statistics", "by batch"])
@pytest.mark.parametrize("clamp", CLAMPS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_forward_gradients_and_statistics_are_those_of_three_layers(
    geometry: str, clamp: str, training: bool, dtype: torch.dtype
) -> None:
    like = convolution(geometry)
    results = []
    for operator in (normed_convolution, reference):
        conv, after = copy.deepcopy(like), norm(like.out_channels, training=training)
        values = images().to(dtype).requires_grad_()
        found = operator(values, conv.weight, after.weight, after.bias, conv, after, CLAMPS[clamp])
        # Of random signs: a gradient that was summed over a row would show.
        given = torch.randn(found.shape, generator=torch.Generator().manual_seed(3)).to(found.dtype)
        found.backward(given)
        gradients = [values.grad, conv.weight.grad, after.weight.grad, after.bias.grad]
        results.append([found, *gradients, after.running_mean, after.running_var])
    for mine, expected in zip(*results, strict=True):
        close(mine, expected, dtype)


def test_the_layer_counts_batches_and_leaves_the_rest_to_its_norm() -> None:
    conv, after = convolution("3 x 3"), norm(12, training=True)
    layer = NormedConv2d(conv, after, (0.0, 6.0))
    layer(images()).sum().backward()
    layer(images())
    assert int(after.num_batches_tracked) == 2
    assert layer.weight is conv.weight
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert after.weight.grad is not None


def test_what_follows_may_change_the_output_in_place_where_nothing_is_clamped() -> None:
    conv, after = convolution("3 x 3"), norm(12, training=False)
    found = NormedConv2d(conv, after, None)(images())
    found.relu_().sum().backward()
    assert conv.weight.grad is not None
