"""What a scheduler decides, from proposals and events alone: nothing is trained and nothing is stored."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Config
from studies.attempts import Verdicts
from studies.scheduled import Ask, Group, Order, Trial
from studies.scheduler import Scheduler
from studies.strategy import Arm, Finished
from training import Divided, EpochResult, FitResult, Job, Member, State
from training.lanes.jobs import Epoch

EPOCHS = 4
FOLDER = Path("trials")


def trial(number: int, kind: str = "a", *, seed: int = 0, shares: bool = True, config: Config | None = None) -> Trial:
    return Trial(number, config or {"kind": kind, "rate": number}, seed, {"kind": kind}, shares)


def epoch(number: int, *keys: int, values: Mapping[int, float] | None = None) -> Epoch:
    results = {key: EpochResult(number, EPOCHS, 1.0, 1.0, (values or {}).get(key, 0.5), 1.0, 10, 0) for key in keys}
    ended = {key: FitResult(State.COMPLETE, "", 0.5, (), 1.0, 0) for key in keys if number == EPOCHS}
    return Epoch(number, results, ended)


class Play:
    """A scheduler with a sampler that gives trials as long as there are some, and workers that do as they are told."""

    def __init__(self, trials: int, *, lanes: int = 3, workers: int = 1, together: bool = True) -> None:
        self.scheduler = Scheduler(epochs=EPOCHS, lanes=lanes, folder=FOLDER)
        self.left = trials
        self.number = 0
        self.together = together
        self.workers = workers
        self.jobs: dict[int, Job] = {}
        self.groups: list[tuple[int, ...]] = []
        self.asked: list[Ask] = []

    def propose(self, question: Ask, kind: str = "a") -> Trial | None:
        self.asked.append(question)
        if self.number == self.left:
            return None
        self.number += 1
        kind = str(question.structure["kind"]) if question.structure else kind
        return trial(self.number - 1, kind, seed=question.seed or 0)

    def give_out(self) -> None:
        for worker in range(self.workers):
            while worker not in self.scheduler.out:
                match self.scheduler.next(worker):
                    case Ask() as question:
                        self.scheduler.take(self.propose(question))
                    case Order(job, numbers):
                        members = list(job.members)
                        assert set(numbers) <= {member.key for member in members}
                        if job.open:
                            members += self.fill(worker)
                        self.jobs[worker] = job
                        self.groups.append(tuple(member.key for member in members))
                    case None:
                        break

    def fill(self, worker: int) -> list[Member]:
        joined = []
        left = self.left - self.number
        for question in self.scheduler.places(worker, together=self.together, trials=left, workers=self.workers):
            if (proposal := self.propose(question)) is None:
                break
            if (member := self.scheduler.join(worker, proposal)) is not None:
                joined.append(member)
        return joined

    def train(self, worker: int, first: int = 1, last: int = EPOCHS) -> None:
        for number in range(first, last + 1):
            event = epoch(number, *self.scheduler.training(worker))
            self.scheduler.judge(worker, event)
            self.scheduler.judged(worker, event, frozenset())
            for key in event.ended:
                self.scheduler.ended(key)

    def run(self) -> None:
        while True:
            self.give_out()
            if not self.scheduler.out:
                return
            worker = min(self.scheduler.out)
            self.train(worker)
            self.scheduler.done(worker)


def test_a_structure_gets_two_groups_before_the_sampler_is_asked_for_another() -> None:
    play = Play(14)
    play.run()
    assert play.groups == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11), (12, 13)]
    # Freely for each of three structures, and when no trial was left.
    assert len([question for question in play.asked if question.structure is None]) == 4
    assert [q.origin for q in play.asked if q.structure and q.group is None] == [0, 6, 12]


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 5))
def test_no_worker_takes_more_than_its_share_of_the_last_trials(trials: int, lanes: int, workers: int) -> None:
    play = Play(trials, lanes=lanes, workers=workers)
    play.run()
    assert sorted(number for group in play.groups for number in group) == list(range(trials))
    begun = 0
    for group in play.groups:
        assert len(group) <= max(-(-(trials - begun) // workers), 1)
        begun += len(group)


def test_where_lanes_gain_nothing_trials_of_a_structure_follow_each_other() -> None:
    play = Play(5, together=False)
    play.run()
    assert play.groups == [(0,), (1,), (2,), (3,), (4,)]
    assert [question.origin for question in play.asked[:5]] == [None, 0, 0, None, 3]


def test_what_shares_nothing_does_not_wait_for_others_of_its_structure() -> None:
    scheduler = Scheduler(epochs=EPOCHS, lanes=3, folder=FOLDER)
    assert scheduler.next(0) == Ask()
    scheduler.take(trial(0, shares=False))
    assert isinstance(scheduler.next(0), Order)
    assert list(scheduler.places(0, together=True)) == []
    scheduler.ended(0)
    assert scheduler.done(0) == 0
    assert scheduler.next(0) == Ask()


@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_every_trial_is_trained_once_whatever_the_workers(
    trials: int, lanes: int, workers: int, together: bool
) -> None:
    play = Play(trials, lanes=lanes, workers=workers, together=together)
    play.run()
    assert sorted(key for group in play.groups for key in group) == list(range(trials))
    assert max(map(len, play.groups), default=0) <= (lanes if together else 1)


def test_each_worker_has_a_structure_of_its_own() -> None:
    play = Play(9, workers=2)
    play.give_out()
    assert play.groups == [(0, 1, 2), (3, 4, 5)]
    assert {job.folders for job in play.jobs.values()} == {(FOLDER / "00000",), (FOLDER / "00003",)}
    assert pickle.loads(pickle.dumps(play.jobs)) == play.jobs


def test_a_group_asks_for_its_own_structure_and_seed() -> None:
    scheduler = Scheduler(epochs=EPOCHS, lanes=2, folder=FOLDER)
    scheduler.next(0)
    scheduler.take(trial(0, "b", seed=7))
    order = scheduler.next(0)
    assert isinstance(order, Order)
    assert order.job.seed == 7
    assert next(scheduler.places(0, together=True)) == Ask({"kind": "b"}, 7, group=0, origin=0)


def test_a_trial_that_equals_one_under_way_waits_for_its_end() -> None:
    scheduler = Scheduler(epochs=EPOCHS, lanes=3, folder=FOLDER)
    scheduler.next(0)
    scheduler.take(trial(0, config={"rate": 1}))
    scheduler.next(0)
    places = scheduler.places(0, together=True)
    next(places)
    assert scheduler.join(0, trial(1, config={"rate": 1})) is None
    next(places)
    assert scheduler.join(0, trial(2, config={"rate": 1}, seed=1)) is not None  # another seed is another run
    # Nor is it trained by another worker.
    scheduler.next(1)
    scheduler.take(trial(3, config={"rate": 1}))
    assert scheduler.next(1) == Ask()
    assert scheduler.ended(0) == [1, 3]
    assert scheduler.ended(2) == []


def test_an_epoch_is_recorded_once_and_the_pruned_are_stopped() -> None:
    play = Play(3)
    play.give_out()
    first = epoch(1, 0, 1, 2, values={2: math.nan})
    judging = play.scheduler.judge(0, first)
    assert judging.values == {0: (1, 0.5), 1: (1, 0.5)}
    assert judging.questions == (0, 1)
    verdict, kept = play.scheduler.judged(0, first, frozenset({1}))
    assert verdict.stop == {1: (State.PRUNED, f"pruned after epoch 1 of {EPOCHS}")}
    assert kept == {0: Verdicts(1, frozenset({1}), 6)}
    # Said again, as by a worker that took the group over: nothing is recorded, and who was pruned is stopped again.
    judging = play.scheduler.judge(0, first)
    assert (judging.values, judging.questions, judging.pruned) == ({}, (), frozenset({1}))
    assert play.scheduler.judged(0, first, frozenset({1}))[0] == verdict


def test_the_last_epoch_is_no_question_to_the_pruner() -> None:
    play = Play(2)
    play.give_out()
    judging = play.scheduler.judge(0, epoch(EPOCHS, 0, 1))
    assert judging.values == {0: (EPOCHS, 0.5), 1: (EPOCHS, 0.5)}
    assert judging.questions == ()


def test_a_lost_group_goes_on_with_who_left_it_and_the_second_time_one_by_one() -> None:
    play = Play(3)
    play.give_out()
    play.train(0, 1, 2)
    play.scheduler.ended(1)
    assert play.scheduler.training(0) == (0, 2)
    assert play.scheduler.lost(0, {0: 1, 2: 1}).isolated == ()
    again = play.scheduler.next(0)
    assert isinstance(again, Order)
    assert [(m.key, m.left) for m in again.job.members] == [(0, None), (1, 2), (2, None)]
    assert (again.job.latest, again.job.open, again.numbers) == (3, False, (0, 2))
    losses = play.scheduler.lost(0, {0: 2, 2: 2})
    assert (losses.isolated, losses.given_up) == ((0, 2), ())
    alone = play.scheduler.next(0)
    assert isinstance(alone, Order)
    assert alone.job.folders == (FOLDER / "00000" / "part-00000", FOLDER / "00000")
    assert [m.key for m in alone.job.members] == [0]
    # The one that is to blame.
    assert [t.number for t in play.scheduler.lost(0, {0: 2}).given_up] == [0]
    other = play.scheduler.next(0)
    assert isinstance(other, Order)
    play.train(0, 3)
    assert play.scheduler.done(0) == 0
    # A structure that broke gets no more trials.
    assert play.scheduler.next(0) == Ask()


def test_the_parts_of_a_divided_group_are_judged_by_themselves() -> None:
    play = Play(4, lanes=4)
    play.give_out()
    play.train(0, 1, 1)
    play.scheduler.divided(0, Divided(((0, 1), (2, 3)), 1, "out of memory"))
    assert play.scheduler.training(0) == (0, 1)
    for number in range(2, EPOCHS + 1):
        event = epoch(number, 0, 1)
        assert play.scheduler.judge(0, event).values.keys() == {0, 1}
        play.scheduler.judged(0, event, frozenset())
    play.scheduler.ended(0)
    play.scheduler.ended(1)
    # The second part begins where the first one did, and its worker is lost in it.
    assert play.scheduler.judge(0, epoch(1, 2, 3)).pruned == frozenset()
    assert play.scheduler.training(0) == (2, 3)
    play.scheduler.lost(0, {2: 1, 3: 1})
    order = play.scheduler.next(0)
    assert isinstance(order, Order)
    assert (order.numbers, order.job.latest) == ((2, 3), 2)
    assert order.job.folders[0] == FOLDER / "00000" / "part-00002"


def restored(group: Group, most: int) -> Scheduler:
    scheduler = Scheduler(epochs=EPOCHS, lanes=3, folder=FOLDER)
    scheduler.restore([group], {0: [9]})
    scheduler.restore_origin(group.first, group.origin, group.size, most)
    return scheduler


def test_what_an_earlier_process_left_comes_first_and_is_filled_if_it_had_not_begun() -> None:
    scheduler = restored(Group.begun_with(trial(0), None), 0)
    order = scheduler.next(0)
    assert isinstance(order, Order)
    assert order.job.open
    assert next(scheduler.places(0, together=True)).group == 0
    assert scheduler.ended(0) == [9]


def test_one_that_had_begun_gets_no_more_trials_and_its_structure_a_second_group() -> None:
    group = Group.begun_with(trial(0), None)
    group.judged, group.size = 2, 3
    scheduler = restored(group, 6)
    order = scheduler.next(0)
    assert isinstance(order, Order)
    assert not order.job.open
    scheduler.ended(0)
    scheduler.done(0)
    assert scheduler.next(0) == Ask({"kind": "a"}, 0, origin=0)


@pytest.mark.parametrize(("count", "most", "again"), [(3, 6, True), (6, 6, False), (3, 0, False)])
def test_a_structure_whose_group_had_ended_gets_the_next_one(count: int, most: int, again: bool) -> None:
    scheduler = Scheduler(epochs=EPOCHS, lanes=3, folder=FOLDER)
    scheduler.restore_origin(trial(0), 0, count, most)
    assert scheduler.next(0) == (Ask({"kind": "a"}, 0, origin=0) if again else Ask())


def test_it_needs_no_torch() -> None:
    code = "import sys, studies.scheduler; assert 'torch' not in sys.modules"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


class Told:
    """A strategy that gives one group and keeps what it is told."""

    recipe_done = False
    recipe_problem = ""
    recipe_seconds = None

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.words: list[str] = []

    def next(self, left: float, trials: int | None = None, passed: float = math.inf) -> Arm | None:
        return Arm({"kind": "a"}, lanes=self.lanes) if not self.words else None

    def began(self, config: Config) -> None:
        self.words.append("began")

    def done(self, config: Config) -> None:
        self.words.append("done")

    def ended(self, trial: Finished) -> None:
        self.words.append(f"ended {trial.number}")

    def in_vain(self, arm: Arm, trials: int | None = None) -> None: ...

    def is_hopeless(self, arm: Arm, value: float) -> bool:
        return False


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_strategy_hears_of_trials_that_are_given_up_and_of_the_end_of_their_group(lanes: int) -> None:
    told = Told(lanes)
    scheduler = Scheduler(epochs=EPOCHS, lanes=lanes, folder=FOLDER, strategy=told)
    assert isinstance(scheduler.next(0), Ask)
    scheduler.take(trial(0))
    assert isinstance(scheduler.next(0), Order)
    for number, _question in enumerate(scheduler.places(0, together=True), 1):
        assert scheduler.join(0, trial(number)) is not None
    keys = dict.fromkeys(range(lanes), 2)
    lost = scheduler.lost(0, keys)
    if lanes == 2:
        assert lost.isolated == (0, 1)
        assert "done" not in told.words
        for number in (0, 1):
            assert isinstance(scheduler.next(0), Order)
            assert [one.number for one in scheduler.lost(0, {number: 2}).given_up] == [number]
            assert ("done" in told.words) == (number == 1)
    assert told.words == ["began", *(f"ended {number}" for number in range(lanes)), "done"]


def test_a_group_of_a_strategy_asks_for_no_more_trials_than_it_has_places() -> None:
    """Answers may be trials that are under way: those of a structure that has few configs."""
    scheduler = Scheduler(epochs=EPOCHS, lanes=3, folder=FOLDER, strategy=Told(3))
    assert isinstance(scheduler.next(0), Ask)
    scheduler.take(trial(0))
    assert isinstance(scheduler.next(0), Order)
    for number, _question in enumerate(scheduler.places(0, together=True, trials=20), 1):
        assert number < 3
        assert scheduler.join(0, Trial(number, trial(0).config, 0, trial(0).structure)) is None
