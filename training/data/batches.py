"""From stored bytes to batches: their order and their transfer, functions of the seed and the epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from ..machine.seeds import number_of
from .augment import LUMA
from .splits import Split

EVALUATION_BATCH = 128


def generator_of(seed: int, epoch: int, purpose: int) -> torch.Generator:
    """A generator of its own for each epoch and purpose, so that a resumed run needs no stored random state."""
    return torch.Generator().manual_seed(number_of(seed, epoch, purpose))


def order_of(examples: int, batch_size: int, *, seed: int, epoch: int) -> tuple[torch.Tensor, ...]:
    """The examples of each batch of an epoch, in random order.

    The batches are `batch_count` of nearly equal size, so that none is a leftover of one.
    """
    order = torch.randperm(examples, generator=generator_of(seed, epoch, 0))
    return order.tensor_split(batch_count(examples, batch_size))


def evaluation_batches(split: Split, device: torch.device) -> Iterator[torch.Tensor]:
    """The inputs in their own order, as they are stored."""
    for start in range(0, len(split), EVALUATION_BATCH):
        index = torch.arange(start, min(start + EVALUATION_BATCH, len(split)))
        yield split.take(index)[0].to(device, non_blocking=True)


def batch_count(examples: int, batch_size: int) -> int:
    return max(1, round(examples / batch_size))


def to_floats(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Bytes (n, R, R, C) -> floats (n, C, R, R) in 0..1. The bytes travel, the floats are made on the device."""
    return images.to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous().float().div_(255)


def as_input(images: torch.Tensor, resolution: int, channels: int) -> torch.Tensor:
    """Images (n, C, S, S) as a backbone takes them: grey ones in three equal channels, coloured ones as their luma
    (ITU-R BT.601), small ones enlarged."""
    if images.shape[1] == 1 and channels == 3:
        images = images.expand(-1, 3, -1, -1)
    elif images.shape[1] == 3 and channels == 1:
        images = torch.einsum("nchw,c->nhw", images, images.new_tensor(LUMA)).unsqueeze(1)
    if images.shape[-1] != resolution:
        # Where images are enlarged there is nothing to smooth, and ONNX knows no smoothing.
        smooth = images.shape[-1] > resolution
        images = F.interpolate(images, (resolution, resolution), mode="bilinear", antialias=smooth)
    return images
