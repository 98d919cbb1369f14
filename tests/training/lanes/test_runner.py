"""Whatever a run meets becomes an event, and what one config does is not the others' concern."""

from __future__ import annotations

import errno
import math
import pickle
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Config, InputError
from training import (
    Divided,
    Ended,
    Epoch,
    EpochResult,
    Event,
    FitResult,
    GroupFolder,
    GroupRunner,
    Job,
    LaneGroup,
    Member,
    Prefixes,
    Ready,
    SaveClock,
    Saved,
    State,
    Verdict,
    fit,
)
from training.lanes.jobs import part_folder
from training.lanes.runner import Events, is_out_of_memory
from training.lanes.suffix import SuffixTrainer

from ...toys import TOY, toy_backbone, toy_splits

EPOCHS = 3
HEAD = TOY.space.activate(TOY.recipe | {"unfrozen_stages": 0, "views": 2})
CONFIGS: list[Config] = [HEAD | {"learning_rate": rate} for rate in (0.01, 0.02, 0.03, 0.04, 0.05)]
ABOUT = {"data": "toys"}


def runner(configs: Sequence[Config], folder: Path | None = None, **job: Any) -> GroupRunner:
    members = job.pop("members", tuple(Member(key, config) for key, config in enumerate(configs)))
    saves = None if folder is None else GroupFolder((folder,), ABOUT, job.get("latest", 0))
    prefixes = Prefixes(backbones=toy_backbone)
    return GroupRunner(TOY, Job(members, 3, EPOCHS, **job), lambda _resolution: toy_splits(), prefixes, saves=saves)


def heard(events: Events, verdicts: dict[int, Verdict] | None = None) -> list[Event]:
    """All events; the answers are by the number of the epoch, or 0 for the first word of an open job."""
    said: list[Event] = []
    verdict = None
    with closing(events):
        while True:
            try:
                event = events.send(verdict)
            except StopIteration:
                return said
            said.append(event)
            number = event.epoch if isinstance(event, Epoch) else 0 if isinstance(event, Ready) else -1
            verdict = (verdicts or {}).get(number)


def results(said: Sequence[Event]) -> dict[int, FitResult]:
    found: dict[int, FitResult] = {}
    for event in said:
        if isinstance(event, Epoch):
            found |= event.ended
        elif isinstance(event, Ended):
            found |= event.results
    return found


def losses(result: FitResult) -> list[float]:
    return [epoch.loss for epoch in result.curve]


@pytest.fixture(scope="module")
def undisturbed() -> dict[int, FitResult]:
    return results(heard(runner(CONFIGS).run()))


def test_the_lanes_of_a_job_come_to_what_fit_comes_to(undisturbed: dict[int, FitResult]) -> None:
    assert {result.state for result in undisturbed.values()} == {State.COMPLETE}
    for key, config in enumerate(CONFIGS):
        alone = fit(TOY, config, toy_splits(), epochs=EPOCHS, seed=3, backbones=toy_backbone)
        assert losses(undisturbed[key]) == pytest.approx(losses(alone), rel=1e-5)


def test_events_and_verdicts_pickle_and_print(undisturbed: dict[int, FitResult]) -> None:
    said = heard(runner(CONFIGS[:2]).run(), {1: Verdict({1: (State.PRUNED, "why")})})
    assert [type(event) for event in said] == [Epoch, Ended, Epoch, Epoch]
    for message in (*said, Verdict({1: (State.PRUNED, "why")}), runner(CONFIGS).job):
        assert str(pickle.loads(pickle.dumps(message))) == str(message)


def test_a_verdict_stops_a_run_and_leaves_the_others_alone(undisturbed: dict[int, FitResult]) -> None:
    ended = results(heard(runner(CONFIGS).run(), {2: Verdict({1: (State.PRUNED, "not worth it")})}))
    assert (ended[1].state, ended[1].reason, len(ended[1].curve)) == (State.PRUNED, "not worth it", 2)
    for key in (0, 2, 3, 4):
        assert losses(ended[key]) == pytest.approx(losses(undisturbed[key]), rel=1e-5)


