"""One run among those that train side by side."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from search_spaces import Config

from ..models.classifier import Head
from ..models.spec import Phase, Spec
from .results import EpochResult


@dataclass(eq=False)
class Lane:
    """One run of a group. `curve`, `predictions` and `outputs` are of its whole epochs.

    `outputs` are those of the last one, on the device; None where the lane goes on and nobody asked it yet.
    """

    key: int
    config: Config
    spec: Spec
    phases: tuple[Phase, ...]
    head: Head
    optimizer: torch.optim.Optimizer
    parameters: int
    curve: list[EpochResult] = field(default_factory=list)
    predictions: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    outputs: torch.Tensor | None = None
    seconds: float = 0.0

    def phase_of(self, epoch: int) -> Phase:
        return next(phase for phase in self.phases if phase.first <= epoch < phase.first + phase.epochs)
