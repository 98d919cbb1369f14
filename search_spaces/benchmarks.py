"""What benchmarks of speed train: configs and narrowed spaces, here because `bench` names no dimension."""

from __future__ import annotations

from collections.abc import Sequence

from .dimensions import Choice, Config, Float, Value
from .space import SearchSpace
from .task import Task
from .transfer import frozen_recipe

BACKBONE = "mobilenet_v2"
UNFROZEN = (BACKBONE,)
"""The backbones whose robustness is measured with unfrozen stages too."""
DEPTHS = (0, 1, 2, 3)
"""How many stages the configs of a search train."""
ONLY_HEADS = ("unfrozen_stages=0",)
LINEAR_HEADS = (*ONLY_HEADS, "batch_size=32", "augmentation=0", "optimizer=adamw", "head_width=0")
NO_DROPOUT = ("dropout=0.0",)


def fixed_values(task: Task, resolution: int, assignments: Sequence[str] = ()) -> Config:
    """The dimensions that all configs share, from their values and further `dim=value`, of which the last counts.

    Raises:
        InputError: a dimension is unknown or a value lies outside it.
    """
    fixed: Config = {}
    for assignment in (f"backbone={BACKBONE}", f"resolution={resolution}", *assignments):
        fixed |= task.space.parse([assignment])
    task.space.fix(fixed)
    return fixed


def robustness_configs(
    backbones: Sequence[str], resolutions: Sequence[int], unfrozen: Sequence[str] = UNFROZEN
) -> list[Config]:
    """What may decide how a model fares on other people's photos: heads on frozen features by augmentation, width,
    dropout and rate, and after them, at the lowest resolution, those backbones that are in `unfrozen` with their last
    stages unfrozen."""
    plain: Config = {"learning_rate": 3e-3, "views": 2}
    heads: list[Config] = [
        {"head_width": width, "dropout": dropout, "learning_rate": rate}
        for width in (0, 512)
        for dropout in (0.0, 0.5)
        for rate in (1e-3, 1e-2)
    ]
    depths: list[Config] = [
        {"unfrozen_stages": depth, "fine_tune_share": 0.5, "fine_tune_rate": 0.1, "batch_norm": "pretrained"}
        for depth in (2, 5)
    ]
    frozen = [
        frozen_recipe(backbone, resolution) | plain | {"augmentation": strength} | head
        for resolution in resolutions
        for backbone in backbones
        for strength in (0, 2, 4)
        for head in heads
    ]
    deeper = [
        frozen_recipe(backbone, min(resolutions)) | plain | {"augmentation": strength} | depth
        for backbone in backbones
        if backbone in unfrozen
        for strength in (0, 2)
        for depth in depths
    ]
    return [*frozen, *deeper]


def narrowed(space: SearchSpace) -> SearchSpace:
    """`space` with rates at which a trial learns within a few epochs."""
    return space.replace(learning_rate=Float(1e-3, 1e-2, log=True), fine_tune_rate=Float(0.01, 0.3, log=True))


def at_depth(space: SearchSpace, depth: int) -> SearchSpace:
    """`space` with `depth` stages that train."""
    return space.replace(unfrozen_stages=Choice(depth))


def expert_space(task: Task) -> SearchSpace:
    """The whole space of a task of photos, as far as the loop of an expert goes: one backbone, new views always."""
    return task.space.fix({"backbone": BACKBONE, "views": 0})


def task_of(config: Config) -> Task:
    """A task of photos whose space is nothing but `config`."""
    return Task(
        name="plain",
        title="what a benchmark trains",
        modality="image",
        classes=(),
        sources=(),
        metric="accuracy",
        direction="maximize",
        target=None,
        recipe_origin="a benchmark",
        recipe=config,
        space=SearchSpace({name: Choice(value) for name, value in config.items()}),
    )


def plain_training(backbone: str, resolution: int, batch_size: int, unfrozen: Value, augmentation: int = 0) -> Config:
    """SGD at one rate; batch-norm computes its statistics, as it does in torchvision's own training script.

    Every epoch sees new views, and every epoch but the first trains the unfrozen stages.
    """
    return {
        "backbone": backbone,
        "resolution": resolution,
        "batch_size": batch_size,
        "unfrozen_stages": unfrozen,
        "augmentation": augmentation,
        "views": 0,
        "fine_tune_share": 1.0,
        "batch_norm": "batch",
        "optimizer": "sgd",
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
    }


def settled_configs(backbones: Sequence[str], smoothing: Sequence[float]) -> list[Config]:
    """Linear heads on frozen features of each of the backbones, then the first backbone with four stages trained: with
    AdamW and with SGD, at every degree of label smoothing. Rates are such as searches found good."""
    adamw: Config = {"optimizer": "adamw", "learning_rate": 3e-3}
    sgd: Config = {"optimizer": "sgd", "momentum": 0.92, "learning_rate": 0.013}
    stages: Config = {"unfrozen_stages": 4, "fine_tune_share": 0.5, "fine_tune_rate": 0.3, "batch_norm": "pretrained"}
    chosen = [frozen_recipe(backbone) | optimizer for backbone in backbones for optimizer in (adamw, sgd)]
    chosen += [frozen_recipe(backbones[0]) | optimizer | stages for optimizer in (adamw, sgd)]
    return [config | {"label_smoothing": degree} for config in chosen for degree in smoothing]


def tie_break_configs(backbones: Sequence[str], only_heads: Sequence[str], found: Sequence[Config]) -> list[Config]:
    """What a search may end with: linear heads on frozen features of each backbone, those in `backbones` with two and
    with four stages trained, and those among the `found` configs that train stages with AdamW, at their rate and at
    half of it."""
    rates: list[Config] = [{"learning_rate": 3e-3}, {"learning_rate": 1e-2, "label_smoothing": 0.1}]
    stages: Config = {"fine_tune_share": 0.5, "fine_tune_rate": 0.3, "batch_norm": "pretrained", "learning_rate": 3e-3}
    heads = [
        frozen_recipe(backbone, resolution) | rate
        for backbone in (*backbones, *only_heads)
        for resolution in (160, 224)
        for rate in rates
    ]
    deeper = [frozen_recipe(backbone, 160) | stages | {"unfrozen_stages": k} for backbone in backbones for k in (2, 4)]
    of_searches = [
        config | {"learning_rate": float(str(config["learning_rate"])) * factor}
        for config in found
        if config["optimizer"] == "adamw" and config["unfrozen_stages"]
        for factor in (1.0, 0.5)
    ]
    return [*heads, *deeper, *of_searches]
