"""Runs that complete are scored on changed photos too, where a job asks for it, and never lose their result by it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

import training.lanes.runner as runner_module
from search_spaces import Config, InputError
from training import Ended, Epoch, FitResult, GroupFolder, GroupRunner, Job, Member, Prefixes, PrefixStore, State
from training.data import shifted
from training.lanes.group import LaneGroup
from training.models.spec import resolve

from ...toys import TOY, toy_backbone, toy_splits

EPOCHS = 2
HEADS: list[Config] = [
    TOY.space.activate(TOY.recipe | {"unfrozen_stages": 0, "views": 2, "learning_rate": rate, "head_width": width})
    for rate, width in ((0.01, 0), (0.03, 8))
]
TUNED: list[Config] = [
    TOY.space.activate(TOY.recipe | {"unfrozen_stages": 1, "learning_rate": r}) for r in (0.01, 0.02)
]
DIVERGING = TOY.space.activate(
    TOY.recipe | {"unfrozen_stages": 0, "optimizer": "sgd", "momentum": 0.9, "learning_rate": 1e9}
)
SPLITS = toy_splits(noise=0.9)


def runner(
    configs: list[Config],
    folder: Path | None = None,
    check_stop: Callable[[], None] = lambda: None,
    saves: Path | None = None,
    *,
    latest: int = 0,
    robust: bool = True,
) -> GroupRunner:
    members = tuple(Member(key, config) for key, config in enumerate(configs))
    store = None if folder is None else PrefixStore(folder, disk_limit=2**30, memory_limit=2**28)
    return GroupRunner(
        TOY,
        Job(members, 3, EPOCHS, latest=latest, robust=robust),
        lambda _resolution: SPLITS,
        Prefixes(backbones=toy_backbone, store=store, check_stop=check_stop),
        saves=None if saves is None else GroupFolder((saves,), {}, latest),
    )


def results(run: GroupRunner) -> dict[int, FitResult]:
    found: dict[int, FitResult] = {}
    with closing(run.run()) as events:
        for event in events:
            if isinstance(event, Epoch):
                found |= event.ended
            elif isinstance(event, Ended):
                found |= event.results
    return found


def by_hand(config: Config) -> float:
    """The mean accuracy on all forms of the validation photos, with a model put together and read as a whole."""
    spec = resolve(TOY, config)
    structure = spec.structure(3)
    group = LaneGroup(TOY, SPLITS, structure, epochs=EPOCHS, seed=3, prefixes=Prefixes(backbones=toy_backbone))
    group.add(0, config)
    for _ in range(EPOCHS):
        group.train_epoch()
    model = group.model(0).eval()
    right = []
    with torch.no_grad():
        for form in shifted(SPLITS, "image"):
            pixels, labels = form.take(torch.arange(len(form)))
            features = model.suffix(group.prefixes.inputs(pixels, structure, 0, None), 0)
            right.append(float((model.head(features).argmax(1) == labels).double().mean()))
    return sum(right) / len(right)


@pytest.mark.parametrize("configs", [HEADS, TUNED], ids=["heads", "stages"])
@pytest.mark.parametrize("kept", [False, True])
def test_it_is_the_mean_accuracy_on_the_changed_photos(tmp_path: Path, configs: list[Config], kept: bool) -> None:
    found = results(runner(configs, tmp_path if kept else None))
    for key, config in enumerate(configs):
        assert found[key].robust == pytest.approx(by_hand(config), abs=1 / len(SPLITS.valid))
        outputs = found[key].outputs
        assert outputs is not None
        assert outputs.shifted is not None
        assert outputs.shifted.shape == (len(shifted(SPLITS, "image")), *outputs.values.shape)
        assert outputs.shifted.dtype == outputs.values.dtype
        # The figure is what these outputs say.
        right = outputs.shifted.argmax(2) == outputs.labels
        assert found[key].robust == pytest.approx(right.mean())


def test_nothing_else_of_a_result_changes() -> None:
    plain, robust = results(runner(HEADS, robust=False)), results(runner(HEADS))
    for key in plain:
        assert plain[key].robust is None
        assert robust[key].robust is not None
        assert robust[key].predictions == plain[key].predictions
        assert [epoch.loss for epoch in robust[key].curve] == [epoch.loss for epoch in plain[key].curve]


def test_another_head_of_the_structure_finds_the_changed_photos_outputs_kept(tmp_path: Path) -> None:
    stages: list[int] = []
    results(runner(HEADS[:1], tmp_path, lambda: stages.append(1)))
    first = len(stages)
    results(runner(HEADS[1:], tmp_path, lambda: stages.append(1)))
    # A check at each scoring of a split, and none of a piece that is computed.
    assert len(stages) - first == EPOCHS + len(shifted(SPLITS, "image"))
    assert first > 2 * len(stages[first:])


def test_a_run_that_does_not_complete_has_none() -> None:
    found = results(runner([HEADS[0], DIVERGING]))
    assert (found[0].state, found[1].state) == (State.COMPLETE, State.INFEASIBLE)
    assert found[0].robust is not None
    assert found[1].robust is None


@pytest.mark.parametrize("problem", [MemoryError(), RuntimeError("odd pixels")])
def test_a_problem_there_costs_no_result(
    problem: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(_group: LaneGroup, _keys: object) -> None:
        raise problem

    monkeypatch.setattr(runner_module, "score_shifted", breaks)
    found = results(runner(HEADS))
    assert {result.state for result in found.values()} == {State.COMPLETE}
    assert {result.robust for result in found.values()} == {None}
    assert "not scored on changed examples" in caplog.text


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), InputError("the disk is full")])
def test_a_stop_there_passes_through_and_the_run_goes_on_from_its_last_epoch(
    tmp_path: Path, stop: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runner_module.score_shifted

    def stops(_group: LaneGroup, _keys: object) -> None:
        raise stop

    monkeypatch.setattr(runner_module, "score_shifted", stops)
    with pytest.raises(type(stop)):
        results(runner(HEADS, saves=tmp_path / "saves"))
    monkeypatch.setattr(runner_module, "score_shifted", real)
    trained: list[object] = []
    again = runner(HEADS, saves=tmp_path / "saves", latest=EPOCHS)
    again.on_batch = trained.append
    found = results(again)
    assert trained == []
    assert {key: result.robust for key, result in found.items()} == {
        key: result.robust for key, result in results(runner(HEADS)).items()
    }
