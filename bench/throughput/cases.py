"""What is measured: cases, and the ways in which our core can compute each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces import Config
from search_spaces.benchmarks import plain_training
from training.lanes.captured import Capture
from training.models.numerics import Numerics
from training.models.spec import Spec, spec_of

TRAINING, INFERENCE = "training", "inference"
ALL = "all"
GRAPH = "graph"
# As many classes as ImageNet has, on which public figures of throughput are.
CLASSES = 1000


@dataclass(frozen=True)
class Case:
    """One amount of work. `depth` is how many of the last stages train, 0 to `all`; of no meaning in inference."""

    backbone: str
    resolution: int
    batch_size: int
    mode: str
    depth: str
    precision: str

    def config(self, strength: int) -> Config:
        """What the core trains, with augmentation of that strength."""
        unfrozen = ALL if self.depth == ALL else int(self.depth or 0)
        return plain_training(self.backbone, self.resolution, self.batch_size, unfrozen, strength)

    def spec(self, strength: int = 0) -> Spec:
        """The same, resolved."""
        return spec_of(self.config(strength))

    @property
    def trains_stages(self) -> bool:
        return self.mode == TRAINING and self.depth != "0"

    @property
    def work(self) -> str:
        """For people: what the case does."""
        if self.mode == INFERENCE:
            return INFERENCE
        depths = {"0": "head only", "1": "1 stage", ALL: "all stages"}
        return f"training, {depths.get(self.depth, f'{self.depth} stages')}"

    def __str__(self) -> str:
        return f"{self.backbone} {self.resolution} px, {self.work}, batch {self.batch_size}, {self.precision}"


@dataclass(frozen=True)
class Variant:
    """One way to compute a case; `capture` says whether a GPU replays the trained stages' steps as one CUDA graph."""

    channels_last: bool
    capture: Capture = Capture.NEVER

    @property
    def layout(self) -> str:
        return "channels_last" if self.channels_last else "NCHW"

    @property
    def name(self) -> str:
        return {Capture.NEVER: "eager", Capture.ALWAYS: GRAPH, Capture.MEASURED: "as measured"}[self.capture]

    def numerics(self, precision: str) -> Numerics:
        return Numerics(precision, self.channels_last)


def cases_of(
    backbones: Sequence[str],
    resolutions: Sequence[int],
    batch_sizes: Sequence[int],
    depths: Sequence[str],
    precisions: Sequence[str],
) -> list[Case]:
    """Every combination, in training at every depth and in inference."""
    return [
        Case(backbone, resolution, batch_size, mode, depth, precision)
        for backbone in backbones
        for resolution in resolutions
        for batch_size in batch_sizes
        for precision in precisions
        for mode, depth in (*((TRAINING, depth) for depth in depths), (INFERENCE, ""))
    ]
