"""A search that is ready to run: its trials, and at its end the best of them once more on fresh seeds."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace

from training import structure_part
from training.lanes.costs import CostModel

from .done import goal_reached
from .driver import run_study
from .engines import AbstractEngine, engine_named, kept
from .enqueued import Enqueued
from .final_runs import longest_first
from .outlook import outlook_of
from .placement import Placement
from .plan import Interrupted, Outcome, Plan, Progress, Watch, duration_text
from .request import RUNGS
from .settings import Settings
from .strategies import costs_of, final_runs_of, is_on_rungs, reserved_for_final_runs
from .study import Study

Notify = Callable[[str], None]
# How often a worker asks whether the search that it joined still runs.
_LOOK_SECONDS = 5.0
# With less of its time left, a search does not go on once its best trials were confirmed.
_ROUND = 0.02
# Nobody asks why a search ended that used all but this share of its time, or all but so many seconds.
_EARLY, _EARLY_SECONDS = 0.05, 5.0


@dataclass(frozen=True)
class Search:
    """A study with the plan for it, ready to run."""

    study: Study
    plan: Plan
    engine: str
    command: str = ""
    placement: Placement = field(default_factory=Placement)
    limits: Settings | None = None
    """To be kept with the study; those that it has where there are none."""
    enqueued: tuple[Enqueued, ...] = ()
    notify: Notify = lambda line: None
    joins: bool = False
    """Whether it runs beside other drivers of the study: what is common to all is for the one that it joins."""
    says_plan: bool = False
    """Whether it says what it is going to do once its first trials are there, as nobody did before."""

    @property
    def wanted(self) -> int | None:
        """Trials in all; None where the time alone decides."""
        return self.plan.trials

    @property
    def ended(self) -> int:
        """Trials that have ended so far."""
        return self.study.ended

    def why_ended(self, seconds: float) -> str:
        """Why a run that was not interrupted ended after these `seconds`, before its number of trials and its time;
        empty where it did not."""
        if reached := goal_reached(self.study.settings, self.study.best()):
            return reached
        if self._ends_with_the_search:
            return "the search has ended"
        if self.plan.trials is not None and self.ended >= self.plan.trials:
            return ""
        if self.study.settings.strategy == RUNGS and (timeout := self.plan.timeout) is not None:
            left = timeout - seconds
            early = left >= max(_EARLY * timeout, _EARLY_SECONDS)
            return f"ended {duration_text(round(left))} early: nothing untried fits into that" if early else ""
        return "no config was found that has not been tried" if self.plan.trials is None else ""

    def run(self, watch: Watch) -> Generator[Outcome, None, None]:
        """Runs until the plan is fulfilled or a goal reached; see `Driver.run` for what may be raised.

        Where time alone ends a search on rungs, its last part goes to the best trials on fresh seeds.
        """
        began = time.monotonic()
        if self._ends_with_the_search:
            watch = self._until_the_search_ends(watch)
        with self.study.joined() if self.joins else self.study.running():
            if not self.joins:
                self.study.extend(self.limits or self.study.settings, self.command)
            if self.enqueued:
                self.study.enqueue((one.config, one.note) for one in self.enqueued)
            confirms = not self.joins and self.plan.trials is None and is_on_rungs(self.study, self.plan)
            costs = costs_of(self.plan, self.study.settings.seed) if confirms else None
            with kept(engine_named(self.engine, self.placement)) as engine:
                yield from self._parts(began, engine, costs, watch)

    def _parts(
        self, began: float, engine: AbstractEngine, costs: CostModel | None, watch: Watch
    ) -> Generator[Outcome, None, None]:
        """The search itself, and where there are `costs`, its last part on fresh seeds."""
        timeout = self.plan.timeout

        def reserve() -> float:
            if costs is None or timeout is None:
                return 0.0
            left = began + timeout - time.monotonic()
            return reserved_for_final_runs(self.study, costs, timeout, left, engine.workers)

        def say_plan() -> None:
            if self.says_plan and costs is not None:
                self.notify(f"plan: {outlook_of(self.plan, costs)}")

        enough = self._is_goal_reached
        yield from run_study(
            self.study, self.plan, engine, watch, enough=enough, costs=costs, reserve=reserve, on_first=say_plan
        )
        if costs is not None and timeout is not None:
            yield from self._confirmed_rounds(began + timeout, costs, engine, watch)

    def _confirmed_rounds(
        self, deadline: float, costs: CostModel, engine: AbstractEngine, watch: Watch
    ) -> Iterator[Outcome]:
        """Confirms the best trials; with half of what was kept for that and is left over the search goes on, and so
        forth."""
        least = _ROUND * (self.plan.timeout or 0.0)
        while not self._is_goal_reached():
            yield from self._confirm(replace(self.plan, timeout=deadline - time.monotonic()), costs, engine, watch)
            left, ended = deadline - time.monotonic(), self.ended
            if left < least or self._is_goal_reached() or self.study.best() is None:
                return  # without any value, the next round would only fail as this one did
            plan, enough = replace(self.plan, timeout=left), self._is_goal_reached
            half = functools.partial(float, left / 2)
            yield from run_study(self.study, plan, engine, watch, enough=enough, costs=costs, reserve=half)
            if self.ended == ended:
                return

    def _until_the_search_ends(self, watch: Watch) -> Watch:
        asked = time.monotonic()

        def watching(progress: Progress) -> None:
            nonlocal asked
            if time.monotonic() - asked >= _LOOK_SECONDS:
                asked = time.monotonic()
                if not self.study.is_led():
                    raise Interrupted("the search has ended")
            watch(progress)

        return watching

    def _is_goal_reached(self) -> bool:
        if self._ends_with_the_search and not self.study.is_led():
            return True
        return bool(goal_reached(self.study.settings, self.study.best()))

    @property
    def _ends_with_the_search(self) -> bool:
        return self.joins and self.plan.trials is None and self.plan.timeout is None

    def _confirm(self, plan: Plan, costs: CostModel, engine: AbstractEngine, watch: Watch) -> Iterator[Outcome]:
        """Trains the best trials again on fresh seeds, as many as fit into the plan's time."""
        left = plan.timeout or 0.0
        runs = final_runs_of(self.study, costs, left, engine.workers)
        best = self.study.best()
        if not runs and best is not None and best.state == "complete":
            self.notify(f"not confirmed: two runs of the best trial take more than the {max(left, 0):.0f} s left")
        if not (wanted := len(runs) - self.study.runs_ended(runs)):
            return
        trials = len({run.number for run in runs})
        which = "the best trial" if trials == 1 else f"the {trials} best trials"
        self.notify(f"confirming {which} on {max(run.nth for run in runs)} fresh seeds: {wanted} runs")
        if engine.workers > 1:
            runs = longest_first(runs, lambda config: costs.predict(config).seconds, structure_part)
        with self.study.confirming(runs):
            yield from run_study(self.study, plan, engine, watch)
