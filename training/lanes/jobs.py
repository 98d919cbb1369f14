"""What a `GroupRunner` is given, what it says, and what it is told: the only things that reach a worker or leave it.

Small frozen dataclasses of plain data, which pickle and print.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from search_spaces import Config

from .results import EpochResult, FitResult, State


@dataclass(frozen=True)
class Member:
    """A run of a group; its `key` names it in events and verdicts.

    `left` is the epoch after which it left the group in an earlier process, None for one that is under way. Where a
    group goes back to before that epoch, it trains again until then: neighbours change a lane's sums in their last
    digits.
    """

    key: int
    config: Config
    left: int | None = None


@dataclass(frozen=True)
class Job:
    """Runs of one structure and one seed that train side by side for `epochs` epochs.

    `folders` are where the group is saved: in the first of them, and one that goes on is looked for in all, in their
    order, as it was after epoch `latest` or before. Where that is not there, or damaged, it begins again. An `open` one
    has not begun, and others may join it. With `robust`, runs that complete are also scored on the validation examples
    as others might have brought them; see `FitResult`. With `cross_validate`, heads on kept plain features are
    cross-validated when they have done their epochs: see `cross_validation.py`.
    """

    members: tuple[Member, ...]
    seed: int
    epochs: int
    folders: tuple[Path, ...] = ()
    latest: int = 0
    open: bool = False
    robust: bool = False
    cross_validate: bool = False


@dataclass(frozen=True)
class Ready:
    """The first word of an open job. Whether `together` its lanes cost less than one after another."""

    together: bool


@dataclass(frozen=True)
class Working:
    """`lanes` have `epoch` epochs behind them and are at `batch` of the `batches` of the next one."""

    lanes: int
    epoch: int
    batch: int
    batches: int

    @property
    def epochs_done(self) -> float:
        """Of all lanes together."""
        return self.lanes * (self.epoch + self.batch / self.batches)


@dataclass(frozen=True)
class Saved:
    """The group is on the disk as it is after `epoch`."""

    epoch: int


@dataclass(frozen=True)
class Epoch:
    """The lanes have done `epoch`. Those in `ended` end with it by themselves; an answer may stop others.

    Said again when a group goes on from there: perhaps nobody heard it before.
    """

    epoch: int
    results: Mapping[int, EpochResult]
    ended: Mapping[int, FitResult] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """Runs that ended between two epochs: stopped by a verdict, or broken, then with their tracebacks."""

    results: Mapping[int, FitResult]
    tracebacks: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Divided:
    """The group broke in the epoch after `epoch` and goes on in `parts`, one after the other."""

    parts: tuple[tuple[int, ...], ...]
    epoch: int
    reason: str


Event = Ready | Saved | Epoch | Ended | Divided


@dataclass(frozen=True)
class Verdict:
    """The answer to an event. To `Ready`: runs that `join`. To `Epoch`: runs to `stop`, with state and reason."""

    stop: Mapping[int, tuple[State, str]] = field(default_factory=dict)
    join: tuple[Member, ...] = ()


def part_folder(folder: Path, key: int) -> Path:
    """Where the lanes of a group in `folder` are that go on without the others, the first of them `key`."""
    return folder / f"part-{key:05d}"
