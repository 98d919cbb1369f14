"""Peer (b): the notebook tuned by an expert, without sharing anything between trials but the decoded photos.

Photos are decoded once and stay in memory, batches are augmented as tensors, frozen stages run without autograd,
everything in channels_last, and in bf16 where the processor computes in it; one process for all trials.
"""

from __future__ import annotations

import functools
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from training import Spec
from training.machine import vision
from training.models.numerics import emulates_bf16

from .result import OnEpoch, PeerResult, cores

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Photos:
    """Decoded photos, uint8 (n, 3, R, R), and labels, int64 (n,)."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    valid_images: NDArray[np.uint8]
    valid_labels: NDArray[np.int64]


@functools.lru_cache(maxsize=1)
def load_photos(data: Path, resolution: int) -> Photos:
    """DIR/train and DIR/valid, decoded in threads and kept for later trials."""
    return Photos(*load_split(data / "train", resolution), *load_split(data / "valid", resolution))


def load_split(folder: Path, resolution: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Photos (n, 3, R, R) and labels (n,) of a folder of class folders, decoded in threads."""

    def decode(path: str) -> NDArray[np.uint8]:
        with Image.open(path) as image:
            image.draft("RGB", (resolution, resolution))  # a JPEG is decoded no larger than need be
            small = image.convert("RGB").resize((resolution, resolution), Image.Resampling.BICUBIC)
        return np.asarray(small).transpose(2, 0, 1)

    samples = vision.torchvision().datasets.ImageFolder(folder).samples
    with ThreadPoolExecutor(cores()) as pool:
        images = np.stack(list(pool.map(decode, [path for path, _ in samples])))
    return images, np.array([label for _, label in samples])


def train(
    spec: Spec,
    data: Path,
    weights: Path,
    epochs: int,
    seed: int = 0,
    on_epoch: OnEpoch | None = None,
    device: str = "cpu",
) -> PeerResult:
    """Trains a MobileNetV2 on DIR/train and scores it on DIR/valid after each epoch."""
    started = time.perf_counter()
    trainer = Trainer(spec, load_photos(data, spec.input.resolution), weights, epochs, seed, device)
    while not trainer.finished:
        accuracy = trainer.train_epoch()
        if on_epoch is not None:
            on_epoch(len(trainer.curve), accuracy)
    return PeerResult(trainer.curve[-1], trainer.correct, time.perf_counter() - started, trainer.curve)


