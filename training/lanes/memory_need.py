"""What a run needed for which memory was short: when it ran out, and as its structure lets one predict."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch.autograd.graph import saved_tensors_hooks

from ..machine.memory import machine_memory
from ..machine.precision import Numerics
from ..models.classifier import Classifier
from .group import LaneGroup
from .results import MemoryNeed

_STATM = Path("/proc/self/statm")
# As CUDA's allocator says it, "Tried to allocate 2.50 GiB", and as that of the CPU does, "tried to allocate 81 bytes".
_ASKED_FOR = re.compile(r"tried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)", re.IGNORECASE)
_UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}
# Examples that go through the network to see what a step keeps: two numbers make a line. One alone is not enough for
# batch-norm where the activations of a channel are a single number.
_FEW, _MORE = 2, 4


class MemoryWatch:
    """What a device's memory was asked for since this was made: at most by this process, where the device says so."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def needed(self, problem: BaseException) -> tuple[int, int]:
        """(bytes that `problem` shows to be needed at least, bytes that this process can have).

        To be called while the exception's frames are alive: what they hold was in use.
        """
        most, limit = in_use(self._device) + _asked_for(problem), machine_memory()
        if self._device.type == "cuda":
            most = max(most, torch.cuda.max_memory_allocated(self._device))
            # Other processes may have a part of it, and this one may be allowed no more than a share.
            free, total = torch.cuda.mem_get_info(self._device)
            share = torch.cuda.get_per_process_memory_fraction(self._device)
            limit = min(free + torch.cuda.memory_reserved(self._device), round(share * total))
        return most, limit


def in_use(device: torch.device) -> int:
    """Bytes of a GPU that tensors of this process take; on a CPU, of the machine's memory that the process does.

    0 where the system does not say.
    """
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def memory_need(group: LaneGroup, key: int, needed: tuple[int, int]) -> MemoryNeed:
    """Of a lane that ran out of memory when it trained alone and has let go of its step; see `MemoryWatch.needed`.

    What is predicted is what is in use without the step, gradients, and what the step keeps for its backward pass.
    """
    actual, limit = needed
    device = group.prefixes.device
    before = in_use(device)
    try:
        predicted = before + step_bytes(
            group.model(key),
            _examples(group, _MORE),
            group.cut_of(key),
            group.structure.batch_size,
            group.prefixes.numerics,
        )
    except Exception:
        predicted = None  # it was to be said how much was missing, and not to miss more
    return MemoryNeed(actual, predicted, limit)


def step_bytes(model: Classifier, inputs: torch.Tensor, cut: int, batch: int, numerics: Numerics) -> int:
    """Bytes that a training step with `batch` examples takes besides weights and the optimizer's state.

    A few examples go forward, and what autograd keeps of them is counted; so much more is kept of a whole batch. At the
    start of the backward pass the gradients of the largest activations come on top, and at its end those of weights.

    Args:
        inputs: at least four examples as the first stage takes them, on the model's device.
        cut: of the stages, the first so many are frozen.
    """
    trained: int = sum(p.nbytes for module in (*model.stages[cut:], model.head) for p in module.parameters())
    (few, _), (more, largest) = (_kept(model, inputs[:count], cut, numerics) for count in (_FEW, _MORE))
    each = (more - few) / (_MORE - _FEW)
    gradients = 2 * largest / _MORE
    return trained + round(max(few - _FEW * each, 0.0) + batch * (each + gradients))


def _kept(model: Classifier, inputs: torch.Tensor, cut: int, numerics: Numerics) -> tuple[int, int]:
    """(all, the largest): bytes of what a forward pass keeps for its backward pass besides weights and its input."""
    device = inputs.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), numerics.autocast(device):
        with torch.no_grad():
            activations = model.prefix(inputs, cut)
        own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
        kept: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        unchanged: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor  # noqa: E731
        with saved_tensors_hooks(note, unchanged):
            # Held to the end, so that no two of the tensors lie at one address.
            outputs = model.head(model.suffix(activations, cut))
        del outputs
    return sum(kept.values()), max(kept.values(), default=0)


def _examples(group: LaneGroup, count: int) -> torch.Tensor:
    """A few examples as the first stage takes them; images are black."""
    backbone, device = group.prefixes.backbone(group.structure.backbone), group.prefixes.device
    if backbone.preprocessing is None:
        split = group.splits.train
        return split.inputs[split.rows[:count]].to(device)
    side = group.structure.resolution
    # Not of random numbers: those that other runs draw stay what they are.
    images = torch.zeros((count, len(backbone.preprocessing.mean), side, side), device=device)
    return images.contiguous(memory_format=group.prefixes.numerics.memory_format)


def _asked_for(problem: BaseException) -> int:
    """Bytes of the last request, 0 where the exception does not say."""
    found = _ASKED_FOR.search(str(problem))
    return 0 if found is None else round(float(found[1]) * _UNITS[found[2].lower()])
