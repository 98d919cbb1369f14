"""A lane's outputs on the validation split as the plain data that a result carries."""

from __future__ import annotations

import numpy as np
import torch

from ..data.splits import Splits, identity_digest
from ..scoring.objectives import Objective
from .results import Outputs


def kept_outputs(values: torch.Tensor, objective: Objective, splits: Splits) -> Outputs:
    """The outputs (n, outputs) of a model in training for the validation examples of `splits`, copied to the CPU."""
    valid = splits.valid
    return Outputs(
        values=objective.absolute(values).cpu().numpy().copy(),
        labels=valid.labels.numpy(),
        groups=np.unique(valid.groups, return_inverse=True)[1] if valid.groups else np.zeros(0, np.int64),
        classes=splits.classes,
        split=identity_digest(valid),
    )
