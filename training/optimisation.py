"""Optimizers, the learning-rate schedule, and the loss."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces import Config, InputError

MOMENTUM = 0.9
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
WARM_UP_SHARE = 0.1


def make_optimizer(config: Config, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW. Biases and normalisation (vectors) have no weight decay."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    decay = float(config.get("weight_decay", 0.0))
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate = float(config["learning_rate"])
    name = config.get("optimizer", "adamw")
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=momentum_of(config), nesterov=True, fused=True)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True)
    raise InputError(f"unknown optimizer {name!r}: sgd or adamw")


def momentum_of(config: Config) -> float:
    return float(config.get("momentum", MOMENTUM))


def schedule(step: int, steps: int) -> float:
    """The learning rate at `step` of 0..steps-1 as a share of its peak: a linear warm-up, then a cosine to nearly zero.

    The cosine is Loshchilov and Hutter's (2017, arXiv 1608.03983), without restarts.
    """
    warm_up = max(1, round(WARM_UP_SHARE * steps)) if steps > 1 else 0
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))


def loss_of(logits: torch.Tensor, labels: torch.Tensor, config: Config) -> torch.Tensor:
    """Mean cross-entropy in nats, with the config's label smoothing."""
    return F.cross_entropy(logits, labels, label_smoothing=float(config.get("label_smoothing", 0.0)))
