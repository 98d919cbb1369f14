"""What the rest of the program asks of a modality: how examples of one kind are opened, scored, shown and exported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from search_spaces import InputError, Task, is_numeric, positive_class

from ...machine.display import display_name, number_text
from ...machine.threads import Progress
from ..accents import composed
from ..previews import Lines, Preview
from ..splits import Data, Labelled, Split


@dataclass(frozen=True)
class Kind:
    """What has to be known of a task to open its data: `modality`, `columns` and `metric` as in `Task`."""

    modality: str = "image"
    columns: tuple[str, ...] = ()
    metric: str = "accuracy"

    @staticmethod
    def of(task: Task) -> Kind:
        return Kind(task.modality, task.columns, task.metric)

    @property
    def numeric(self) -> bool:
        """Whether labels are numbers, not classes."""
        return is_numeric(self.metric)


@dataclass(frozen=True)
class Reading:
    """How data is read: `seed` decides the split of data that has none.

    `skip_unreadable` leaves out files that can't be read. `trust_split` keeps a split though it separates copies.
    `progress` counts what is read.
    """

    seed: int = 0
    skip_unreadable: bool = False
    trust_split: bool = False
    progress: Progress | None = None


@dataclass(frozen=True)
class InputSignature:
    """The input of an exported model: its name, and the shape and type of one example."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class ModelInput:
    """What a model does with its inputs.

    Of images `resolution`, and `mean` and `std` of each channel; `fitted` are the tensors of the first stage, some of
    which may have been fitted on training data. `resolutions` are there where it takes pictures in several, ascending.
    """

    resolution: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fitted: Mapping[str, Tensor] = field(default_factory=dict)
    resolutions: tuple[int, ...] = ()


