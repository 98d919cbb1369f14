"""What a run under kills came to, for people and for programs."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from .checks import GIVEN_UP, differences, is_given_up, problems_of
from .disturbed import Disturbed
from .place import Orders


@dataclass(frozen=True)
class Report:
    """`given_up` counts trials by how they ended that were killed too often without progress; `states` the others.

    `lost_runs` are trials under way whose worker was killed. `unheard` ended just before their driver was killed, which
    could not tell of them any more. `compared` trials were held against those of an undisturbed run.
    """

    trials: int
    workers: int
    seed: int
    worker_kills: int
    driver_kills: int
    lost_runs: int
    states: dict[str, int]
    given_up: dict[str, int]
    unheard: int
    repeated_epochs: int
    seconds: float
    undisturbed_seconds: float | None
    compared: int
    worker_recovery_seconds: tuple[float, ...]
    driver_recovery_seconds: tuple[float, ...]
    refusals: tuple[str, ...]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    def lines(self) -> Iterable[str]:
        yield (
            f"{self.trials} trials, {self.workers} workers, seed {self.seed}: "
            f"{self.worker_kills} workers and {self.driver_kills} drivers killed"
        )
        yield f"ended: {_counted(self.states)}"
        if self.given_up:
            yield f"given up, as they were killed too often without progress: {_counted(self.given_up)}"
        yield (
            f"{self.lost_runs} runs lost their worker; {self.repeated_epochs} epochs were trained again; "
            f"{self.unheard} ends were recorded and not told any more"
        )
        yield f"until a trial was training again after its worker was killed: {_spread(self.worker_recovery_seconds)}"
        yield f"until any trial was training after the driver was killed: {_spread(self.driver_recovery_seconds)}"
        undisturbed = "" if self.undisturbed_seconds is None else f", undisturbed {self.undisturbed_seconds:.1f} s"
        yield f"wall time {self.seconds:.1f} s{undisturbed}; {self.compared} trials compared with undisturbed ones"
        for refusal in self.refusals:
            yield f"a driver could not go on: {refusal}"
        for problem in self.problems:
            yield f"PROBLEM: {problem}"
        yield f"{len(self.problems)} problems" if self.problems else "all as promised"


def report_on(run: Disturbed, orders: Orders, seed: int, undisturbed: Disturbed | None) -> Report:
    """Looks through everything, once the study has nothing left to do."""
    problems = problems_of(run.place, run.ledger, orders.trials, run.processes)
    records = run.place.records()
    compared = 0
    if undisturbed is not None:
        others = undisturbed.place.records()
        compared = min(len(records), len(others))
        problems += differences(records, others)
    return Report(
        trials=orders.trials,
        workers=orders.workers,
        seed=seed,
        worker_kills=run.worker_kills,
        driver_kills=run.driver_kills,
        lost_runs=run.ledger.losses,
        states=dict(Counter(record.state for record in records if not is_given_up(record))),
        given_up=dict(
            Counter(f"{r.state}: {GIVEN_UP[r.state]}" for r in records if is_given_up(r))  # type: ignore[index]
        ),
        unheard=len(run.ledger.unheard),
        repeated_epochs=run.ledger.repeated,
        seconds=round(run.seconds, 2),
        undisturbed_seconds=None if undisturbed is None else round(undisturbed.seconds, 2),
        compared=compared,
        worker_recovery_seconds=_rounded(run.recovered),
        driver_recovery_seconds=_rounded(run.recovered_drivers),
        refusals=tuple(run.refusals),
        problems=tuple(problems),
    )


def _rounded(seconds: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(each, 2) for each in sorted(seconds))


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "not seen"
    return f"median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s, of {len(seconds)}"
