"""Our core as a training run has it: a runner of lanes on batches of a pass, whose pixels lie on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from training.data.splits import Split
from training.frozen.prefixes import Prefixes
from training.frozen.source import Pass, training_pass
from training.lanes.heads import HeadShape, HeadStack, stacked
from training.lanes.optimisation import make_optimizer
from training.lanes.suffix import SuffixTrainer
from training.models.backbones import build
from training.models.classifier import Head
from training.models.spec import Phase
from training.scoring.objectives import CrossEntropy

from .cases import CLASSES, INFERENCE, Case, Variant

Step = Callable[[], None]
# Photos that lie on the device; more make no difference to a step.
_IMAGES = 1024
# Of a phase, for the learning rate's schedule; its cosine goes on after them.
_EPOCHS = 100


def resident(case: Case, device: torch.device) -> Split:
    """Noise as photos, uint8 (n, R, R, 3), on the device, and labels; n is a multiple of the batch size."""
    generator = torch.Generator(device).manual_seed(0)
    count = max(1, _IMAGES // case.batch_size) * case.batch_size
    shape = (count, case.resolution, case.resolution, 3)
    return labelled(torch.randint(0, 256, shape, dtype=torch.uint8, device=device, generator=generator))


def labelled(images: Tensor, rows: Tensor | None = None) -> Split:
    """The photos `rows` (all of them unless given) of uint8 (n, R, R, 3), with labels that mean nothing."""
    rows = torch.arange(len(images)) if rows is None else rows
    labels = torch.randint(0, CLASSES, rows.shape, generator=torch.Generator().manual_seed(0))
    return Split(images, rows, labels, (), ("",) * len(rows))


class Core:
    """The runner of a case, as a group of lanes makes it, on a backbone with random weights.

    Its features are computed for each batch: nothing is kept.
    """

    def __init__(
        self,
        case: Case,
        variant: Variant,
        split: Split,
        strength: int,
        device: torch.device,
        prefixes: type[Prefixes] = Prefixes,
    ) -> None:
        """`strength` is that of our augmentation."""
        backbone = build(case.backbone)
        numerics = variant.numerics(case.precision)
        spec = case.spec(strength)
        stages = len(backbone.stages)
        self.case = case
        self.split = split
        self.structure = spec.structure(stages)
        self.prefixes = prefixes(backbones=lambda _: backbone, numerics=numerics, device=device)
        self._tick = 0
        batches = len(split) // case.batch_size
        phase = Phase(first=1, epochs=_EPOCHS, cut=self.structure.cut, rate_factor=1.0)
        head = Head(backbone.widths[-1], CLASSES, spec.head).to(device)
        loss = CrossEntropy(CLASSES)
        self.runner: HeadStack | SuffixTrainer
        if phase.cut == stages:
            shape = HeadShape.of(spec, backbone.widths[-1], CLASSES)
            self.runner = HeadStack(shape, device, stages, numerics, loss=loss)
            place = stacked(0, spec, phase, batches, seed=0, done=0)
            self.runner.add(place, head, make_optimizer(spec.optimizer, head.parameters()))
        else:
            self.runner = SuffixTrainer(
                0,
                spec,
                self.prefixes.backbone(case.backbone),
                head,
                phase,
                batches,
                seed=0,
                done=0,
                numerics=numerics,
                device=device,
                loss=loss,
                capture=variant.capture,
            )

    def epoch(self) -> Iterator[None]:
        """An epoch of training, step by step."""
        self._tick += 1
        way = training_pass(self.prefixes, self.structure, self.split, seed=0, epoch=self._tick)
        self.runner.begin(self._tick, way.order)
        for batch in way.batches():
            self.runner.step(batch)
            yield
        self.runner.end(len(self.split))

    def scoring(self) -> Iterator[None]:
        """The outputs for all photos as a scoring computes them, but in batches of the case's size."""
        for batch in self.unchanged().batches():
            self.runner.logits(batch)
            yield

    def unchanged(self) -> Pass:
        """A pass over all photos in their order, not augmented."""
        order = torch.split(torch.arange(len(self.split)), self.case.batch_size)
        return Pass(self.prefixes, self.structure, self.split, order, strength=0, view=0)


def step_of(case: Case, variant: Variant, split: Split, strength: int, device: torch.device) -> Step:
    """A step of `case` on the next batch of `split`, epoch after epoch."""
    core = Core(case, variant, split, strength, device)
    epoch = core.scoring if case.mode == INFERENCE else core.epoch
    steps = _endless(epoch)

    def step() -> None:
        next(steps)

    return step


def _endless(epoch: Callable[[], Iterator[None]]) -> Iterator[None]:
    while True:
        yield from epoch()
