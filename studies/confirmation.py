"""From a search that has trials to its best ones trained again on fresh seeds."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from search_spaces import InputError, Task

from .confirmed import ToConfirm, runs_to_confirm
from .driver import run_study
from .engines import engine_named
from .plan import Outcome, Plan, Watch
from .planning import CountProgress, plan_to_go_on, with_weights
from .records import INTERRUPTED
from .search_run import Notify
from .settings import Settings
from .study import Study
from .ways_out import ANEW, only_options

OPTIONS = ("--storage", "--top", "--seeds", "--timeout", "--weights-dir", "--download-weights", "--trust-task-file")
"""Those of the command."""


@dataclass(frozen=True)
class Confirmation:
    """A study with the runs that confirm its best trials, ready to run; those that are there are not done again."""

    study: Study
    plan: Plan
    engine: str
    runs: tuple[ToConfirm, ...]
    command: str = ""
    settings: Settings | None = None
    """With where the weights lie now; None where that is as it was."""

    @property
    def wanted(self) -> int:
        """Runs in all."""
        return len(self.runs)

    def why_ended(self, _seconds: float) -> str:
        """Nothing ends the runs early: all of them are wanted."""
        return ""

    @property
    def ended(self) -> int:
        """Runs that have ended, in earlier calls too."""
        return self.study.runs_ended(self.runs)

    def run(self, watch: Watch) -> Generator[Outcome, None, None]:
        """Runs until all have ended; see `AbstractEngine.run` for what may be raised."""
        settings = self.settings or self.study.settings
        # What engines and workers say of themselves.
        with only_options(OPTIONS), self.study.running():
            self.study.extend(settings, self.command)
            with self.study.confirming(self.runs):
                yield from run_study(self.study, self.plan, engine_named(self.engine, settings.placement), watch)


@only_options(OPTIONS, ANEW)
def prepare_confirmation(
    name: str,
    storage_url: str | None,
    notify: Notify,
    progress: CountProgress | None = None,
    *,
    top: int = 3,
    seeds: int = 5,
    timeout: float | None = None,
    command: str = "",
    weights_dir: Path | None = None,
    download_weights: bool = False,
    task: Task | None = None,
    trust_task_file: bool = False,
) -> Confirmation:
    """The `top` best trials of a study, to be trained again on `seeds` fresh seeds each; nothing is written yet.

    Args:
        timeout: in seconds, for the runs of this call.
        weights_dir, download_weights, task, trust_task_file: see `ResumeRequest`.

    Raises:
        InputError: there is no such study, none of its trials ran to its end, or its data, its weights or its space
            are not what they were.
    """
    if top < 1 or seeds < 1:
        raise InputError(f"--top and --seeds must be at least 1, not {top} and {seeds}")
    if timeout is not None and timeout <= 0:
        raise InputError("--timeout must be longer than nothing")
    study = Study.open(name, storage_url, to_run=True)
    settings = study.settings
    records = study.records()
    runs = runs_to_confirm(records, direction=settings.direction, seed=settings.seed, top=top, seeds=seeds)
    interrupted = any(record.state == INTERRUPTED and record.value is not None for record in records)
    if not runs:
        only = " (those that were interrupted can't be confirmed: resume the study)" if interrupted else ""
        raise InputError(
            f"study {study.name!r} has no trial that ran to its end{only}, so there is nothing to confirm yet"
        )
    if interrupted:
        notify("only trials that ran to their end are confirmed: pomona resume trains interrupted ones to theirs")
    trials = len(runs) // seeds
    now = with_weights(settings, weights_dir, download=download_weights)
    plan = plan_to_go_on(
        study,
        storage_url,
        notify,
        progress,
        task=task,
        trust_task_file=trust_task_file,
        settings=now,
    )
    confirmation = Confirmation(study, replace(plan, timeout=timeout), settings.engine, tuple(runs), command, now)
    which, each = ("the best trial", "") if trials == 1 else (f"the {trials} best trials", " each")
    fresh = f"{seeds} fresh {'seed' if seeds == 1 else 'seeds'}{each}"
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    done = f", {ended} of them done" if (ended := confirmation.ended) else ""
    notify(f"study {study.name}: confirming {which} on {fresh}: {count}{done}")
    return confirmation
