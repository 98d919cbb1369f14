"""What the scheduler and the driver pass to each other: trials, their groups, questions, jobs and what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces import Config
from training.lanes.jobs import Job, Member

from .records import run_key
from .strategy import Arm


@dataclass(frozen=True)
class Trial:
    """A trial that can be trained.

    `structure` are the dimensions that decide its structure; `shares` says whether trials of one structure have any
    work in common. One that retries another goes on after epoch `saved`.
    """

    number: int
    config: Config
    seed: int
    structure: Config
    shares: bool = True
    saved: int = 0

    @property
    def run(self) -> str:
        return run_key(self.config, self.seed)


@dataclass(eq=False)
class Group:
    """Trials that train side by side, the first of them `number`.

    `members` are those that trained in it, `running` those of them that have not ended. Up to epoch `judged` all has
    been recorded, but perhaps the ends of the trials that the pruner gave up then, `pruned`. `size` counts all that
    were put into it, those included that failed before they trained. `part` is the first trial of a part of a group
    that was divided.
    """

    first: Trial
    origin: int
    members: dict[int, Member]
    running: dict[int, Trial]
    number: int
    part: int | None = None
    judged: int = 0
    pruned: frozenset[int] = frozenset()
    size: int = 1
    saved: int = 0
    arm: Arm | None = None

    @staticmethod
    def begun_with(trial: Trial, origin: int | None, arm: Arm | None = None) -> Group:
        member = Member(trial.number, trial.config)
        origin = trial.number if origin is None else origin
        return Group(
            trial, origin, {trial.number: member}, {trial.number: trial}, trial.number, judged=trial.saved, arm=arm
        )

    @property
    def name(self) -> int:
        """What the study knows its verdicts by."""
        return self.number if self.part is None else self.part

    @property
    def is_open(self) -> bool:
        """Whether it has not begun to train, so that others can join."""
        return self.part is None and not self.judged and all(member.left is None for member in self.members.values())


@dataclass(frozen=True)
class Ask:
    """A question to the sampler: a trial, of `structure` and `seed` where these are given, to be kept with the rest.

    Where a strategy decided what is trained, `arm` says so, and `structure` may be a whole config. Where a strategy
    has trials `waiting` in the storage go first, one of these is asked for and no other.
    """

    structure: Config | None = None
    seed: int | None = None
    group: int | None = None
    origin: int | None = None
    arm: Arm | None = None
    waiting: bool = False


@dataclass(frozen=True)
class Order:
    """A job for a worker, of the trials `numbers`."""

    job: Job
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Judging:
    """What is to be recorded of an epoch: (epoch, value) by trial, and the trials that the pruner is to be asked about.

    `pruned` are those that it gave up before; None where it has not been asked.
    """

    values: Mapping[int, tuple[int, float]]
    questions: tuple[int, ...]
    pruned: frozenset[int] | None


@dataclass(frozen=True)
class Losses:
    """What follows from the loss of a worker: trials that are given up, and those that are to be tried one by one."""

    given_up: tuple[Trial, ...] = ()
    isolated: tuple[int, ...] = ()
