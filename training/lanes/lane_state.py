"""What a lane needs to go on later: its tensors and its curve, in memory or in one file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from ..machine.digest import DIGEST, is_whole, note, sealed, tensors_digest
from ..machine.files import atomic_write_bytes, json_text
from .results import EpochResult, curve_from_json, curve_to_json

_FORMAT = "3"
# Had no digests, and is still read.
_BEFORE_DIGESTS = "2"


@dataclass(frozen=True, eq=False)
class LaneState:
    """A lane after a whole epoch. `tensors` are named `model.head...`, `model.stages.N...` and `optimizer...`.

    `answers` (n,) are what it says of the validation examples; None where that is to be found out again.
    """

    tensors: dict[str, torch.Tensor]
    curve: tuple[EpochResult, ...]
    answers: torch.Tensor | None
    seconds: float

    def restore(self, head: nn.Module, optimizer: torch.optim.Optimizer, stages: dict[int, nn.Module]) -> None:
        """Writes the tensors into the modules and the optimizer of a lane that is in the same phase."""
        head.load_state_dict(self._below("model.head."))
        for number, stage in stages.items():
            stage.load_state_dict(self._below(f"model.stages.{number}."))
        restore_optimizer(optimizer, self.tensors)

    def _below(self, prefix: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Loads the `optimizer.` tensors; the settings stay those of the config."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    # The fused kernels go through memory, not through indices: moments must lie as their parameters do.
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if moment.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(moment).detach()


def save_lane(path: Path, state: LaneState, about: dict[str, Any]) -> None:
    """Writes one file, whole or not at all; `about` is plain data that has to be the same when it is loaded.

    Raises:
        InputError: no room or no permission.
    """
    tensors = dict(state.tensors)
    if state.answers is not None:
        tensors["answers"] = state.answers.contiguous()
    described = {
        "format": _FORMAT,
        "about": about,
        "curve": curve_to_json(state.curve),
        "seconds": state.seconds,
        "tensors": tensors_digest(tensors),
    }
    atomic_write_bytes(path, safetensors.torch.save(tensors, {"lane": json_text(sealed(described), indent=None)}))


def load_lane(path: Path, about: dict[str, Any]) -> LaneState | None:
    """The state in `path`; None where there is none, it is about something else, or, with a note, it is damaged."""
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, "pt") as file:
            described = json.loads(file.metadata()["lane"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if not _is_whole_lane(described, tensors):
            raise ValueError("its digest is not that of its contents")
        if described["about"] != json.loads(json_text(about)):
            return None
        answers = tensors.pop("answers", None)
        return LaneState(tensors, curve_from_json(described["curve"]), answers, float(described["seconds"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as problem:
        note(f"{path} is damaged, so its trial starts again from the beginning ({problem})")
        return None


def _is_whole_lane(described: dict[str, Any], tensors: dict[str, torch.Tensor]) -> bool:
    if DIGEST not in described:
        return bool(described["format"] == _BEFORE_DIGESTS)
    return is_whole(described) and described["format"] == _FORMAT and described["tensors"] == tensors_digest(tensors)
