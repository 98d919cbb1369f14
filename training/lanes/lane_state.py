"""What a lane needs to go on later: its tensors and its curve, in memory or in one file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..machine.decode import decoded
from ..machine.digest import DIGEST, is_whole, note, tensors_digest
from ..machine.files import json_text
from .results import EpochResult, FitResult, curve_from_json, curve_to_json
from .saved_result import LANE, scores_record
from .state_file import StateError, read_metadata, read_state, write_state

HEAD_BEFORE = "head_before."
_PREDICTIONS = "predictions"
# Formats of lanes before they had the same as checkpoints; the earlier one had no digests.
_EARLIER_KEY, _EARLIER, _BEFORE_DIGESTS = "lane", "3", "2"


@dataclass(frozen=True, eq=False)
class LaneState:
    """A lane after a whole epoch. `tensors` are named `model.head...`, `model.stages.N...` and `optimizer...`; and
    `head_before...` where stages train, the head as it was before they did.

    `predictions` (n,) are what it says of the validation examples; None where that is to be found out again.
    """

    tensors: dict[str, torch.Tensor]
    curve: tuple[EpochResult, ...]
    predictions: torch.Tensor | None
    seconds: float

    def restore(self, head: nn.Module, optimizer: torch.optim.Optimizer, stages: dict[int, nn.Module]) -> None:
        """Writes the tensors into the modules and the optimizer of a lane that is in the same phase.

        One that was kept at the end of a phase and had not begun the next one, in which stages train, has none of
        these: they are as they were, and so is the optimizer.
        """
        head.load_state_dict(self._below("model.head."))
        if stages and not any(name.startswith("model.stages.") for name in self.tensors):
            return
        for number, stage in stages.items():
            stage.load_state_dict(self._below(f"model.stages.{number}."))
        restore_optimizer(optimizer, self.tensors)

    @property
    def head_before(self) -> dict[str, torch.Tensor]:
        """Empty where stages don't train yet, and in states that were saved before these were kept."""
        return self._below(HEAD_BEFORE)

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


def save_lane(path: Path, state: LaneState, about: dict[str, Any], result: FitResult | None = None) -> None:
    """Writes one file, whole or not at all; `about` is plain data that has to be the same when it is loaded.

    `result` is how well the lane did until then, for `read_saved_result`.

    Raises:
        InputError: no room or no permission.
    """
    tensors = dict(state.tensors)
    if state.predictions is not None:
        tensors[_PREDICTIONS] = state.predictions.contiguous()
    record = {"about": about, "curve": curve_to_json(state.curve), "seconds": state.seconds}
    record |= {} if result is None else scores_record(result)
    write_state(path, LANE, record, tensors)


def load_lane(path: Path, about: dict[str, Any]) -> LaneState | None:
    """The state in `path`; None where there is none, it is about something else, or, with a note, it is damaged."""
    try:
        record, tensors = _read(path)
        if record.get("about") != json.loads(json_text(about)):
            return None
        predictions = tensors.pop(_PREDICTIONS, None)
        curve, seconds = curve_from_json(record.get("curve")), decoded(record.get("seconds"), float, "seconds")
        return LaneState(tensors, curve, predictions, seconds)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        note(f"{path} is damaged, so its trial starts again from the beginning ({problem})")
        return None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Raises OSError and ValueError."""
    try:
        return read_state(path, LANE)
    except StateError as problem:
        try:
            described, tensors = read_metadata(path, _EARLIER_KEY)
        except StateError:
            raise problem from None
    form = described.get("format")
    if DIGEST not in described:
        # A damaged name of the digest must not make a lane look like one that is older than digests.
        whole = form == _BEFORE_DIGESTS
    else:
        whole = is_whole(described) and form == _EARLIER and described["tensors"] == tensors_digest(tensors)
    if not whole:
        raise StateError("its digest is not that of its contents")
    if "answers" in tensors:
        tensors[_PREDICTIONS] = tensors.pop("answers")
    return described, tensors
