"""A config as the training core takes it: resolved once, here, into parts that are frozen and typed.

Below `resolve` nobody reads a config by its keys. Each field names its dimension and holds its default, so that a new
dimension is a new field. What `InputSpec` and `BackboneSpec` hold, shapes of networks included, decides the structure
of a run; the other parts are a lane's own (docs/decisions/0015).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from typing import Any

from search_spaces import Choice, Config, InputError, Integer, SearchSpace, Task, Value

from .backbones import family_of, image_side
from .dimensions import dimension, dimensions_of, from_config, updated

BACKBONE = "backbone"
BATCH_SIZE = "batch_size"
UNFROZEN = "unfrozen_stages"
SGD, ADAMW = "sgd", "adamw"
FINE_TUNE_KEPT = 0.75
"""Of the way from a pretrained backbone under a trained head to the fine-tuned model (docs/decisions/0032)."""
EVERY_STAGE = sys.maxsize
"""More stages than any backbone has."""


def stages_of(value: Value) -> int:
    if not isinstance(value, str):
        return int(value)
    if value != "all":
        raise InputError(f"{UNFROZEN} is a whole number or 'all', not {value!r}")
    return EVERY_STAGE


def _is_pretrained(value: Value) -> bool:
    return value == "pretrained"


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a network sees of an example, and how many at once.

    Attributes:
        resolution: of images, in pixels a side; 0 where there is none.
        augmentation: its strength, 0 is none.
        views: how many augmented views of an example take turns; 0 is a new one in every epoch, and 1 goes with no
            augmentation.
    """

    resolution: int = dimension("resolution", int, 0)
    batch_size: int = dimension(BATCH_SIZE, int, 32)
    augmentation: int = dimension("augmentation", int, 0)
    views: int = dimension("views", int, 0)

    @property
    def further(self) -> str:
        """What else, besides size and augmentation, decides how an example looks to the first stage; "" for nothing.

        It is part of the key of every kept output. A field that is added to this class enters the key by itself where
        it differs from its default, so outputs that were kept before it existed stay valid.
        """
        payload = ("resolution", "augmentation", "batch_size", "views")
        values = {field: getattr(self, field.name) for field in fields(self) if field.name not in payload}
        return ", ".join(f"{field.name} {value}" for field, value in values.items() if value != field.default)


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """A backbone, and how many of its last stages train in the end.

    Attributes:
        name: as `build` takes it; of a network that begins with random weights, with everything that decides its shape.
        unfrozen: if there are fewer stages, all of them train. A network that begins with random weights ignores it
            and trains everything that can be trained.
    """

    name: str = dimension(BACKBONE, str)
    unfrozen: int = dimension(UNFROZEN, stages_of, 0)

    @property
    def from_scratch(self) -> bool:
        """Whether all of the network that can be is trained, from random weights."""
        return family_of(self.name) is not None

    def cut(self, stages: int) -> int:
        """How many of the backbone's `stages` stay frozen while the last phase trains."""
        if (family := family_of(self.name)) is not None:
            return family.FROZEN
        return max(stages - self.unfrozen, 0)


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """The new classifier: `layers` hidden layers of `width` units, or none where `width` is 0.

    `dropout` is the share of a layer's inputs that is dropped; `label_smoothing` is the share of each label that is
    spread evenly over all classes.
    """

    width: int = dimension("head_width", int, 0)
    layers: int = dimension("head_layers", int, 1)
    dropout: float = dimension("dropout", float, 0.0)
    label_smoothing: float = dimension("label_smoothing", float, 0.0)

    @property
    def hidden(self) -> tuple[int, ...]:
        """The widths of the hidden layers."""
        return (self.width,) * self.layers if self.width else ()


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """How weights are updated: AdamW, or SGD with Nesterov momentum. `learning_rate` is the schedule's peak.

    Raises:
        InputError: there is no optimizer of that name.
    """

    learning_rate: float = dimension("learning_rate", float)
    name: str = dimension("optimizer", str, ADAMW)
    weight_decay: float = dimension("weight_decay", float, 0.0)
    momentum: float = dimension("momentum", float, 0.9)

    def __post_init__(self) -> None:
        if self.name not in (SGD, ADAMW):
            raise InputError(f"unknown optimizer {self.name!r}: {SGD} or {ADAMW}")


@dataclass(frozen=True)
class Phase:
    """A run of epochs with one set of trained parameters: epochs `first` to `first + epochs - 1`.

    The first `cut` stages are frozen; the learning rate is multiplied by `rate_factor`. `kept` is the share of the way
    from the parameters before the phase to those after it at which the model stays in the end.
    """

    first: int
    epochs: int
    cut: int
    rate_factor: float
    kept: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """Which parts of the model train when.

    Attributes:
        fine_tune_share: the share of the epochs in which the last stages train too.
        fine_tune_rate: the factor of the learning rate in these epochs.
        keeps_statistics: whether batch-norm keeps its pretrained statistics in stages that train
            (docs/decisions/0005).
        head_first: whether the head trains alone at first, or everything trains from the first epoch.
        fine_tune_kept: what is kept of the way that stages and head went together (docs/decisions/0032).
    """

    fine_tune_share: float = dimension("fine_tune_share", float, 0.5)
    fine_tune_rate: float = dimension("fine_tune_rate", float, 0.1)
    keeps_statistics: bool = dimension("batch_norm", _is_pretrained, True)
    head_first: bool = True
    fine_tune_kept: float = FINE_TUNE_KEPT

    def phases(self, cut: int, stages: int, epochs: int) -> tuple[Phase, ...]:
        """The phases of `epochs` epochs of a backbone with `stages` stages, of which `cut` stay frozen.

        First the head with every stage frozen, then the last stages too. The second phase takes its share of the
        epochs, rounded, and leaves at least one to the first; a single epoch belongs to the head.
        """
        if not self.head_first:
            return (Phase(first=1, epochs=epochs, cut=cut, rate_factor=1.0),)
        fine_tuned = 0
        if cut < stages and epochs > 1:
            fine_tuned = min(max(round(epochs * self.fine_tune_share), 1), epochs - 1)
        head = Phase(first=1, epochs=epochs - fine_tuned, cut=stages, rate_factor=1.0)
        if fine_tuned == 0:
            return (head,)
        tuned = Phase(head.epochs + 1, fine_tuned, cut, rate_factor=self.fine_tune_rate, kept=self.fine_tune_kept)
        return (head, tuned)


