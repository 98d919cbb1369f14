"""Peer (a): a notebook like PyTorch's tutorial on transfer learning: `ImageFolder`, `DataLoader`, fp32."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader

from training import Spec
from training.machine import vision

from .result import OnEpoch, PeerResult, cores

MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]


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
    torch.manual_seed(seed)
    datasets = vision.torchvision().datasets
    train_set = datasets.ImageFolder(data / "train", train_transform(spec))
    valid_set = datasets.ImageFolder(data / "valid", valid_transform(spec))
    options: dict[str, Any] = {"num_workers": cores(), "pin_memory": device == "cuda"}
    train_loader = DataLoader(train_set, spec.input.batch_size, shuffle=True, **options)
    valid_loader = DataLoader(valid_set, 64, **options)

    model = make_model(spec, len(train_set.classes), weights).to(device)
    loss_function = nn.CrossEntropyLoss(label_smoothing=spec.head.label_smoothing)

    # The head first; then the last stages too, at a lower rate.
    unfrozen = spec.backbone.unfrozen
    tuned = 0
    if unfrozen and epochs > 1:
        tuned = min(max(round(epochs * spec.schedule.fine_tune_share), 1), epochs - 1)
    phases = [(epochs - tuned, 0, spec.optimizer.learning_rate)]
    if tuned:
        phases.append((tuned, unfrozen, spec.optimizer.learning_rate * spec.schedule.fine_tune_rate))

    curve: list[float] = []
    correct: list[bool] = []
    for phase_epochs, stages, rate in phases:
        frozen = freeze(model, stages)
        optimizer = make_optimizer(spec, model, rate)
        scheduler = make_scheduler(optimizer, phase_epochs * len(train_loader))
        for _ in range(phase_epochs):
            model.train()
            frozen.eval()
            if spec.schedule.keeps_statistics:
                for module in model.modules():
                    if isinstance(module, nn.BatchNorm2d):
                        module.eval()
            for images, labels in train_loader:
                images, labels = images.to(device), labels.to(device)
                optimizer.zero_grad()
                loss = loss_function(model(images), labels)
                loss.backward()
                optimizer.step()
                scheduler.step()

            model.eval()
            correct = []
            with torch.no_grad():
                for images, labels in valid_loader:
                    predicted = model(images.to(device)).argmax(1).cpu()
                    correct += (predicted == labels).tolist()
            curve.append(sum(correct) / len(correct))
            if on_epoch is not None:
                on_epoch(len(curve), curve[-1])
    return PeerResult(curve[-1], correct, time.perf_counter() - started, curve)


def make_model(spec: Spec, classes: int, weights: Path) -> Any:
    model = vision.torchvision().models.mobilenet_v2()
    model.load_state_dict(load_file(weights / "mobilenet_v2.safetensors"))
    width, hidden, dropout = model.last_channel, spec.head.width, spec.head.dropout
    if hidden:
        model.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes)
        )
    else:
        model.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, classes))
    return model


def freeze(model: Any, unfrozen: int) -> nn.Module:
    """Freezes all but the classifier and the last stages, and returns what is frozen."""
    frozen = model.features[: len(model.features) - unfrozen]
    model.requires_grad_(True)
    frozen.requires_grad_(False)
    return frozen  # type: ignore[no-any-return]


def make_optimizer(spec: Spec, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": spec.optimizer.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if spec.optimizer.name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=spec.optimizer.momentum, nesterov=True)
    return torch.optim.AdamW(groups, lr=rate)


def make_scheduler(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up over a tenth of the steps, then a cosine."""
    warm_up = max(1, round(0.1 * steps)) if steps > 1 else 0

    def share(step: int) -> float:
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def train_transform(spec: Spec) -> Any:
    """Flips, turns, shifts, scales and colours, all of it growing with the augmentation's step of 0 to 4."""
    transforms = vision.torchvision().transforms
    step = spec.input.augmentation
    dial = step / 4
    resolution = spec.input.resolution
    parts = [transforms.Resize((resolution, resolution), transforms.InterpolationMode.BICUBIC)]
    if step:
        parts += [
            transforms.RandomHorizontalFlip(),
            transforms.RandomAffine(
                degrees=30 * dial,
                translate=(0.15 * dial, 0.15 * dial),
                scale=(1 / (1 + 0.1 * dial), 1 / (1 - 0.4 * dial)),
                interpolation=transforms.InterpolationMode.BILINEAR,
                fill=[round(255 * value) for value in MEAN],
            ),
            transforms.ColorJitter(0.4 * dial, 0.4 * dial, 0.4 * dial),
        ]
    parts += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    if step >= 3:
        parts.append(transforms.RandomErasing(p=dial / 2, scale=(0.15**2, 0.4**2), ratio=(1.0, 1.0)))
    return transforms.Compose(parts)


def valid_transform(spec: Spec) -> Any:
    transforms = vision.torchvision().transforms
    resolution = spec.input.resolution
    return transforms.Compose(
        [
            transforms.Resize((resolution, resolution), transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
