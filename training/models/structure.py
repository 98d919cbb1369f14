"""What a config says about shapes and shared work, and how the epochs are divided into phases."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces import Choice, Config, InputError, Integer, SearchSpace

from ..data.inputs import resolution_of
from .backbones import family_of


@dataclass(frozen=True)
class Structure:
    """The part of a config that decides shapes and shared work: trials of one structure can share it.

    `cut` counts the frozen stages of the backbone while the last phase trains. `views` is how many augmented views of
    an image take turns; 0 is a new one in every epoch.
    """

    backbone: str
    cut: int
    resolution: int
    batch_size: int
    augmentation: int
    views: int


@dataclass(frozen=True)
class Phase:
    """A run of epochs with one set of trained parameters: epochs `first` to `first + epochs - 1`."""

    first: int
    epochs: int
    cut: int
    rate_factor: float


def backbone_of(config: Config) -> str:
    """The backbone's name; of a network that begins with random weights, with what decides its shape."""
    name = str(config["backbone"])
    family = family_of(name)
    return name if family is None else family.name_of(name, config)


def from_scratch(config: Config) -> bool:
    """Whether all of the network that can be is trained, from random weights, in one phase."""
    return family_of(str(config["backbone"])) is not None


def structure_of(config: Config, stages: int) -> Structure:
    """The structure of `config` for a backbone of `stages` stages.

    More unfrozen stages than the backbone has means all of them, as does `"all"`.
    """
    family = family_of(str(config["backbone"]))
    unfrozen = config.get("unfrozen_stages", 0) if family is None else stages - family.FROZEN
    if isinstance(unfrozen, str):
        if unfrozen != "all":
            raise InputError(f"unfrozen_stages is a whole number or 'all', not {unfrozen!r}")
        unfrozen = stages
    augmentation = int(config.get("augmentation", 0))
    # Of what is trained whole nothing could be shared: its views are new ones in every epoch.
    views = int(config.get("views", 0)) if family is None else 0
    return Structure(
        backbone=backbone_of(config),
        cut=stages - min(int(unfrozen), stages),
        resolution=resolution_of(config),
        batch_size=int(config.get("batch_size", 32)),
        augmentation=augmentation,
        views=views if augmentation else 1,
    )


def phases_of(config: Config, structure: Structure, stages: int, epochs: int) -> tuple[Phase, ...]:
    """Head first with every stage frozen, then the last stages too, at `fine_tune_rate` times the rate.

    The second phase takes `fine_tune_share` of the epochs, rounded, and leaves at least one to the first; of a single
    epoch all belongs to the head.
    """
    if from_scratch(config):
        return (Phase(first=1, epochs=epochs, cut=structure.cut, rate_factor=1.0),)
    fine_tuned = 0
    if structure.cut < stages and epochs > 1:
        share = float(config.get("fine_tune_share", 0.5))
        fine_tuned = min(max(round(epochs * share), 1), epochs - 1)
    head = Phase(first=1, epochs=epochs - fine_tuned, cut=stages, rate_factor=1.0)
    if fine_tuned == 0:
        return (head,)
    factor = float(config.get("fine_tune_rate", 0.1))
    return (head, Phase(first=head.epochs + 1, epochs=fine_tuned, cut=structure.cut, rate_factor=factor))


# What `structure_of` reads.
_PARTS = (
    *("backbone", "unfrozen_stages", "resolution", "batch_size", "augmentation", "views"),
    *("conv_blocks", "conv_channels", "conv_kernel", "conv_norm", "residual_blocks", "residual_width"),
    *("ngram_words", "ngram_chars", "encoder_layers", "buckets", "embedding_width"),
)


def structure_part(config: Config) -> Config:
    """The values of `config` that decide its structure."""
    return {name: config[name] for name in _PARTS if name in config}


def most_unfrozen(space: SearchSpace) -> int:
    """The most stages that a config of `space` unfreezes, as far as it says so in numbers."""
    match space.dimensions.get("unfrozen_stages"):
        case Integer(_, high):
            return high
        case Choice(options):
            return max((option for option in options if isinstance(option, int)), default=0)
    return 0
