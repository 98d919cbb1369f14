"""The examples that a checkpoint is scored on: those that it was trained on are left out of them, or counted."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from search_spaces import InputError

from ..data import open_again, open_labelled
from ..data.packed import pack
from ..data.splits import Split
from ..lanes.checkpoint import Checkpoint
from ..machine.display import display_name
from ..machine.threads import Progress

_COMPARED = 5
"""Of data that has no split, one example in so many is compared on, the others calibrate."""


@dataclass(frozen=True)
class LabelledSource:
    """Where labelled examples come from: `data` as in `open_data`, None for what the checkpoint was trained on."""

    data: str | None = None
    skip_unreadable: bool = False
    trust_split: bool = False
    progress: Progress | None = None


@dataclass(frozen=True, eq=False)
class Scored:
    """Examples to score. `title` says which of the data they are, for people, empty where they are all.

    The checkpoint was trained on `n_trained_on` of them (None where it can't tell), and on `n_left_out` examples of the
    data that are not among them. `notes` are lines for people.
    """

    examples: Split
    title: str
    n_trained_on: int | None
    n_left_out: int
    notes: tuple[str, ...]


def examples_to_score(checkpoint: Checkpoint, source: LabelledSource, split: str | None) -> Scored:
    """The examples of `split`, `valid` unless given.

    Of data without splits, `train` is what the checkpoint was trained on, and `valid` everything else; where it was
    trained on none of it, all is scored. A split that the data names itself is scored as it is.

    Raises:
        InputError: the data can't be opened, has not that split, or has nothing to score but what was trained on.
    """
    found = _found(checkpoint, source, split)
    return _split_of_its_own(found) if found.split else _part_of_undivided(found, split)


def examples_to_compare(checkpoint: Checkpoint, source: LabelledSource, *, calibrate: bool) -> tuple[Scored, Split]:
    """Examples on which two forms of the model are compared, and those that calibrate the second one.

    They are `valid` and `train`. Of data without splits that the checkpoint was trained on as a whole or not at all,
    everything is compared on, or, if it must `calibrate` too, one example in five, and the others calibrate.

    Raises:
        InputError: the data can't be opened, or has no such split.
    """
    found = _found(checkpoint, source, None)
    examples, seen = found.examples, found.trained_on
    if found.split:
        training = _found(checkpoint, source, "train").examples if calibrate else examples
        return _split_of_its_own(found), training
    if seen is not None and seen.any() and not seen.all():
        return _part_of_undivided(found, None), examples.subset(seen)
    compared = torch.arange(len(examples)) % (_COMPARED if calibrate else 1) == 0
    others = examples if compared.all() else examples.subset(~compared)
    part = _Found(examples.subset(compared), "", found.source, found.known, found.notes)
    return _split_of_its_own(part), others


@dataclass(frozen=True, eq=False)
class _Found:
    """Examples of `split`, or of data that has no splits; `known` are the identities of what was trained on."""

    examples: Split
    split: str
    source: str
    known: torch.Tensor | None
    notes: tuple[str, ...]

    @property
    def trained_on(self) -> torch.Tensor | None:
        """Which of the examples were trained on, bool (n,); None where that is not known."""
        if self.known is None or self.examples.identities is None:
            return None
        return torch.isin(self.examples.identities, self.known)


def _found(checkpoint: Checkpoint, source: LabelledSource, split: str | None) -> _Found:
    record = checkpoint.record
    notes: tuple[str, ...] = ()
    if source.data is None:
        opened = open_again(
            record.data,
            record.classes,
            record.kind,
            skip_unreadable=source.skip_unreadable,
            progress=source.progress,
        )
        splits = opened.at(record.resolution)
        if splits.fingerprint == record.fingerprint:
            # Divided again as for the training, to the last example.
            name = split or "valid"
            several = [(r, splits if r == record.taken else opened.at(r)) for r in checkpoint.resolutions]
            chosen = {r: part for r, one in several if (part := one.named(name)) is not None}
            if not chosen:
                raise InputError(f"{splits.source} has no split {name!r}: leave the split out")
            return _Found(pack(chosen), name, splits.source, splits.train.identities, ())
        changed = f"{display_name(record.data)} is not what it was when the checkpoint was trained on it"
        notes = (f"{changed} (another fingerprint)",)
    location = record.data if source.data is None else source.data
    labelled_at = {
        side: open_labelled(
            location,
            record.classes,
            record.kind,
            split,
            side,
            skip_unreadable=source.skip_unreadable,
            trust_split=source.trust_split,
            progress=source.progress,
        )
        for side in checkpoint.resolutions
    }
    labelled = labelled_at[record.taken]
    notes += (labelled.note,) if labelled.note else ()
    examples = pack({side: one.examples for side, one in labelled_at.items()})
    return _Found(examples, labelled.split, display_name(location), checkpoint.trained_on, notes)


def _split_of_its_own(found: _Found) -> Scored:
    """All that was found, and how much of it was trained on."""
    seen, n = found.trained_on, len(found.examples)
    count = None if seen is None else int(seen.sum())
    note = ""
    if count is None:
        note = (
            "the checkpoint is of an earlier version and does not say what it was trained on: "
            f"of {found.source!r} that is scored too"
        )
    elif count:
        which = f"all {n}" if count == n else f"{count} of {n}"
        note = f"{which} examples scored were trained on: they say little about new ones"
    return Scored(found.examples, found.split, count, 0, found.notes + ((note,) if note else ()))


def _part_of_undivided(found: _Found, split: str | None) -> Scored:
    """What was trained on for `train`, else the rest."""
    seen, n = found.trained_on, len(found.examples)
    if seen is None:
        if split is not None:
            raise InputError(
                f"{found.source!r} has no splits, and the checkpoint does not say what it was trained on: "
                "leave the split out, or train again"
            )
        return _split_of_its_own(found)
    count = int(seen.sum())
    if split is not None and not count:
        raise InputError(
            f"{found.source!r} has no splits, and none of its {n} examples was trained on: "
            "leave the split out to score them all"
        )
    if split == "train":
        return _split_of_its_own(_Found(found.examples.subset(seen), split, found.source, found.known, found.notes))
    if count == n:
        raise InputError(
            f"all {n} examples of {found.source!r} were trained on: name other data, "
            "or score them all the same with --split train"
        )
    note = f"{count} of the {n} examples of {found.source!r} were trained on and are left out"
    title = "without what was trained on" if count else ""
    return Scored(found.examples.subset(~seen), title, 0, count, found.notes + ((note,) if count else ()))
