"""Networks that are nothing but a head: pixels in, hidden layers, several of them side by side."""

from __future__ import annotations

import pytest
import torch

from search_spaces import Config, SearchSpace
from search_spaces.perceptron import perceptron_dimensions
from training import Prefixes, PrefixStore, Split, Splits, fit, fit_lanes, load_backbone
from training.data.batches import as_input

from ...toys import TOY


def grey_splits(side: int = 28) -> Splits:
    """Three classes told apart by where the light is."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(96) % 3
    images = torch.randint(0, 60, (96, side, side, 1), generator=generator, dtype=torch.uint8)
    for row, label in enumerate(labels.tolist()):
        images[row, label * side // 3 : (label + 1) * side // 3] += 120
    names = tuple(str(row) for row in range(96))

    def part(start: int, stop: int) -> Split:
        rows = torch.arange(start, stop)
        return Split(images, rows, labels[rows], (), names[start:stop], names[start:stop])

    return Splits(part(0, 64), part(64, 96), None, ("low", "middle", "high"), "made up", "grey")


def task() -> object:
    from dataclasses import replace

    space = SearchSpace(perceptron_dimensions())
    return replace(TOY, space=space, recipe=CONFIG, classes=("low", "middle", "high"))


CONFIG: Config = {
    "backbone": "pixels:1x28x28",
    "resolution": 28,
    "batch_size": 32,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "label_smoothing": 0.1,
    "head_width": 64,
    "head_layers": 2,
    "dropout": 0.2,
}


@pytest.mark.parametrize("layers", [1, 2])
def test_lanes_of_perceptrons_learn_what_each_would_alone(layers: int, tmp_path: object) -> None:
    splits, configs = grey_splits(), [CONFIG | {"head_layers": layers, "learning_rate": rate} for rate in (1e-3, 3e-3)]
    prefixes = Prefixes(backbones=load_backbone, store=PrefixStore(tmp_path))  # type: ignore[arg-type]
    together = fit_lanes(task(), configs, splits, epochs=3, prefixes=prefixes)  # type: ignore[arg-type]
    for config, mine in zip(configs, together, strict=True):
        alone = fit(task(), config, splits, epochs=3)  # type: ignore[arg-type]
        assert [epoch.loss for epoch in mine.curve] == pytest.approx([epoch.loss for epoch in alone.curve], rel=1e-4)
        assert mine.value is not None
        assert mine.value > 0.9


def test_a_stacked_perceptron_takes_the_steps_of_torchs_modules() -> None:
    from training.lanes.heads import HeadShape, HeadStack, stacked
    from training.lanes.optimisation import make_optimizer
    from training.models.classifier import Head
    from training.models.spec import Phase, spec_of
    from training.scoring.objectives import CrossEntropy

    spec = spec_of(CONFIG | {"dropout": 0.0, "optimizer": "sgd", "momentum": 0.9})
    phase = Phase(1, 1, 1, 1.0)
    torch.manual_seed(0)
    head = Head(784, 3, spec.head)
    stack = HeadStack(HeadShape.of(spec, 784, 3), torch.device("cpu"), 1)
    optimizer = make_optimizer(spec.optimizer, head.parameters())
    place = stacked(0, spec, phase, 4, seed=0, done=0)
    stack.add(place, head, optimizer)
    order = [torch.arange(8)] * 4
    stack.begin(1, order)
    for number in range(4):
        features, labels = torch.randn(8, 784), torch.randint(0, 3, (8,))
        stack.train(number, features, labels)
        loss = CrossEntropy(3).mean(head(features), labels, spec.head.label_smoothing)
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = float(place.rates(4)[number])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    features = torch.randn(5, 784)
    torch.testing.assert_close(stack.predictions(features)[0], head(features).detach(), rtol=1e-4, atol=1e-5)


def test_images_are_brought_to_what_a_backbone_takes() -> None:
    grey = torch.rand(2, 1, 28, 28)
    assert torch.equal(as_input(grey, 28, 1), grey)
    wide = as_input(grey, 28, 3)
    assert wide.shape == (2, 3, 28, 28)
    assert torch.equal(wide[:, 0], wide[:, 2])
    assert as_input(grey, 64, 3).shape == (2, 3, 64, 64)
    torch.testing.assert_close(as_input(wide, 28, 1), grey)
