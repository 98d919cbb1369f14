"""What groups were predicted to take, and what they took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from search_spaces import Config
from training.lanes.jobs import Epoch, Job, Member

PREDICTED = "predicted_seconds"
"""What is kept with a trial: its share of what its group was predicted to take."""


class Cost(Protocol):
    @property
    def seconds(self) -> float: ...
    @property
    def fixed(self) -> float: ...


class CostModel(Protocol):
    """`training.lanes.costs.CostModel`, which this module does not import."""

    def predict(
        self,
        config: Config,
        lanes: int = 1,
        *,
        robust: bool = False,
        cross_validate: bool = False,
        heads: Sequence[Config] = (),
    ) -> Any: ...
    def learn(
        self, config: Config, predicted: Any, preparing: float, train: float, *, robust: bool = False
    ) -> None: ...
    def look(self, config: Config) -> None: ...


@dataclass(eq=False)
class _Account:
    """A group at a worker: what it was predicted to cost, and what it has cost so far."""

    job: Job
    members: list[int]
    began: float
    predicted: Cost | None = None
    trained: float = 0.0
    lane_epochs: int = 0


@dataclass(eq=False)
class Accounts:
    """The groups under way. Without a cost model nothing is predicted; groups that go on are not counted."""

    costs: CostModel | None = None
    _open: dict[int, _Account] = field(default_factory=dict)
    _shares: dict[int, float] = field(default_factory=dict)

    def begin(self, worker: int, job: Job, now: float) -> None:
        self._open.pop(worker, None)
        if self.costs is None or not job.open:
            return
        self._open[worker] = _Account(job, [job.members[0].key], now)

    def joined(self, worker: int, members: Iterable[Member]) -> None:
        """The group is complete: now its cost can be predicted."""
        if (account := self._open.get(worker)) is None or self.costs is None:
            return
        members = list(members)
        account.members += [member.key for member in members]
        job, lanes = account.job, len(account.members)
        configs = [member.config for member in (*job.members, *members)]
        account.predicted = self.costs.predict(
            configs[0], lanes, robust=job.robust, cross_validate=job.cross_validate, heads=configs
        )
        # Proposing and recording them is no part of what the trials say that they took.
        share = (account.predicted.seconds - account.predicted.fixed) / len(account.members)
        self._shares |= dict.fromkeys(account.members, share)

    def trained(self, worker: int, event: Epoch) -> None:
        if (account := self._open.get(worker)) is not None:
            account.trained += sum(result.seconds for result in event.results.values())
            account.lane_epochs += len(event.results)

    def end(self, worker: int, now: float, *, whole: bool) -> None:
        """The group has left its worker. What took how long is learnt only from what was trained to its end; what
        frozen stages gave is there all the same."""
        account = self._open.pop(worker, None)
        if account is None or account.predicted is None or self.costs is None or not whole:
            return
        job = account.job
        if account.lane_epochs == job.epochs * len(account.members):
            preparing = now - account.began - account.trained
            config = job.members[0].config
            self.costs.learn(config, account.predicted, preparing, account.trained, robust=job.robust)
        elif account.lane_epochs:
            self.costs.look(job.members[0].config)

    def of(self, number: int) -> dict[str, float]:
        """What is kept with a trial about its cost."""
        share = self._shares.pop(number, None)
        return {} if share is None else {PREDICTED: round(share, 3)}
