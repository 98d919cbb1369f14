"""Labelled examples of any modality, as rows of one shared pool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..machine.threads import Progress


def short_digest(value: list[object]) -> str:
    """16 hexadecimal digits of what JSON can say."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def identities_of(digests: Iterable[str]) -> Tensor:
    """The first 64 bits of hexadecimal digests, int64 (n,)."""
    raw = bytes.fromhex("".join(digest[:16] for digest in digests))
    return torch.from_numpy(np.frombuffer(raw, ">i8").astype(np.int64))


def identity_digest(split: Split) -> str:
    """A digest of which examples a split holds, in their order: equal at all resolutions of one data set."""
    known = split.identities
    return short_digest([len(split), list(split.names) if known is None else known.tolist(), split.labels.tolist()])


def counts_of(
    labels: NDArray[np.integer[Any]], rows: Mapping[str, NDArray[np.int64]], classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Examples of each class in each split: `labels` are class numbers, `rows` those of the splits."""
    return {
        split: dict(zip(classes, np.bincount(labels[chosen], minlength=len(classes)).tolist(), strict=True))
        for split, chosen in rows.items()
    }


Change = Callable[[Tensor, Sequence[str]], Tensor]


@dataclass(frozen=True, eq=False)
class Split:
    """Some rows of a pool of inputs, with a label each.

    `inputs` (pool, ...) is shared by all splits of one data set, usually memory-mapped, never copied here: photos are
    uint8 (pool, R, R, 3), tables floats (pool, features), texts uint8 (pool, bytes). `rows` are int64, and `labels` as
    many classes (int64) or numbers (floats). Floats have 64 bits where 32 would lose what makes examples differ.
    `names` says where each example comes from, and `groups` which examples show one thing (empty where the data does
    not say). `keys` stand for the contents of the inputs: equal keys, equal inputs, in whatever data set; empty where
    nothing is to be remembered about them. `identities`, int64 (n,), say which example each is, whatever its file, its
    place in it, the split and the resolution: of a photo the digest of its file, of a table's row that of its numbers
    and its target, of a text that of its words. They tell whether a checkpoint was trained on it; None where nobody
    needs to know. `change` is done to inputs (n, ...) that are taken from the pool, on the CPU, given the keys of their
    examples (their names where there are none); it is a function of these alone. None for nothing.
    """

    inputs: Tensor
    rows: Tensor
    labels: Tensor
    groups: tuple[str, ...]
    names: tuple[str, ...]
    keys: tuple[str, ...] = ()
    identities: Tensor | None = None
    change: Change | None = None

    def __post_init__(self) -> None:
        assert self.rows.dtype == torch.int64
        assert self.labels.dtype in (torch.int64, torch.float32, torch.float64)
        assert len(self.rows) == len(self.labels) == len(self.names)
        assert len(self.groups) in (0, len(self.rows))
        assert len(self.keys) in (0, len(self.rows))
        assert self.identities is None or len(self.identities) == len(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (n, ...) and labels (n,) of the examples `index` (n,), copied out of the pool."""
        inputs = self.inputs[self.rows[index]]
        if self.change is not None:
            keys = self.keys or self.names
            inputs = self.change(inputs, [keys[place] for place in index.tolist()])
        return inputs, self.labels[index]

    def subset(self, chosen: Tensor) -> Split:
        """The examples for which `chosen` (n,) is true, of the same pool."""
        places = chosen.nonzero().flatten()
        index = places.tolist()
        return Split(
            inputs=self.inputs,
            rows=self.rows[places],
            labels=self.labels[places],
            groups=tuple(self.groups[i] for i in index) if self.groups else (),
            names=tuple(self.names[i] for i in index),
            keys=tuple(self.keys[i] for i in index) if self.keys else (),
            identities=None if self.identities is None else self.identities[places],
            change=self.change,
        )


@dataclass(frozen=True, eq=False)
class Labelled:
    """Examples to score a model on: those of `split`, or where `split` is empty all that the data leaves undivided.

    `note` says what has to be known of the data's split, in a line for people; empty where there is nothing.
    """

    examples: Split
    split: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Splits:
    """One data set, split; `fingerprint` changes with content, labels, groups, split and resolution.

    `source` names it in tables, `location` is what opens it again. `classes` are empty where labels are numbers.
    `fitted` are tensors of the backbone's first stage that were fitted on the training split, by their names in it.
    `offset` is what is taken off labels that are numbers before they are learned, and added to the answers.
    """

    train: Split
    valid: Split
    test: Split | None
    classes: tuple[str, ...]
    fingerprint: str
    source: str
    location: str = ""
    fitted: Mapping[str, Tensor] | None = None
    offset: float = 0.0

    def named(self, split: str) -> Split | None:
        return {"train": self.train, "valid": self.valid, "test": self.test}[split]


class Data(Protocol):
    """A data set that can be had at several resolutions; `progress` counts what has to be decoded for one.

    `source` names it in tables, `location` opens it again, `summary` tells people what it holds; `counts` are examples
    of each class in each split.
    """

    @property
    def fingerprint(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def location(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def counts(self) -> dict[str, dict[str, int]]: ...

    def at(self, resolution: int, *, progress: Progress | None = None) -> Splits: ...

    def reading_seconds(self, resolution: int) -> float:
        """What `at` takes an example, by a few of them; 0 where next to nothing."""

    def summary(self) -> str: ...