def test_others_join_an_open_job_before_it_begins(undisturbed: dict[int, FitResult]) -> None:
    joining = tuple(Member(key, config) for key, config in enumerate(CONFIGS) if key)
    said = heard(runner(CONFIGS[:1], open=True).run(), {0: Verdict(join=joining)})
    assert said[0] == Ready(together=True)
    ended = results(said)
    assert {key: losses(result) for key, result in ended.items()} == {k: losses(r) for k, r in undisturbed.items()}


def test_a_group_goes_on_from_its_save_with_the_lanes_that_have_left_it_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last digit: neighbours change a lane's sums."""
    stop = {2: Verdict({4: (State.PRUNED, "why")})}
    whole = results(heard(runner(CONFIGS).run(), stop))
    with monkeypatch.context() as patched:
        patched.setattr(SaveClock, "due", lambda _clock: True)
        events = runner(CONFIGS, tmp_path).run()
        assert isinstance(next(events), Saved)
        assert isinstance(next(events), Epoch)
        events.close()
    members = tuple(Member(key, config, 2 if key == 4 else None) for key, config in enumerate(CONFIGS))
    said = heard(runner(CONFIGS, tmp_path, members=members, latest=3).run())
    assert [event.epoch for event in said if isinstance(event, Epoch)] == [1, 2, 3]
    again = results(said)
    assert again.keys() == {0, 1, 2, 3}
    assert {key: losses(again[key]) for key in again} == {key: losses(whole[key]) for key in again}


def test_who_leaves_finds_the_last_whole_epoch_saved(tmp_path: Path) -> None:
    whole = results(heard(runner(CONFIGS).run()))
    with closing(runner(CONFIGS, tmp_path).run()) as events:
        for event in events:
            if isinstance(event, Epoch) and event.epoch == 2:
                break
    said = heard(runner(CONFIGS, tmp_path, latest=2).run())
    assert [event.epoch for event in said if isinstance(event, Epoch)] == [2, 3]
    assert {key: losses(result) for key, result in results(said).items()} == {k: losses(r) for k, r in whole.items()}