class Trainer:
    """One trial, an epoch at a time."""

    def __init__(
        self, spec: Spec, photos: Photos, weights: Path, epochs: int, seed: int = 0, device: str = "cpu"
    ) -> None:
        torch.manual_seed(seed)
        self.spec, self.epochs, self.device = spec, epochs, device
        # Whoever knows the machine leaves bf16 out where it only emulates it.
        self.half = not emulates_bf16(torch.device(device))
        self.train_images = torch.tensor(photos.train_images).to(device)
        self.train_labels = torch.tensor(photos.train_labels).to(device)
        self.valid_images = torch.tensor(photos.valid_images).to(device)
        self.valid_labels = torch.tensor(photos.valid_labels)
        self.mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(STD, device=device).view(1, 3, 1, 1)
        model = make_model(spec, int(photos.train_labels.max()) + 1, weights)
        self.model: Any = model.to(device=device, memory_format=torch.channels_last)
        self.stages = len(model.features)

        unfrozen = min(spec.backbone.unfrozen, self.stages)
        tuned = 0
        if unfrozen and epochs > 1:
            tuned = min(max(round(epochs * spec.schedule.fine_tune_share), 1), epochs - 1)
        # First epoch, epochs, frozen stages and rate of each phase: the head first, then the last stages too.
        rate = spec.optimizer.learning_rate
        self.phases = [(0, epochs - tuned, self.stages, rate)]
        if tuned:
            factor = spec.schedule.fine_tune_rate
            self.phases.append((epochs - tuned, tuned, self.stages - unfrozen, rate * factor))
        self.curve: list[float] = []
        self.correct: list[bool] = []

    @property
    def finished(self) -> bool:
        return len(self.curve) == self.epochs

    def train_epoch(self) -> float:
        """One epoch of training; the accuracy on the validation photos after it."""
        epoch = len(self.curve)
        start, length, frozen, rate = next(phase for phase in reversed(self.phases) if phase[0] <= epoch)
        batches = torch.split(torch.randperm(len(self.train_images)), self.spec.input.batch_size)
        if epoch == start:
            self._freeze(frozen)
            self.optimizer = make_optimizer(self.spec, self.model, rate)
            share = functools.partial(warm_up_and_cosine, steps=length * len(batches))
            self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, share)
        self._set_modes(frozen)
        smoothing = self.spec.head.label_smoothing
        for index in batches:
            images = augment(self.train_images[index].float().div_(255), self.spec.input.augmentation)
            loss = F.cross_entropy(
                self._logits(images, frozen), self.train_labels[index].to(self.device), label_smoothing=smoothing
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.scheduler.step()
        return self.evaluate()

    def _logits(self, images: Tensor, frozen: int) -> Tensor:
        images = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            with torch.no_grad():
                features = self.model.features[:frozen](images)
            features = self.model.features[frozen:](features)
            logits: Tensor = self.model.classifier(features.mean((2, 3)))
        return logits.float()

    @torch.inference_mode()
    def evaluate(self) -> float:
        """Scores the model as it is on the validation photos, as a further entry of `curve`."""
        self.model.eval()
        predicted = [
            self._logits(images.float().div_(255), self.stages).argmax(1).cpu()
            for images in torch.split(self.valid_images, 128)
        ]
        self.correct = (torch.cat(predicted) == self.valid_labels).tolist()
        self.curve.append(sum(self.correct) / len(self.correct))
        return self.curve[-1]

    def _freeze(self, frozen: int) -> None:
        self.model.requires_grad_(True)
        self.model.features[:frozen].requires_grad_(False)

    def _set_modes(self, frozen: int) -> None:
        self.model.train()
        self.model.features[:frozen].eval()
        if self.spec.schedule.keeps_statistics:
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()


@functools.lru_cache(maxsize=1)
def _weights(file: Path) -> dict[str, Tensor]:
    return load_file(file)


def make_model(spec: Spec, classes: int, weights: Path) -> Any:
    model = vision.torchvision().models.mobilenet_v2()
    model.load_state_dict(_weights(weights / "mobilenet_v2.safetensors"))
    width, hidden, dropout = model.last_channel, spec.head.width, spec.head.dropout
    layers: list[nn.Module] = [nn.Dropout(dropout)]
    if hidden:
        layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
    model.classifier = nn.Sequential(*layers, nn.Linear(hidden or width, classes))
    return model


def make_optimizer(spec: Spec, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": spec.optimizer.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if spec.optimizer.name == "sgd":
        momentum = spec.optimizer.momentum
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def warm_up_and_cosine(step: int, steps: int) -> float:
    """The share of the rate: a linear warm-up over a tenth of the steps, then a cosine."""
    warm_up = max(1, round(0.1 * steps)) if steps > 1 else 0
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def augment(images: Tensor, step: int) -> Tensor:
    """The notebook's transforms on a whole batch of floats in 0..1, in three passes over the pixels."""
    if step == 0:
        return images
    dial, count, device = step / 4, len(images), images.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, device=device).uniform_(low, high)

    angle, zoom = uniform(-1, 1) * dial * math.pi / 6, 1 - dial * uniform(-0.1, 0.4)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    across = torch.stack([cos * flip, -sin, uniform(-0.3, 0.3) * dial], 1)
    down = torch.stack([sin * flip, cos, uniform(-0.3, 0.3) * dial], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)

    brightness, contrast, saturation = (1 + 0.4 * dial * uniform(-1, 1).view(-1, 1, 1, 1) for _ in range(3))
    grey = (0.299 * images[:, :1]).add_(images[:, 1:2], alpha=0.587).add_(images[:, 2:], alpha=0.114)
    level = grey.mean((2, 3), keepdim=True)
    # grey + saturation, level + contrast and brightness are all linear in the pixels.
    images = images * (brightness * contrast * saturation)
    images += grey * (brightness * contrast * (1 - saturation)) + level * (brightness * (1 - contrast))
    images.clamp_(0, 1)

    if step >= 3:
        # The patch takes the mean colour, which is 0 after normalising.
        mean = torch.tensor(MEAN, device=device).view(3, 1, 1)
        size = images.shape[-1]
        side = (uniform(0.15, 0.4) * size).long().tolist()
        tops, lefts, chosen = uniform(0, 1).tolist(), uniform(0, 1).tolist(), (uniform(0, 1) < dial / 2).tolist()
        for image, length, top, left, covered in zip(images, side, tops, lefts, chosen, strict=True):
            if covered:
                y, x = int(top * (size - length)), int(left * (size - length))
                image[:, y : y + length, x : x + length] = mean
    return images
