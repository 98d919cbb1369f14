"""The peer: a plain loop in the style of torchvision's references/classification/train.py.

torchvision's own model in training mode, SGD with momentum, autocast as its `--amp` does, NCHW, and cuDNN trying its
ways for the shapes. Where stages are frozen, their parameters take no gradient, as in PyTorch's tutorial on transfer
learning, and with a new head alone all but the last layer is. It is spared what the script does besides: logging, which
waits for the device in each step, and, with `step_of`, loading, normalising and augmenting: its images are floats that
lie ready on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from training.data.splits import Split
from training.machine import vision
from training.models.backbones import decompose

from .cases import CLASSES, INFERENCE, Case
from .core import Step

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Reference:
    def __init__(self, case: Case, device: torch.device) -> None:
        self.model: Any = vision.torchvision().models.get_model(case.backbone, num_classes=CLASSES).to(device)
        if case.mode == INFERENCE:
            self.model.eval()
        else:
            self.model.train()
            _freeze(case, self.model)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9, weight_decay=1e-4)
        self.criterion = nn.CrossEntropyLoss()
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bf16")

    def update(self, images: Tensor, labels: Tensor) -> None:
        with self._autocast, _cudnn_benchmark():
            loss = self.criterion(self.model(images), labels)
        self.optimizer.zero_grad()
        with _cudnn_benchmark():
            loss.backward()
        self.optimizer.step()

    @torch.inference_mode()
    def infer(self, images: Tensor) -> None:
        with self._autocast, _cudnn_benchmark():
            self.model(images)


@contextmanager
def _cudnn_benchmark() -> Iterator[None]:
    """cuDNN's own measurements for the reference alone: our training is without them."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def step_of(case: Case, data: Split, device: torch.device) -> Step:
    """A step on the next of the batches, which take turns in one order."""
    reference = Reference(case, device)
    images, labels = _normalised(data.inputs), data.labels.to(device)
    batches = len(data.labels) // case.batch_size
    run: Callable[[Tensor, Tensor], None] = (
        (lambda images, _: reference.infer(images)) if case.mode == INFERENCE else reference.update
    )
    number = 0

    def step() -> None:
        nonlocal number
        rows = slice(number * case.batch_size, (number + 1) * case.batch_size)
        run(images[rows], labels[rows])
        number = (number + 1) % batches

    return step


def _freeze(case: Case, model: nn.Module) -> None:
    stages = decompose(case.backbone, model).stages
    cut = case.spec().backbone.cut(len(stages))
    if cut == len(stages):
        model.requires_grad_(False)
        [*(module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d))][-1].requires_grad_(True)
    else:
        for stage in stages[:cut]:
            stage.requires_grad_(False)


def _normalised(pixels: Tensor) -> Tensor:
    """Bytes (n, R, R, 3) as the floats (n, 3, R, R) that the script's transforms end in."""
    images = torch.empty(len(pixels), 3, *pixels.shape[1:3], device=pixels.device)
    for channel in range(3):
        images[:, channel] = (pixels[..., channel].float() / 255 - MEAN[channel]) / STD[channel]
    return images