class Memory:
    """A machine with room for so many lanes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, problem: Exception) -> None:
        self.seen: list[int] = []
        train_epoch = LaneGroup.train_epoch

        def limited(group: LaneGroup, *arguments: Any) -> dict[int, EpochResult]:
            self.seen.append(len(group))
            if len(group) > room and group.epoch == 1:
                raise problem
            return train_epoch(group, *arguments)

        monkeypatch.setattr(LaneGroup, "train_epoch", limited)


@pytest.mark.parametrize(
    "problem", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory")]
)
def test_out_of_memory_halves_the_group_until_it_fits(
    monkeypatch: pytest.MonkeyPatch, undisturbed: dict[int, FitResult], problem: Exception
) -> None:
    memory = Memory(monkeypatch, 2, problem)
    said = heard(runner(CONFIGS).run())
    assert [event.parts for event in said if isinstance(event, Divided)] == [((0, 1, 2), (3, 4)), ((0, 1), (2,))]
    assert memory.seen[:4] == [5, 5, 3, 2]
    ended = results(said)
    assert {result.state for result in ended.values()} == {State.COMPLETE}
    for key, result in ended.items():
        assert losses(result) == pytest.approx(losses(undisturbed[key]), rel=1e-5)


def test_a_run_that_does_not_fit_alone_is_infeasible_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    Memory(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    ended = results(heard(runner(CONFIGS[:2]).run()))
    assert [(r.state, len(r.curve)) for r in ended.values()] == [(State.INFEASIBLE, 1)] * 2
    for result in ended.values():
        assert result.memory is not None
        assert result.memory.predicted is not None
        assert result.reason == f"out of memory with batches of 8: {result.memory}"


@pytest.mark.parametrize("text", ["CUDA out of memory. Tried to", "DefaultCPUAllocator: can't allocate memory: you"])
def test_one_predicate_says_what_is_lack_of_memory(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError(text))


def test_an_exception_of_one_config_fails_it_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, undisturbed: dict[int, FitResult]
) -> None:
    train_epoch = LaneGroup.train_epoch

    def breaks(group: LaneGroup, *arguments: Any) -> dict[int, EpochResult]:
        if group.epoch == 1 and any(lane.key == 2 for lane in group.lanes):
            raise ValueError("this one")
        return train_epoch(group, *arguments)

    monkeypatch.setattr(LaneGroup, "train_epoch", breaks)
    said = heard(runner(CONFIGS).run())
    ended = results(said)
    assert (ended[2].state, ended[2].reason) == (State.FAILED, "ValueError: this one")
    (told,) = [event for event in said if isinstance(event, Ended)]
    assert told.tracebacks[2].startswith("Traceback")
    for key in (0, 1, 3, 4):
        assert losses(ended[key]) == pytest.approx(losses(undisturbed[key]), rel=1e-5)


def test_a_metric_that_is_not_defined_is_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    record = LaneGroup._record

    def undefined(group: LaneGroup, lane: Any, *arguments: Any) -> EpochResult:
        result = record(group, lane, *arguments)
        if lane.key == 1 and result.epoch == 2:
            lane.curve[-1] = result = replace(result, value=math.nan)
        return result

    monkeypatch.setattr(LaneGroup, "_record", undefined)
    ended = results(heard(runner(CONFIGS[:2]).run()))
    assert (ended[1].state, ended[1].reason) == (State.INFEASIBLE, "accuracy is not defined in epoch 2")
    assert len(ended[1].curve) == 1
    assert ended[0].state == State.COMPLETE


def test_a_group_that_is_left_again_and_again_within_an_epoch_keeps_it(tmp_path: Path) -> None:
    whole = results(heard(runner(CONFIGS).run()))
    latest = 0
    for _ in range(4):
        with closing(runner(CONFIGS, tmp_path, latest=latest).run()) as events:
            for event in events:
                if isinstance(event, Epoch) and event.epoch == 1:
                    break
        latest = 1
        assert len([path for path in tmp_path.iterdir() if path.name.startswith("000001-")]) == 1
    said = heard(runner(CONFIGS, tmp_path, latest=1).run())
    assert {key: losses(result) for key, result in results(said).items()} == {k: losses(r) for k, r in whole.items()}


def test_a_save_that_the_system_refuses_is_an_error_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_self: Path, _target: Path) -> Path:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(SaveClock, "due", lambda _clock: True)
    monkeypatch.setattr(Path, "rename", refuses)
    with pytest.raises(InputError, match="no room left"):
        heard(runner(CONFIGS, tmp_path).run())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", [1, 2])
def test_memory_that_runs_out_between_two_phases_halves_the_group_after_the_epoch(
    monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Some lanes have the stages that they are to train, and the others not yet."""
    stages = TOY.space.activate(TOY.recipe | {"unfrozen_stages": 1, "views": 2, "fine_tune_share": 0.5})
    configs: list[Config] = [stages | {"learning_rate": rate} for rate in (0.01, 0.02, 0.03)]
    whole = results(heard(runner(configs).run()))
    made = SuffixTrainer.__init__
    asked = 0

    def limited(self: SuffixTrainer, *arguments: Any, **options: Any) -> None:
        nonlocal asked
        asked += 1
        if asked == failing + 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        made(self, *arguments, **options)

    monkeypatch.setattr(SuffixTrainer, "__init__", limited)
    said = heard(runner(configs).run())
    assert [event.parts for event in said if isinstance(event, Divided)] == [((0, 1), (2,))]
    ended = results(said)
    assert {result.state for result in ended.values()} == {State.COMPLETE}
    for key, result in ended.items():
        assert losses(result) == pytest.approx(losses(whole[key]), rel=1e-3)


def test_a_group_that_was_divided_twice_goes_on_from_where_each_part_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever goes on with a part knows the group's folder and the part's name, and not how it came to be."""
    whole = results(heard(runner(CONFIGS[:4]).run()))
    Memory(monkeypatch, 1, MemoryError())
    with closing(runner(CONFIGS[:4], tmp_path).run()) as events:
        for event in events:
            if isinstance(event, Epoch) and event.epoch == 2 and 1 in event.results:
                break
    monkeypatch.undo()
    folder = part_folder(tmp_path, 1)
    prefixes = Prefixes(backbones=toy_backbone)
    saves = GroupFolder((folder, tmp_path), ABOUT, 2)
    again = GroupRunner(
        TOY, Job((Member(1, CONFIGS[1]),), 3, EPOCHS), lambda _resolution: toy_splits(), prefixes, saves=saves
    )
    said = heard(again.run())
    assert [event.epoch for event in said if isinstance(event, Epoch)] == [2, 3]
    assert losses(results(said)[1]) == pytest.approx(losses(whole[1]), rel=1e-5)
