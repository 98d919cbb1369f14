"""What a proposed run will cost, in seconds, before it starts."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from search_spaces import Choice, Config, Integer, Task

from ..data import Data, keys_of
from ..data.modalities import modality_for
from ..frozen.plan import SHARE, KeepPlan
from ..frozen.store import PrefixStore
from ..frozen.views import view_at
from ..models.backbones import Backbone, needs_weights
from ..models.dimensions import dimensions_of, from_config
from ..models.kernels import REVISION
from ..models.numerics import Numerics
from ..models.spec import HeadSpec, InputSpec, Phase, Spec, Structure, most_unfrozen, resolve
from ..scoring.racing import FOLDS
from .cross_validation import SHARE as RACE
from .speeds import SpeedFile, Speeds, measure_speeds

# Seconds that changing a photo takes.
_CHANGING = 1.5e-3
# Of heads, on two cores of a Xeon (docs/log.md): an epoch besides its steps, a step besides its weights, a weight in a
# step (it and its moments are read and written), and a weight for an example.
_EPOCH, _STEP, _WEIGHT, _PRODUCT = 1.4e-2, 3.5e-4, 1.5e-9, 2.4e-11
# Of a split, whether so many examples are kept says whether all are.
_ASKED = 16
# A race repeats its folds so often, on average.
_REPEATS = 1.5
# Of a group besides all that is counted: proposals, records, the evaluation of its metrics.
_GROUP = 0.3

Output = tuple[str, int, str, int, int, int]
"""Which output of frozen stages: backbone, resolution, what else is done to images, strength, view, cut."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a group of runs by kind of work: `inputs` are decoded, the `prefix` is what frozen stages compute for
    what is not kept yet, `train` the steps of heads and of the stages that train, `scored` what these stages compute
    for the validation examples after every epoch, `shifted` the scores on changed photos, and `race` cross-validation,
    where these are asked of those that are complete."""

    inputs: float
    prefix: float
    train: float
    shifted: float = 0.0
    race: float = 0.0
    scored: float = 0.0
    fixed: float = _GROUP
    train_factor: float = 1.0
    """By which `train` was corrected."""

    @property
    def seconds(self) -> float:
        return self.inputs + self.prefix + self.train + self.scored + self.shifted + self.race + self.fixed


class CostModel:
    """Predicts from the speeds of stages, from what is kept already, and from how earlier predictions came out.

    Args:
        counts: examples in `train` and in `valid`.
        backbones: how a backbone is got by its name.
        store: where outputs are kept; None where nothing is.
    """

    def __init__(
        self,
        task: Task,
        data: Data,
        *,
        epochs: int,
        seed: int,
        numerics: Numerics,
        device: torch.device,
        backbones: Callable[[str], Backbone],
        store: PrefixStore | None,
    ) -> None:
        self._task = task
        self._data = data
        self._train, self._valid = (sum(data.counts[split].values()) for split in ("train", "valid"))
        self._epochs, self._seed = epochs, seed
        self._numerics, self._device = numerics, device
        self._backbones = backbones
        self._room = 0 if store is None else store.disk_limit // SHARE
        self._store = store
        self._unfrozen = most_unfrozen(task.space)
        self._file = SpeedFile(device, numerics)
        # Of the training and of the validation examples.
        self._outputs = _kept_in(store, str(numerics), device, data)
        self._decoded: set[int] = set()
        # Seconds that reading an example takes, by resolution.
        self._reading: dict[int, float] = {}
        # The cuts at which outputs of changed photos are kept, by backbone and resolution.
        self._shifted: dict[tuple[str, int], set[int]] = {}
        self._forms = modality_for(task.modality, data.location).forms

    def predict(
        self,
        config: Config,
        lanes: int = 1,
        *,
        robust: bool = False,
        cross_validate: bool = False,
        heads: Sequence[Config] = (),
    ) -> Cost:
        """Of `lanes` runs of the structure of `config` side by side.

        `robust` and `cross_validate` as in `Job`. What `heads` say of the lanes' heads is taken into account; without
        them they are like that of `config`, or of middling size where it says nothing of its head.

        Raises:
            InputError: the backbone's weights can't be read.
        """
        spec = resolve(self._task, self._completed(config))
        speeds = self._speeds(spec).at(spec.input.resolution)
        structure = spec.structure(len(speeds.forward))
        inputs = self._inputs_seconds(structure)
        prefix = self._prefix(spec, structure, speeds)[0] * speeds.factor("prefix")
        weights = statistics.fmean(self._weights(each, speeds) for each in heads or (config,))
        train = self._train_seconds(spec, structure, speeds, lanes, weights)
        train *= (factor := speeds.factor(_kind(structure, speeds)))
        heads_only = structure.cut >= len(speeds.forward)
        race = shifted = 0.0
        if cross_validate and heads_only and not structure.augmentation:
            # Each fold trains on all others; a step of few heads takes hardly less than one of many.
            folds = _REPEATS * (FOLDS - 1) * (self._train + self._valid) / self._train
            least = self._train_seconds(spec, structure, speeds, 1, 0.0)
            race = (RACE * train + folds * least) * speeds.factor("race")
        if robust:
            # Heads share the features of the changed photos; each lane with stages of its own computes its own.
            shifted = self._shifted_seconds(structure, speeds) * (1 if heads_only else lanes)
            shifted *= speeds.factor("prefix")
        scored = self._scored_seconds(spec, speeds, lanes) * speeds.factor("prefix")
        return Cost(inputs, prefix, train, shifted, race, scored, train_factor=factor)

    def seconds_in_turn(self, groups: Iterable[tuple[Config, int]]) -> list[float]:
        """Of each of some groups that train one after another, of a config's structure and so many lanes: what one
        computes and keeps, the next ones read."""
        outputs, decoded = self._outputs, self._decoded
        seconds = []
        try:
            for config, lanes in groups:
                seconds.append(self.predict(config, lanes).seconds)
                self._did(config)
        finally:
            self._outputs, self._decoded = outputs, decoded
        return seconds

    def learn(self, config: Config, predicted: Cost, preparing: float, train: float, *, robust: bool = False) -> None:
        """What a group of runs like `config` took: seconds of its `train` steps, and of all else."""
        spec = resolve(self._task, self._completed(config))
        speeds = self._speeds(spec)
        structure = spec.structure(len(speeds.forward))
        self._did(config)
        if robust:
            shifted = self._shifted.setdefault((structure.backbone, structure.resolution), set())
            shifted |= {structure.cut, self._plan(structure, speeds, train=False).base or structure.cut}
        # Each is corrected only where it was the most of what is not training: else the rest says nothing about it.
        computed, others = predicted.prefix + predicted.shifted, predicted.inputs + predicted.scored + predicted.fixed
        for kind, part, rest in (
            ("prefix", computed, others + predicted.race),
            ("race", predicted.race, others + computed),
        ):
            if part > rest:
                speeds = speeds.corrected(kind, part, max(preparing - rest, preparing / 10))
        # Others may have moved the correction since.
        moved = speeds.factor(kind := _kind(structure, speeds)) / predicted.train_factor
        speeds = speeds.corrected(kind, predicted.train * moved, train)
        self._file.put(spec.backbone.name, speeds)
        self._file.save()

    def look(self, config: Config) -> None:
        """A group of runs like `config` ended early: what of it is there is read from the store."""
        # Beside what lies in memory alone.
        found = _kept_in(self._store, str(self._numerics), self._device, self._data)
        self._outputs = {train: self._outputs[train] | outputs for train, outputs in found.items()}
        self._decoded = self._decoded | {resolve(self._task, self._completed(config)).input.resolution}

    def is_kept(self, config: Config) -> bool:
        """Whether all that frozen stages give for `config` is there."""
        spec = resolve(self._task, self._completed(config))
        speeds = self._speeds(spec)
        return self._prefix(spec, spec.structure(len(speeds.forward)), speeds)[0] == 0.0

    # ---

    def _did(self, config: Config) -> None:
        """Counts what runs like `config` decode and keep as there."""
        spec = resolve(self._task, self._completed(config))
        structure = spec.structure(len(self._speeds(spec).forward))
        _, self._outputs = self._prefix(spec, structure, self._speeds(spec))
        self._decoded = self._decoded | {structure.resolution}

    def _completed(self, config: Config) -> Config:
        return self._task.space.adapt({**config})[0]

    def _speeds(self, spec: Spec) -> Speeds:
        name = spec.backbone.name
        if (known := self._file.get(name)) is None:
            backbone = self._backbones(name)
            known = measure_speeds(backbone, self._example(spec, backbone), self._numerics, self._device)
            self._file.put(name, known)
            self._file.save()
        return known

    def _example(self, spec: Spec, backbone: Backbone) -> torch.Tensor:
        """Something like what the first stage takes. Photos need not be decoded for it."""
        if backbone.preprocessing is not None:
            # Small images are quickly measured; larger ones follow from their area.
            side = min(self._sides, default=spec.input.resolution)
            return torch.rand((1, len(backbone.preprocessing.mean), side, side))
        split = self._data.at(spec.input.resolution).train
        return split.inputs[split.rows[:1]]

    @cached_property
    def _sides(self) -> tuple[int, ...]:
        dimension = self._task.space.dimensions.get(dimensions_of(InputSpec)["resolution"])
        if isinstance(dimension, Integer):
            return dimension.low, dimension.high
        return tuple(int(side) for side in dimension.options) if isinstance(dimension, Choice) else ()

    def _inputs_seconds(self, structure: Structure) -> float:
        if not structure.resolution or structure.resolution in self._decoded:
            return 0.0
        if any(resolution == structure.resolution for _, resolution, *_ in self._outputs[True]):
            return 0.0
        if structure.resolution not in self._reading:
            self._reading[structure.resolution] = self._data.reading_seconds(structure.resolution)
        return self._reading[structure.resolution] * (self._train + self._valid)

    def _plan(self, structure: Structure, speeds: Speeds, *, train: bool) -> KeepPlan:
        stages = len(speeds.forward)
        return KeepPlan(
            stages=stages,
            row_bytes=speeds.row_bytes,
            examples=self._train if train else self._valid,
            views=structure.views if train and structure.augmentation else 1,
            first=max(min(structure.cut, stages - self._unfrozen), 1),
            room=self._room,
            possible=self._store is not None,
            pretrained=needs_weights(structure.backbone),
        )

    def _views(self, structure: Structure, phase: Phase) -> set[int | None]:
        epochs = range(phase.first, phase.first + phase.epochs)
        return {view_at(structure, epoch, self._seed) for epoch in epochs}

    def _prefix(self, spec: Spec, structure: Structure, speeds: Speeds) -> tuple[float, dict[bool, set[Output]]]:
        """Seconds of the frozen stages, and which outputs are there afterwards, those included that others are computed
        from."""
        stages = len(speeds.forward)
        phases = spec.phases(stages, self._epochs)
        seconds, after = 0.0, {}
        for train, examples in ((True, self._train), (False, self._valid)):
            there = after[train] = set(self._outputs[train])
            plan = self._plan(structure, speeds, train=train)
            strength = structure.augmentation if train else 0
            output = (structure.backbone, structure.resolution, structure.input.further, strength)
            # The deepest first, as in training: on the way to it the base is kept.
            for phase in sorted(phases, key=lambda phase: phase.cut, reverse=True):
                cut = phase.cut
                if cut == 0:
                    continue
                views = self._views(structure, phase) if strength else {0}
                if not plan.kept(cut) or None in views:
                    source = plan.source(cut)
                    seconds += sum(speeds.forward[source:cut]) * examples * phase.epochs
                    cut = source
                for view in views if cut else ():
                    seconds += examples * self._missing(plan, speeds, (*output, view or 0), cut, there)
        return seconds, after

    def _shifted_seconds(self, structure: Structure, speeds: Speeds) -> float:
        """Of one lane's scores on the changed forms of the validation photos."""
        stages = len(speeds.forward)
        cut = min(structure.cut, stages)
        kept = [each for each in self._shifted.get((structure.backbone, structure.resolution), ()) if each <= cut]
        changing = 0.0 if kept else _CHANGING
        return self._forms * self._valid * (changing + sum(speeds.forward[max(kept, default=0) :]))

    def _missing(
        self, plan: KeepPlan, speeds: Speeds, output: tuple[str, int, str, int, int], cut: int, there: set[Output]
    ) -> float:
        """Seconds an example until the output at `cut` is there; it is, from then on."""
        if (*output, cut) in there:
            return 0.0
        source = plan.source(cut, lambda below: (*output, below) in there)
        seconds = sum(speeds.forward[source:cut])
        if source:
            seconds += self._missing(plan, speeds, output, source, there)
        there.add((*output, cut))
        return seconds

    def _weights(self, config: Config, speeds: Speeds) -> float:
        """Of the head that `config` asks for; of all that it may be where that is left open."""
        width = dimensions_of(HeadSpec)["width"]
        options = getattr(self._task.space.dimensions.get(width), "options", ())
        configs = [config] if width in config or not options else [config | {width: option} for option in options]
        outputs = max(len(self._data.classes), 1)
        found = []
        for each in configs:
            hidden = from_config(HeadSpec, self._completed(each)).hidden
            widths = (speeds.row_bytes[-1] // torch.float32.itemsize, *hidden, outputs)
            found.append(sum(a * b for a, b in itertools.pairwise(widths)))
        return statistics.fmean(found)

    def _train_seconds(self, spec: Spec, structure: Structure, speeds: Speeds, lanes: int, weights: float) -> float:
        stages = len(speeds.forward)
        batches = -(-self._train // structure.batch_size)
        seconds = 0.0
        for phase in spec.phases(stages, self._epochs):
            together = lanes * weights
            head = _EPOCH + batches * (_STEP + together * _WEIGHT) + self._train * together * _PRODUCT
            seconds += phase.epochs * head
            if phase.cut < stages:
                seconds += phase.epochs * lanes * self._train * sum(speeds.train[phase.cut :])
        return seconds

    def _scored_seconds(self, spec: Spec, speeds: Speeds, lanes: int) -> float:
        phases = spec.phases(len(speeds.forward), self._epochs)
        return lanes * self._valid * sum(phase.epochs * sum(speeds.forward[phase.cut :]) for phase in phases)


def _kind(structure: Structure, speeds: Speeds) -> str:
    """What the correction of training steps goes by: heads alone, or so many stages too."""
    trained = len(speeds.forward) - structure.cut
    return f"stages {trained}" if trained > 0 else "heads"


def _kept_in(store: PrefixStore | None, numerics: str, device: torch.device, data: Data) -> dict[bool, set[Output]]:
    """What the store has on disk of the training (True) and of the validation examples, by some of them: a block may
    hold those of any data."""
    found: dict[bool, set[Output]] = {True: set(), False: set()}
    if store is None:
        return found
    precision = f"{numerics}, {device.type}"
    for key in filter(None, (use.key for use in store.usage())):
        if (key.precision, key.torch, key.kernels) != (precision, torch.__version__, REVISION):
            continue
        some = {train: _some_keys(data, "train" if train else "valid", key.resolution) for train in found}
        absent = store.absent(key, [*some[True], *some[False]])
        for train, keys in some.items():
            if keys and absent.isdisjoint(keys):
                found[train].add((key.backbone, key.resolution, key.further, key.augmentation, key.view, key.cut))
    return found


def _some_keys(data: Data, split: str, resolution: int) -> tuple[str, ...]:
    keys = keys_of(data, split, resolution)
    return keys[:: max(len(keys) // _ASKED, 1)]
