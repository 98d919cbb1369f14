"""No backbone at all: the numbers of a table's row as features, standardised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from .backbone import Parts

TABLE = "table:"
_NAME = re.compile(rf"{TABLE}([1-9]\d*)")


class Standardise(nn.Module):
    """(N, f) -> (N, f) float32: less `mean`, by `std`. Both are fitted to training rows and part of the state.

    It computes with as many bits as they have: columns whose digits 32 bits do not hold come with 64.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        mean = cast(torch.Tensor, self.mean)
        return ((rows.to(mean.dtype) - mean) / cast(torch.Tensor, self.std)).float()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # torch would round what is loaded to the type that is there.
        for name in ("mean", "std"):
            if isinstance(loaded := state_dict.get(prefix + name), torch.Tensor):
                setattr(self, name, getattr(self, name).to(loaded.dtype))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def shape_of(name: str) -> int | None:
    """The number of features of `table:F`; None where `name` is none."""
    found = _NAME.fullmatch(name)
    return None if found is None else int(found[1])


def parts(features: int) -> Parts:
    """One stage without parameters, which passes rows (N, features) on until its mean and deviation are loaded."""
    stage = Standardise(features)
    return Parts((stage,), (features,), None, nn.Identity(), nn.Identity())
