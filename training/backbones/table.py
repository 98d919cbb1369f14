"""No backbone at all: the numbers of a table's row as features, standardised."""

from __future__ import annotations

import re
from typing import cast

import torch
from torch import nn

from .backbone import Parts

TABLE = "table:"
_NAME = re.compile(rf"{TABLE}([1-9]\d*)")


class Standardise(nn.Module):
    """(N, f) -> (N, f): less `mean`, by `std`. Both are fitted to training rows and part of the state."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return (rows - cast(torch.Tensor, self.mean)) / cast(torch.Tensor, self.std)


def shape_of(name: str) -> int | None:
    """The number of features of `table:F`; None where `name` is none."""
    found = _NAME.fullmatch(name)
    return None if found is None else int(found[1])


def parts(features: int) -> Parts:
    """One stage without parameters, which passes rows (N, features) on until its mean and deviation are loaded."""
    stage = Standardise(features)
    return Parts((stage,), (features,), None, nn.Identity(), nn.Identity())
