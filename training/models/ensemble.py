"""Several classifiers that answer as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..data.packed import unpack_pictures
from ..machine.precision import Numerics
from .classifier import Classifier


class Ensemble(nn.Module):
    """The weighted mean of classifiers' outputs: logits (N, classes), or numbers (N, 1).

    Each member sees an example as it alone does, at its own resolution and normalised its own way. Those that have
    equal stages and look at equal inputs share the modules, and their features are computed once.
    """

    def __init__(self, members: Sequence[Classifier], weights: Sequence[float]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.weights = tuple(weights)
        self.sides = tuple(sorted({member.side for member in members}))
        for place, member in enumerate(members):
            for earlier in members[:place]:
                if _see_alike(member, earlier):
                    member.stages = earlier.stages
                    break

    @property
    def classifiers(self) -> list[Classifier]:
        return [member for member in self.members if isinstance(member, Classifier)]

    def answers(self, stored: torch.Tensor, numerics: Numerics) -> torch.Tensor:
        """What it says of inputs as a split holds them, on its device; packed where `pack` packs them."""
        inputs = self._inputs(stored)
        features: dict[tuple[int, int], torch.Tensor] = {}
        outputs = []
        for member, weight in zip(self.classifiers, self.weights, strict=True):
            key = (id(member.stages), member.resolution)
            if key not in features:
                features[key] = member.features(inputs[member.side], numerics)
            outputs.append(weight * member.predictions(features[key]))
        return torch.stack(outputs).sum(0)

    def _inputs(self, stored: torch.Tensor) -> dict[int, torch.Tensor]:
        """By the sides of what the members take."""
        if len(self.sides) > 1 and stored.ndim == 2:
            return unpack_pictures(stored, self.sides)
        return dict.fromkeys(self.sides, stored)


def _see_alike(one: Classifier, other: Classifier) -> bool:
    """Whether two classifiers get equal features from equal inputs."""
    if one.resolution != other.resolution or one.takes_images != other.takes_images:
        return False
    first, second = (dict(model.stages.named_modules()) for model in (one, other))
    if [(name, type(module)) for name, module in first.items()] != [(n, type(module)) for n, module in second.items()]:
        return False
    tensors, others = ({**model.stages.state_dict(), **_normalisation(model)} for model in (one, other))
    return tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors)


def _normalisation(model: Classifier) -> dict[str, torch.Tensor]:
    # They are no part of a state.
    return {f"input.{name}": tensor for name, tensor in model.named_buffers(recurse=False)}
