"""The model that is trained: a backbone's stages under a new head."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from search_spaces import Config

from .backbones.backbone import Backbone, freeze


class Head(nn.Module):
    """The new classifier: pooled features (N, width) -> dropout -> [hidden layer] -> logits (N, classes)."""

    def __init__(self, width: int, classes: int, config: Config) -> None:
        super().__init__()
        hidden = int(config.get("head_width", 0))
        dropout = float(config.get("dropout", 0.0))
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden or width, classes))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.layers(features))


class Classifier(nn.Module):
    """Normalised images (N, 3, R, R) -> logits (N, classes)."""

    def __init__(self, backbone: Backbone, config: Config, head: Head) -> None:
        super().__init__()
        self.stages = nn.ModuleList(backbone.stages)
        self.pool = backbone.pool
        self.keeps_statistics = config.get("batch_norm", "pretrained") == "pretrained"
        self.head = head
        self.register_buffer("mean", torch.tensor(backbone.preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.preprocessing.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Floats in 0..1 as the backbone was trained to see them."""
        return (images - cast(torch.Tensor, self.mean)) / cast(torch.Tensor, self.std)

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

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.head(self.suffix(images, 0)))

    def freeze(self, cut: int) -> list[nn.Parameter]:
        """Freezes the first `cut` stages and returns what is trained.

        Where the config says so, batch-norm keeps its pretrained statistics in the unfrozen stages too
        (docs/decisions/0005).
        """
        self.train()
        freeze(self.stages, cut)
        if self.keeps_statistics:
            for module in self.stages.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return [parameter for parameter in self.parameters() if parameter.requires_grad]
