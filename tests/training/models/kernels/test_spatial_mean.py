from __future__ import annotations

import pytest
import torch

from training.models.kernels.spatial_mean import reference, spatial_mean

from .cases import close, images


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("laid_out", [torch.contiguous_format, torch.channels_last])
def test_the_mean_and_its_gradient_lie_as_the_features_do(dtype: torch.dtype, laid_out: torch.memory_format) -> None:
    results, strides = [], []
    for operator in (spatial_mean, reference):
        features = images().to(dtype).contiguous(memory_format=laid_out)
        # Not a leaf, whose gradient torch would lay out anew.
        seen = features.clone().requires_grad_()
        inner = seen * 1
        inner.register_hook(lambda gradient: strides.append(gradient.stride()))
        found = operator(inner)
        found.backward(torch.randn(found.shape, generator=torch.Generator().manual_seed(3)).to(dtype))
        results.append([found, seen.grad])
    for mine, expected in zip(*results, strict=True):
        close(mine, expected)
    assert strides[0] == features.stride()


def test_without_gradients_it_is_torchs_own() -> None:
    assert torch.equal(spatial_mean(images()), images().mean((2, 3)))