@dataclass(frozen=True)
class Structure:
    """What runs must have in common to share work: shapes, and what is computed from the inputs.

    `cut` counts the frozen stages of the backbone while the last phase trains.
    """

    backbone: str
    cut: int
    input: InputSpec

    @property
    def resolution(self) -> int:
        return self.input.resolution

    @property
    def batch_size(self) -> int:
        return self.input.batch_size

    @property
    def augmentation(self) -> int:
        return self.input.augmentation

    @property
    def views(self) -> int:
        return self.input.views


@dataclass(frozen=True)
class Spec:
    """Everything that training needs to know about a config. Equal specs and one seed give equal results."""

    input: InputSpec
    backbone: BackboneSpec
    head: HeadSpec
    optimizer: OptimizerSpec
    schedule: ScheduleSpec

    def structure(self, stages: int) -> Structure:
        """The structure with a backbone of `stages` stages."""
        return Structure(self.backbone.name, self.backbone.cut(stages), self.input)

    def phases(self, stages: int, epochs: int) -> tuple[Phase, ...]:
        """The phases of `epochs` epochs with a backbone of `stages` stages."""
        return self.schedule.phases(self.backbone.cut(stages), stages, epochs)


@dataclass(frozen=True)
class Run:
    """What is trained, and the identity of a result: another seed is another run."""

    spec: Spec
    seed: int


def resolve(task: Task, config: Config) -> Spec:
    """`config` as the training core takes it.

    Raises:
        InputError: the config is outside the task's space, or says what can't be trained.
    """
    return spec_of(task.space.validate(config))


def spec_of(config: Config) -> Spec:
    """As `resolve`, of a config that was checked against its task's space before, as that of a checkpoint was.

    Raises:
        InputError: the config says what can't be trained.
    """
    backbone = _backbone(config)
    return Spec(
        input=_input(config, backbone),
        backbone=backbone,
        head=from_config(HeadSpec, config),
        optimizer=from_config(OptimizerSpec, config),
        schedule=_schedule(config, backbone),
    )


def structure_part(config: Config) -> Config:
    """The values of `config` that decide its structure."""
    deciding: list[Any] = [InputSpec, BackboneSpec]
    if (shape := _shape(str(config.get(BACKBONE)))) is not None:
        deciding.append(shape)
    names = {name for part in deciding for name in dimensions_of(part).values()}
    return {name: value for name, value in config.items() if name in names}


def needs_no_less(config: Config, other: Config) -> bool:
    """Whether a run of `config` needs no less memory than one of `other`: the same structure, with batches that are no
    smaller."""
    ours, theirs = structure_part(config), structure_part(other)
    if BATCH_SIZE not in ours or BATCH_SIZE not in theirs or ours.keys() != theirs.keys():
        return False
    same = all(value == theirs[name] for name, value in ours.items() if name != BATCH_SIZE)
    return same and int(ours[BATCH_SIZE]) >= int(theirs[BATCH_SIZE])


def most_unfrozen(space: SearchSpace) -> int:
    """The most stages that a config of `space` unfreezes, as far as it says so in numbers."""
    match space.dimensions.get(UNFROZEN):
        case Integer(_, high):
            return high
        case Choice(options):
            return max((option for option in options if isinstance(option, int)), default=0)
    return 0


def _backbone(config: Config) -> BackboneSpec:
    spec = from_config(BackboneSpec, config)
    family, shape = family_of(spec.name), _shape(spec.name)
    if family is None or shape is None:
        return spec
    return replace(spec, name=family.name_of(updated(shape, config)))


def _shape(name: str) -> Any:
    """The shape of a network that begins with random weights as far as its name says it; None of other backbones."""
    family = family_of(name)
    return None if family is None else family.shape_of(name)


def _input(config: Config, backbone: BackboneSpec) -> InputSpec:
    spec = from_config(InputSpec, config)
    if not spec.resolution:
        spec = replace(spec, resolution=image_side(backbone.name))
    if not spec.augmentation:
        return replace(spec, views=1)
    # Nothing of a network that is trained whole could be shared: it sees new views in every epoch.
    return replace(spec, views=0) if backbone.from_scratch else spec


def _schedule(config: Config, backbone: BackboneSpec) -> ScheduleSpec:
    spec = from_config(ScheduleSpec, config)
    return replace(spec, head_first=False, keeps_statistics=False) if backbone.from_scratch else spec
