"""The model that is trained: a backbone's stages under a new head."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from ..data.batches import as_input, to_floats
from ..machine.precision import Numerics
from .backbones.backbone import Backbone, freeze
from .spec import HeadSpec, Spec


class Head(nn.Module):
    """The new classifier: pooled features (N, width) -> dropout -> [hidden layers] -> (N, outputs)."""

    def __init__(self, width: int, outputs: int, spec: HeadSpec) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Dropout(spec.dropout)]
        for hidden in spec.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(spec.dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, outputs))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.layers(features))


class Classifier(nn.Module):
    """What the first stage takes, normalised images (N, C, R, R) for one, -> logits (N, classes) or a number (N, 1)."""

    def __init__(self, backbone: Backbone, spec: Spec, head: Head) -> None:
        super().__init__()
        self.stages = nn.ModuleList(backbone.stages)
        self.pool = backbone.pool
        self.keeps_statistics = spec.schedule.keeps_statistics
        self.head = head
        self.offset = 0.0
        """Of numbers that were learned as differences from it: see `Splits`."""
        self.resolution = self.side = spec.input.resolution
        """What its stages see, and the side of the images that it takes, which it enlarges where that is smaller."""
        self.takes_images = backbone.preprocessing is not None
        if backbone.preprocessing is not None:
            for name, values in (("mean", backbone.preprocessing.mean), ("std", backbone.preprocessing.std)):
                self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    @property
    def classifiers(self) -> list[Classifier]:
        """The models that answer: this one alone."""
        return [self]

    @property
    def channels(self) -> int:
        """Of the images that it takes."""
        return int(cast(torch.Tensor, self.mean).shape[1])

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Floats in 0..1 as the backbone was trained to see them."""
        return (images - cast(torch.Tensor, self.mean)) / cast(torch.Tensor, self.std)

    def prepared(self, stored: torch.Tensor, memory_format: torch.memory_format) -> torch.Tensor:
        """Inputs as a split holds them, on the model's device, as its first stage takes them."""
        if not self.takes_images:
            return stored
        images = as_input(to_floats(stored, stored.device), self.resolution, self.channels)
        return self.normalise(images).contiguous(memory_format=memory_format)

    def prefix(self, images: torch.Tensor, cut: int) -> torch.Tensor:
        """The output of the first `cut` stages."""
        for stage in self.stages[:cut]:
            images = stage(images)
        return images

    def suffix(self, activations: torch.Tensor, cut: int) -> torch.Tensor:
        """Pooled features (N, width) from the output of the first `cut` stages."""
        for stage in self.stages[cut:]:
            activations = stage(activations)
        return cast(torch.Tensor, self.pool(activations)).float()

    def predictions(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of pooled features, or numbers (N, 1), which have 64 bits where they have an offset."""
        outputs = cast(torch.Tensor, self.head(features))
        return outputs.double() + self.offset if self.offset else outputs

    def features(self, stored: torch.Tensor, numerics: Numerics) -> torch.Tensor:
        """Pooled features (N, width) of inputs as a split holds them, on the model's device."""
        inputs = self.prepared(stored, numerics.memory_format)
        with numerics.autocast(stored.device):
            return self.suffix(inputs, 0)

    def answers(self, stored: torch.Tensor, numerics: Numerics) -> torch.Tensor:
        """What it says of inputs as a split holds them, on the model's device."""
        return self.predictions(self.features(stored, numerics))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.predictions(self.suffix(images, 0))

    def freeze(self, cut: int) -> list[nn.Parameter]:
        """Freezes the first `cut` stages and returns what is trained.

        Where the spec says so, batch-norm keeps its pretrained statistics in the unfrozen stages too
        (docs/decisions/0005).
        """
        self.train()
        freeze(self.stages, cut)
        if self.keeps_statistics:
            for module in self.stages.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return [parameter for parameter in self.parameters() if parameter.requires_grad]