class Modality(ABC):
    """Examples of one kind. A new one is a subclass in a module of its own and its line in `modalities.TABLE`.

    What has a body here suits data that names its own splits, whose labels are classes or numbers, and whose examples
    are sent to an exported model as they are stored. Nothing else in the program asks which modality it deals with.
    """

    noun: ClassVar[str] = "examples"
    """What several examples are called."""
    preview_size: ClassVar[tuple[int, int]] = (32, 128)
    """How many examples are shown unless somebody says otherwise, and at most."""
    has_resolution: ClassVar[bool] = False
    """Whether the data can be had at several resolutions."""
    has_columns: ClassVar[bool] = False
    """Whether a task names columns: those of the features and, last, the target's."""
    quantisable: ClassVar[bool] = False
    """Whether exporting a model in 8 bits is worth it."""

    def recognises(self, source: str | Path) -> bool:
        """Whether it opens `source`; asked where several modalities have one name."""
        return True

    @abstractmethod
    def wanted(self, task: Task) -> str:
        """What `task` needs where no data is named, as an option and what it is: `--data DIR: a folder of photos`."""

    @abstractmethod
    def open(self, source: str | Path, kind: Kind, reading: Reading) -> Data:
        """The data in `source`, split by `reading.seed` where it names no splits.

        Raises:
            InputError: it can't be read, or is too small to be split.
        """

    def open_labelled(
        self,
        source: str,
        classes: Sequence[str],
        kind: Kind,
        split: str | None,
        resolution: int,
        reading: Reading,
    ) -> Labelled:
        """Examples to score a model of `classes` on: of `split`, `valid` where that is None.

        Data that has no splits of its own must not be divided here: it gives all examples, and `Labelled.split` is
        empty. Labels are places in `classes`, of which some may be absent.

        Raises:
            InputError: the data can't be read, has other classes, or has not that split.
        """
        name = split or "valid"
        data = with_classes(self.open(source, kind, Reading(progress=reading.progress)), classes)
        chosen = data.at(resolution).named(name)
        if chosen is None:
            raise InputError(f"{source} has no split {name!r}: leave the split out")
        return Labelled(chosen, name)

    @abstractmethod
    def unlabelled(self, paths: Sequence[Path], kind: Kind, resolution: int) -> tuple[Tensor, tuple[str, ...]]:
        """The examples in `paths` as a pool of inputs, as a split holds them, and what to call each.

        Raises:
            InputError: a file is missing, or not what it should be.
        """

    def unreadable(self, paths: Sequence[Path], kind: Kind) -> dict[Path, str]:
        """The files of which `unlabelled` gives nothing, each with the line that it raises."""
        found: dict[Path, str] = {}
        for path in paths:
            try:
                self.unlabelled([path], kind, 1)
            except InputError as problem:
                found[path] = str(problem)
        return found

    def check_kind(self, kind: Kind) -> None:
        """
        Raises:
            InputError: a task of this modality can't be declared like that.
        """
        if self.has_columns != bool(kind.columns):
            raise InputError("columns are those of a table: at least one feature's and, last, the target's")

    def check_task(self, task: Task) -> None:
        """As `check_kind`, of all that a task says before its data is opened.

        Raises:
            InputError: no config of its space could be trained on such data.
        """
        self.check_kind(Kind.of(task))

    def check_scored(self, data: Data, task: Task) -> None:
        """
        Raises:
            InputError: the metric of `task` has no value on the validation examples, whatever a model predicts.
        """
        if task.metric == "r2" and not data.classes:
            targets = data.at(0).valid.labels
            if (targets == targets[0]).all():
                target = task.columns[-1] if task.columns else "the target"
                raise InputError(
                    f"{data.source}: {target} is {float(targets[0]):.15g} in all {len(targets)} validation "
                    f"{self.noun}, so R2 is not defined: add {self.noun} in which it differs"
                )
        name = positive_class(task.metric)
        if name is not None and not data.counts["valid"].get(name):
            raise InputError(
                f"{data.source}: no example of class {name!r} is among the validation examples, so F1 is not defined: "
                "add some of it"
            )

    def preview(self, split: Split, index: Tensor, classes: Sequence[str], columns: Sequence[str] = ()) -> Preview:
        """The examples `index` (n,) of a split; labels are places in `classes`, or numbers where those are empty."""
        labels = split.labels[index].tolist()
        payload = [classes[label] if classes else number_text(label) for label in labels]
        return Lines(
            ("class" if classes else "value", "example"),
            tuple((label, split.names[place]) for label, place in zip(payload, index.tolist(), strict=True)),
        )

    def described(self, split: Split, index: int, columns: Sequence[str] = ()) -> str:
        """One example in a line for people."""
        return split.names[index]

    @property
    def forms(self) -> int:
        """How many forms `shifted` gives."""
        return 0

    def shifted(self, split: Split) -> tuple[Split, ...]:
        """The examples of `split` in several forms, each as if somebody else had brought them, mildly changed.

        Labels and order are those of `split`; what is done to an example is decided by its key and the form alone.
        Empty where there are no such changes.
        """
        return ()

    @abstractmethod
    def signature(self, kind: Kind, model: ModelInput) -> InputSignature:
        """The input of an exported model."""

    def inputs_text(self, signature: InputSignature, columns: Sequence[str] = ()) -> str:
        """What an exported model takes, for people, to stand behind what it predicts."""
        return f", {self.noun} of shape {'x'.join(map(str, signature.shape))}"

    def export_sample(self, sample: Split, resolution: int) -> Split:
        """`sample` with its inputs as a client sends them to an exported model."""
        return sample

    def export_metadata(self, model: ModelInput) -> dict[str, Any]:
        """What a client must know to make inputs for an exported model; names of the file's metadata -> values."""
        return {}


def with_classes(data: Data, classes: Sequence[str]) -> Data:
    """`data`, which has exactly these classes, in this order, however their accents are encoded.

    Raises:
        InputError: it has others.
    """
    if [*map(composed, data.classes)] != [*map(composed, classes)]:
        raise InputError(
            f"{data.source} had the classes {', '.join(classes)} and now has {', '.join(data.classes)}: "
            "put them back, or name other data"
        )
    return data


def check_undivided(source: str, split: str | None) -> None:
    """
    Raises:
        InputError: a `split` is asked for that data without splits of its own can't have.
    """
    if split == "test":
        raise InputError(f"{source} has no split 'test': leave the split out")


def number_in(source: str, name: str) -> int:
    """The seed in `name:SEED`, 0 where there is none.

    Raises:
        InputError: it is no whole number.
    """
    written = source.partition(":")[2]
    if written and not (written.isascii() and written.isdecimal()):
        raise InputError(f"{name} data has a whole number as its seed, as in {name}:1, not {written!r}")
    return int(written or 0)


def numbered(paths: Sequence[Path], counts: Sequence[int], noun: str) -> Iterator[str]:
    """Names for `counts` examples in each of several files: `rows.csv row 1`."""
    for path, count in zip(paths, counts, strict=True):
        yield from (f"{display_name(str(path))} {noun} {number}" for number in range(1, 1 + count))
