"""Runs a study: the only one that talks to its storage. Carries questions, jobs and verdicts between the scheduler,
the study and an engine."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from search_spaces import Config, InputError
from training import FitResult, State, resolve, structure_part
from training.lanes.costs import CostModel
from training.lanes.jobs import Divided, Ended, Epoch, Event, Member, Ready, Saved, Verdict, Working

from .engines.engine import AbstractEngine, Done, Lost
from .leftovers import remove_ended, remove_ours
from .plan import Interrupted, Outcome, Plan, Progress, Watch, duration_text
from .restoring import Restoring
from .scheduled import Ask, Order, Trial
from .scheduler import Scheduler
from .strategies import finished_trial, strategy_of
from .strategy import Finished
from .study import Study

_log = logging.getLogger("pomona")

# A run of stages is judged against its heads after so many epochs of its stages.
_STAGE_EPOCHS = 3


class Driver:
    """One run of a study with an engine."""

    def __init__(
        self,
        study: Study,
        plan: Plan,
        engine: AbstractEngine,
        watch: Watch,
        enough: Callable[[], bool],
        costs: CostModel | None = None,
        reserve: Callable[[], float] = lambda: 0.0,
        on_first: Callable[[], None] = lambda: None,
    ) -> None:
        self._study = study
        self._recording = study.recording
        self._plan = plan
        self._engine = engine
        self._watch = watch
        self._enough = enough
        self._reserve = reserve
        self._on_first: Callable[[], None] | None = on_first
        self._folder: Path = study.trial_folder(0).parent
        self._accounts, self._strategy = strategy_of(study, plan, costs)
        self._scheduler = Scheduler(epochs=plan.epochs, lanes=plan.lanes, folder=self._folder, strategy=self._strategy)
        self._deadline = math.inf if plan.timeout is None else time.monotonic() + plan.timeout
        # What trials of earlier runs took is part of the search.
        earlier = 0.0 if self._strategy is None else study.trained_seconds()
        self._began_at = time.monotonic() - earlier / engine.workers
        self._working: dict[int, Working] = {}
        if self._strategy is not None:
            # What ended so far it was told.
            for config in study.elsewhere().begun:
                self._strategy.began(config)
        # When each worker said something last, and what each trial under way was trained for since it was given out.
        self._heard_at: dict[int, float] = {}
        self._trained: defaultdict[int, float] = defaultdict(float)
        # How many epochs of each trial under way have trained stages.
        self._stage_epochs: Counter[int] = Counter()

    def run(self) -> Iterator[Outcome]:
        """Yields each trial that ended, recorded in the study, until the plan is fulfilled or there is enough.

        Nothing is raised for a trial: one that breaks is `failed` with its reason. The plan's timeout, and
        `Interrupted` raised by `watch`, end the run with the trials under way kept at their last whole epochs; a later
        run goes on from there, with any engine.

        Raises:
            InputError: the study can't go on at all (a full disk, weights that vanished).
            Interrupted: it was asked to end before the plan was fulfilled.
        """
        # A database that is away, or a journal that another program has locked, must not outlast a stop or a deadline.
        self._study.wait_with(self._check)
        self._study.ran_by(self._engine)
        try:
            yield from self._restore()
            if self._enough():
                return
            self._engine.start(self._plan, self._heard)
            while True:
                self._give_out()
                if not self._scheduler.out:
                    if not self._waits_for_others():
                        break
                    continue
                said = self._engine.receive()
                ended = [] if said is None else list(self._said(*said))
                yield from ended
                if ended and self._enough():
                    self._leave_the_rest()
                    return
                if self._engine.workers > 1 or said is None:
                    self._check()
            self._engine.stop()
            self._say_of_recipe()
        except BaseException as leaving:
            try:
                self._stop_engine()
            except InputError:
                # No room, perhaps. Who asked for the stop is told; after another problem, that one is.
                if isinstance(leaving, Interrupted | KeyboardInterrupt):
                    raise
            finally:
                # Whatever it was, this process still lives: it does not die of the trials under way.
                with contextlib.suppress(Exception):
                    self._study.groups.release()
                    self._say_of_recipe()
            raise

    def _waits_for_others(self) -> bool:
        """Whether trials of other drivers are under way, after a moment's wait: one that is lost is to be retried."""
        if not self._study.wait_for_others(self._plan.trials):
            return False
        self._check()
        return True

    def _say_of_recipe(self) -> None:
        """Keeps with the study why the baseline is not there, or that it is."""
        if self._strategy is None or (seconds := self._strategy.recipe_seconds) is None:
            return
        timeout = self._study.settings.timeout or self._plan.timeout
        given = "" if self._plan.timeout is None or timeout is None else f" of the {duration_text(timeout)} given"
        why = self._strategy.recipe_problem or f"about {duration_text(round(seconds))}{given}"
        self._study.keep_recipe_note("" if self._strategy.recipe_done else f"recipe not run: {why}")

    def _stop_engine(self) -> None:
        """Ends the run though trials are under way; they are kept at their last whole epochs."""
        for _, event in self._engine.stop():
            if isinstance(event, Ended):
                self._end(event.results)

    def _leave_the_rest(self) -> None:
        """There is enough: trials under way stay as they are."""
        self._stop_engine()
        for worker in list(self._scheduler.out):
            if not self._scheduler.training(worker) and (group := self._scheduler.done(worker)) is not None:
                remove_ours(self._study.trial_folder(group))
        self._study.groups.release()

    # --- what an earlier process left

    def _restore(self) -> Iterator[Outcome]:
        """Hands the scheduler the trials that were interrupted; those that were lost too often end here."""
        left = self._study.left(self._plan.task.space, self._plan.trials)
        for proposal in Restoring(self._study, self._scheduler, self._trial).restore(left):
            # Not failed: the sampler is to learn from it.
            reason = "lost too often: the process died while it trained"
            result = FitResult(State.INFEASIBLE, reason, None, (), 0.0, proposal.seed)
            yield from self._end({proposal.number: result})
        remove_ended(self._folder, self._study.groups.under_way())

    # --- giving out work

    def _give_out(self) -> None:
        for worker in range(self._engine.workers):
            while worker not in self._scheduler.out:
                match self._next(worker):
                    case Ask() as question:
                        self._check()
                        trial = self._asked(question)
                        self._scheduler.take(trial, waiting=trial is None and self._study.has_waiting())
                    case Order(job, numbers):
                        self._check()
                        self._study.groups.begin(numbers)
                        self._heard_at[worker] = now = time.monotonic()
                        self._accounts.begin(worker, job, now)
                        self._engine.submit(worker, job)
                    case None:
                        break

    def _next(self, worker: int) -> Ask | Order | None:
        with self._study.reading():
            self._learn_of_others()
            trials, waiting = self._study.trials_left(self._plan.trials), self._study.has_waiting()
        left = self._deadline - self._reserve() - time.monotonic()
        if self._plan.timeout is None and self._study.has_joined and self._study.settings.timeout is not None:
            # How much is left to the search is not known here; what is dear there is dear here too.
            left = self._study.settings.timeout
        passed = math.inf if math.isinf(left) else time.monotonic() - self._began_at
        return self._scheduler.next(worker, left=left, trials=trials, waiting=waiting, passed=passed)

    def _learn_of_others(self) -> None:
        """Tells the strategy what trials of other drivers came to, and what these train now."""
        if self._strategy is None:
            return
        elsewhere = self._study.elsewhere()
        for record in elsewhere.ended:
            self._strategy.ended(finished_trial(record))
        for config in elsewhere.begun:
            self._strategy.began(config)
        for config in elsewhere.done:
            self._strategy.done(config)

    def _asked(self, question: Ask) -> Trial | None:
        proposal = self._study.ask(
            self._plan.task.space,
            self._plan.trials,
            structure=question.structure,
            seed=question.seed,
            group=question.group,
            origin=question.origin,
            arm=question.arm if question.group is None else question.arm and replace(question.arm, recipe=False),
            waiting_only=question.waiting,
        )
        if proposal is None:
            return None
        return replace(self._trial(proposal.number, proposal.config, proposal.seed), saved=proposal.saved)

    def _trial(self, number: int, config: Config, seed: int) -> Trial:
        try:
            shares = not resolve(self._plan.task, config).backbone.from_scratch
        except InputError:  # what it can't be is said where it is trained
            shares = False
        return Trial(number, config, seed, structure_part(config), shares)

    # --- what workers say

    def _said(self, worker: int, event: Event | Done | Lost) -> Iterator[Outcome]:
        match event:
            case Ready(together):
                self._fill(worker, together=together)
            case Epoch():
                yield from self._judge(worker, event)
            case Ended(results, tracebacks):
                for number, text in tracebacks.items():
                    self._recording.keep_traceback(number, text)
                yield from self._end(results)
            case Divided(parts, epoch, reason):
                _log.debug("trials %s go on after epoch %d: %s", parts, epoch, reason)
                self._study.groups.divide(parts)
                self._scheduler.divided(worker, event)
                self._heard_at[worker] = time.monotonic()
            case Saved(epoch):
                self._scheduler.saved(worker, epoch)
            case Lost() if self._scheduler.training(worker):
                self._working.pop(worker, None)
                self._accounts.end(worker, time.monotonic(), whole=False)
                yield from self._lost(worker, event)
            case Done() | Lost():
                self._working.pop(worker, None)
                self._accounts.end(worker, time.monotonic(), whole=isinstance(event, Done))
                if (group := self._scheduler.done(worker)) is not None:
                    remove_ours(self._study.trial_folder(group))
                if self._on_first is not None:
                    self._on_first()
                    self._on_first = None

    def _fill(self, worker: int, *, together: bool) -> None:
        members: list[Member] = []
        trials, workers = self._study.trials_left(self._plan.trials), self._engine.workers
        for question in self._scheduler.places(worker, together=together, trials=trials, workers=workers):
            if (trial := self._asked(question)) is None:
                break
            if (member := self._scheduler.join(worker, trial)) is not None:
                members.append(member)
        self._accounts.joined(worker, members)
        self._engine.answer(worker, Verdict(join=tuple(members)))

    def _judge(self, worker: int, event: Epoch) -> Iterator[Outcome]:
        """Records an epoch, and which trials the pruner gives up.

        An epoch that was recorded before the process died is not recorded again.
        """
        self._accounts.trained(worker, event)
        judging = self._scheduler.judge(worker, event)
        with self._study.together():
            if judging.pruned is None:
                self._recording.report_many(judging.values)
                # Before stages train, a head has only begun: it is no worse than its parent's was then. And the first
                # steps of stages upset what the next ones may put right: of 77 runs whose error was 1.5 times that of
                # their heads after the second epoch of their stages 5 ended better than these, of 53 after the third 1.
                self._stage_epochs.update(key for key, result in event.results.items() if result.trained_stages)
                asked = {
                    key: judging.values[key] for key in judging.questions if self._stage_epochs[key] >= _STAGE_EPOCHS
                }
                pruned = self._scheduler.hopeless(worker, asked if self._study.gives_up else {})
                if self._study.has_pruner(halves=self._strategy is not None and self._strategy.halves):
                    pruned |= self._recording.prune_many(judging.questions)
                pruned |= self._recording.taken & event.results.keys()
                verdict, kept = self._scheduler.judged(worker, event, pruned)
                self._study.groups.keep_verdicts(kept)
            else:
                verdict, _ = self._scheduler.judged(worker, event, judging.pruned)
            verdict = self._with_overdue(worker, event, verdict)
            ended = self._record_ends(event.ended)
        self._engine.answer(worker, verdict)
        yield from self._told_of(ended)

    def _with_overdue(self, worker: int, event: Epoch, verdict: Verdict) -> Verdict:
        """Also ends the trials that have trained for too long, unless this was their last epoch.

        What the other parts of a divided group take, which train one after another, is not theirs.
        """
        now = time.monotonic()
        before, self._heard_at[worker] = self._heard_at[worker], now
        if (limit := self._plan.trial_timeout) is None:
            return verdict
        for key in event.results:
            self._trained[key] += now - before
        reason = f"trained for longer than --trial-timeout {duration_text(limit)}"
        unended = [key for key, result in event.results.items() if result.epoch < self._plan.epochs]
        going_on = [key for key in unended if self._trained[key] > limit]
        return replace(verdict, stop={key: (State.INFEASIBLE, reason) for key in going_on} | dict(verdict.stop))

    def _end(self, results: Mapping[int, FitResult]) -> Iterator[Outcome]:
        """Records how trials ended, and with them those that waited for their ends."""
        return self._told_of(self._record_ends(results))

    def _record_ends(self, results: Mapping[int, FitResult]) -> dict[int, FitResult]:
        """The results that counted when they were recorded."""
        ended = {number: result for number, result in results.items() if self._recording.is_open(number)}
        with self._study.together():
            for number, result in ended.items():
                del self._stage_epochs[number]
                self._trained.pop(number, None)
                self._recording.finish(number, result, self._accounts.of(number))
        return ended

    def _told_of(self, ended: Mapping[int, FitResult]) -> Iterator[Outcome]:
        """Tells the scheduler of ends that are in the storage, and not before: another driver may have been first."""
        with self._study.together():
            told = {number: self._told(number, result) for number, result in ended.items()}
        for number in ended:
            for follower in self._scheduler.ended(number, told[number]):
                self._recording.answer(follower, number)
        return iter([Outcome(*each) for each in ended.items() if each[0] not in self._recording.taken])

    def _told(self, number: int, result: FitResult) -> Finished | None:
        """What a strategy learns from a trial that ended."""
        if number in self._recording.taken or result.state not in (State.COMPLETE, State.PRUNED):
            return None
        return finished_trial(self._study.trial(number))

    def _lost(self, worker: int, event: Lost) -> Iterator[Outcome]:
        numbers, saved = self._scheduler.training(worker), self._scheduler.progress_saved(worker)
        whose = f"trial {numbers[0]} goes" if len(numbers) == 1 else f"trials {', '.join(map(str, numbers))} go"
        where = f"on after epoch {saved}" if saved else "back to the beginning"
        times = self._study.groups.lost(numbers, from_outside=event.from_outside)
        losses = self._scheduler.lost(worker, times)
        if losses.isolated:
            self._study.groups.divide([(number,) for number in losses.isolated], suspects=True)
        if not losses.given_up:
            _log.warning("worker %d died (%s): %s %s", worker, event.reason, whose, where)
        for trial in losses.given_up:
            what = "worker killed too often" if event.from_outside else "worker died twice"
            result = FitResult(State.FAILED, f"{what} ({event.reason})", None, (), 0.0, trial.seed)
            yield from self._end({trial.number: result})
        if losses.given_up:
            remove_ended(self._folder, self._study.groups.under_way())

    # --- stops and progress

    def _heard(self, worker: int, working: Working | None) -> None:
        if working is not None:
            self._working[worker] = working
        self._check()

    def _check(self) -> None:
        if time.monotonic() > self._deadline:
            raise Interrupted("the time is up")
        working = self._working.values()
        done = sum(each.epochs_done for each in working) / self._plan.epochs
        self._watch(Progress(sum(each.lanes for each in working), done))


def run_study(
    study: Study,
    plan: Plan,
    engine: AbstractEngine,
    watch: Watch,
    *,
    enough: Callable[[], bool] = lambda: False,
    costs: CostModel | None = None,
    reserve: Callable[[], float] = lambda: 0.0,
    on_first: Callable[[], None] = lambda: None,
) -> Iterator[Outcome]:
    """See `Driver.run`. `enough` is asked when trials have ended: whether the run ends before its plan is fulfilled.
    `costs` as in `strategy_of`. `reserve` is asked in how many of the last seconds nothing is to begin. `on_first` is
    called when the first group has ended, before there is a second one if there is one worker."""
    return Driver(study, plan, engine, watch, enough, costs, reserve, on_first).run()
