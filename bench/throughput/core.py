"""Our core as a search runs it: bytes that lie on the device, augmented, normalised and trained on in batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.data.augment import DRAWS, augment
from training.data.batches import to_floats
from training.lanes.optimisation import make_optimizer
from training.models.backbones import build
from training.models.backbones.chains import chains_of
from training.models.backbones.folding import folded_stages
from training.models.backbones.quick import quickened
from training.models.classifier import Classifier, Head
from training.scoring.objectives import CrossEntropy

from .cases import CLASSES, INFERENCE, Case, Variant

Step = Callable[[], None]
# Photos that lie on the device; more make no difference to a step.
_IMAGES = 1024
# Steps before a capture, on a stream of their own, as torch.cuda.graph asks for.
_BEFORE_CAPTURE = 3


@dataclass(frozen=True, eq=False)
class Resident:
    """Noise as photos, uint8 (n, R, R, 3), and labels (n,), on the device; n is a multiple of the batch size."""

    images: Tensor
    labels: Tensor


def resident(case: Case, device: torch.device) -> Resident:
    chance = torch.Generator(device).manual_seed(0)
    count = max(1, _IMAGES // case.batch_size) * case.batch_size
    shape = (count, case.resolution, case.resolution, 3)
    return Resident(
        torch.randint(0, 256, shape, dtype=torch.uint8, device=device, generator=chance),
        torch.randint(0, CLASSES, (count,), device=device, generator=chance),
    )


class Core:
    """The classifier of a case with random weights, and its optimizer."""

    def __init__(self, case: Case, variant: Variant, strength: int, device: torch.device) -> None:
        backbone = build(case.backbone)
        self.spec = case.spec
        self.cut = self.spec.backbone.cut(len(backbone.stages))
        self._numerics = variant.numerics(case.precision)
        self._strength = strength
        self._device = device
        # As a search has them: what is frozen is folded (`Prefixes`), what trains is its own (`SuffixTrainer`).
        frozen = len(backbone.stages) if case.mode == INFERENCE else self.cut
        trained = backbone.stages[frozen:]
        quick = folded_stages(backbone)[:frozen]
        if variant.channels_last and device.type == "cpu":
            chains = chains_of(backbone)[frozen:]
            trained = tuple(quickened(stage, mine) for stage, mine in zip(trained, chains, strict=True))
        stages = (*quick, *trained)
        head = Head(backbone.widths[-1], CLASSES, self.spec.head)
        self.model = self._numerics.place(Classifier(replace(backbone, stages=stages), self.spec, head), device)
        self.optimizer = make_optimizer(self.spec.optimizer, self.model.freeze(self.cut))
        if case.mode == INFERENCE:
            self.model.eval()

    def loss(self, pixels: Tensor, labels: Tensor, draws: Tensor) -> Tensor:
        """From bytes (N, R, R, 3) to the mean loss; frozen stages without autograd."""
        with torch.no_grad():
            images = self._images(pixels, draws)
        with self._numerics.autocast(self._device):
            with torch.no_grad():
                activations = self.model.prefix(images, self.cut)
            features = self.model.suffix(activations, self.cut)
        return CrossEntropy(CLASSES).mean(self.model.head(features), labels, self.spec.head.label_smoothing)

    def logits(self, pixels: Tensor) -> Tensor:
        """From bytes (N, R, R, 3), not augmented, to logits (N, CLASSES)."""
        images = self._images(pixels, None)
        with self._numerics.autocast(self._device):
            features = self.model.suffix(images, 0)
        out: Tensor = self.model.head(features)
        return out

    def _images(self, pixels: Tensor, draws: Tensor | None) -> Tensor:
        images = to_floats(pixels, self._device)
        if draws is not None:
            images = augment(images, self._strength, draws)
        return self.model.normalise(images).contiguous(memory_format=self._numerics.memory_format)


def updating(core: Core, compiled: bool) -> Callable[[Tensor, Tensor], None]:
    """One step of training on bytes and labels that lie on the device."""
    loss_on = torch.compile(core.loss, dynamic=False) if compiled else core.loss

    def update(pixels: Tensor, labels: Tensor) -> None:
        loss = loss_on(pixels, labels, torch.rand(len(pixels), DRAWS, device=labels.device))
        core.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        core.optimizer.step()

    return update


def step_of(case: Case, variant: Variant, data: Resident, strength: int, device: torch.device) -> Step:
    """A step of `case` on the next batch of `data`, whose order is shuffled anew in every epoch, on the device."""
    core = Core(case, variant, strength, device)
    batches = _Batches(data, case.batch_size)
    if case.mode == INFERENCE:
        logits_of = torch.compile(core.logits, dynamic=False) if variant.compiled else core.logits

        @torch.inference_mode()
        def run() -> None:
            logits_of(data.images[batches.index])
    else:
        update = updating(core, variant.compiled)

        def run() -> None:
            update(data.images[batches.index], data.labels[batches.index])

    replayed = _captured(run) if variant.captured else run

    def step() -> None:
        batches.advance()
        replayed()

    return step


class _Batches:
    """Positions of the examples of a batch, always in the same tensor: a graph reads from where it was captured."""

    def __init__(self, data: Resident, batch_size: int) -> None:
        self._order = torch.randperm(len(data.labels), device=data.labels.device)
        self._start = 0
        self.index = self._order[:batch_size].clone()

    def advance(self) -> None:
        if self._start == len(self._order):
            torch.randperm(len(self._order), out=self._order)
            self._start = 0
        self.index.copy_(self._order[self._start : self._start + len(self.index)])
        self._start += len(self.index)


def _captured(run: Step) -> Step:
    """`run` as one CUDA graph: kernels are launched at once, by the device itself."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_BEFORE_CAPTURE):
            run()
        # A step that waits for the device can't be captured, and to fail in the midst of it leaves torch's random state
        # unusable. It fails here instead.
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay
