from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from search_spaces import Choice, Config, Float, InputError, Integer, SearchSpace
from studies import Plan
from studies.driver import run_study
from studies.engines import ENGINES, AbstractEngine, InlineEngine, KeptEngine, engine_named
from studies.records import TrialRecord
from training import fit, load_backbone, spec_of, structure_part
from training.lanes.heads import HeadStack

from ..contracts.engine import EPOCHS, EngineContract
from ..toys import SMALL, ToyData, small_weights

# Two structures: heads only, on two batch sizes.
WIDE = replace(
    SMALL,
    name="wide",
    recipe=SMALL.space.activate(SMALL.recipe | {"unfrozen_stages": 0}),
    space=SMALL.space.replace(unfrozen_stages=Choice(0), batch_size=Choice(8, 16)),
)


class TestInline(EngineContract):
    @pytest.fixture
    def engine(self) -> AbstractEngine:
        return InlineEngine()


class TestKept(EngineContract):
    """Where workers stay, too."""

    @pytest.fixture
    def engine(self) -> AbstractEngine:
        return KeptEngine(InlineEngine())


class TestLanes(TestInline):
    """The same promises for trials that train side by side."""

    lanes = 3

    def wide(self, weights: Path, trials: int) -> Plan:
        return replace(self.plan(weights, trials, task=WIDE), lanes=self.lanes)

    def test_lanes_are_trials_of_one_structure_that_begin_together(
        self, engine: AbstractEngine, url: str, weights: Path
    ) -> None:
        study = self.study(url, task=WIDE, pruner="hyperband")
        outcomes = self.run(engine, study, self.wide(weights, 14))
        records = study.records()
        assert len(outcomes) == len(records) == 14
        assert {record.state for record in records} == {"complete", "pruned"}
        groups: dict[int, list[TrialRecord]] = {}
        trials = study._study.get_trials(deepcopy=False)
        for record in records:
            groups.setdefault(trials[record.number].user_attrs["group"], []).append(record)
        for first, members in groups.items():
            assert first == members[0].number
            assert len({tuple(sorted(structure_part(member.config).items())) for member in members}) == 1
        assert len(groups) >= 3
        # A structure may have a second group, in which all begin together again.
        assert max(len(members) for members in groups.values()) <= self.lanes
        assert any("origin" in trial.user_attrs for trial in trials)

    def test_networks_that_are_trained_whole_wait_for_no_others_of_their_shape(
        self, engine: AbstractEngine, url: str, weights: Path
    ) -> None:
        shapes = {"conv_blocks": Integer(1, 2), "conv_kernel": Choice(3, 5), "learning_rate": Float(1e-4, 1e-2)}
        space = SearchSpace({"backbone": Choice("cnn:3x16x16"), "resolution": Choice(16), **shapes})
        recipe: Config = {"backbone": "cnn:3x16x16", "resolution": 16, "conv_blocks": 1}
        task = replace(WIDE, space=space, recipe=recipe | {"conv_kernel": 3, "learning_rate": 1e-3})
        study = self.study(url, task=task)
        self.run(engine, study, replace(self.plan(weights, 5, task=task), lanes=self.lanes))
        trials = study._study.get_trials(deepcopy=False)
        assert [trial.user_attrs["group"] for trial in trials] == list(range(5))

    def test_trials_that_fine_tune_on_a_kept_prefix_follow_each_other(
        self, engine: AbstractEngine, url: str, weights: Path
    ) -> None:
        space = SMALL.space.replace(unfrozen_stages=Choice(1), views=Choice(2), batch_size=Choice(8, 16))
        task = replace(SMALL, recipe=SMALL.recipe | {"views": 2}, space=space)
        study = self.study(url, task=task)
        running: list[int] = []
        plan = replace(self.plan(weights, 5, task=task), lanes=self.lanes)
        list(run_study(study, plan, engine, lambda progress: running.append(progress.running)))
        assert max(running) == 1
        trials = study._study.get_trials(deepcopy=False)
        assert [trial.user_attrs["group"] for trial in trials] == list(range(5))
        # They still come in runs of one structure, whose prefix is computed once.
        origins = Counter(trial.user_attrs.get("origin", trial.number) for trial in trials)
        assert 1 < max(origins.values()) <= self.lanes

    def test_a_trial_of_a_group_is_trained_again_alone(self, engine: AbstractEngine, url: str, weights: Path) -> None:
        study = self.study(url, task=WIDE, pruner="median")
        self.run(engine, study, self.wide(weights, 9))
        splits = ToyData().at(32)
        for record in study.records():
            alone = fit(
                WIDE,
                record.config,
                splits,
                epochs=EPOCHS,
                seed=record.seed,
                backbones=partial(load_backbone, weights_dir=weights),
            )
            values = tuple((epoch.epoch, epoch.value) for epoch in alone.curve)
            assert values[: len(record.curve)] == record.curve

    def test_a_lane_that_breaks_does_not_take_the_others_with_it(
        self, engine: AbstractEngine, url: str, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = self.study(str(weights / "whole" / "journal.log"), task=WIDE)
        self.run(engine, whole, self.wide(weights, 6))
        broken = whole.records()[1].config
        begin = HeadStack.begin

        def breaks(self: HeadStack, epoch: int, order: Sequence[torch.Tensor]) -> None:
            if epoch == 2 and any(head.spec == spec_of(broken) for head in self._heads):
                raise ValueError("this one")
            begin(self, epoch, order)

        monkeypatch.setattr(HeadStack, "begin", breaks)
        study = self.study(url, task=WIDE)
        self.run(engine, study, self.wide(weights, 3))
        records = {tuple(record.config.items()): record for record in study.records()}
        assert records.pop(tuple(broken.items())).reason == "ValueError: this one"
        for expected in whole.records():
            if (record := records.get(tuple(expected.config.items()))) is not None:
                assert (record.state, record.curve) == (expected.state, expected.curve)
        assert len(records) == 2


def test_every_engine_is_under_the_contract() -> None:
    assert set(ENGINES) == {"inline", "local", "ray"}
    assert isinstance(engine_named("inline"), InlineEngine)
    with pytest.raises(InputError, match="inline"):
        engine_named("cluster")


def test_what_lies_in_memory_is_used_by_the_next_run_on_the_same_data_alone(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    contract = EngineContract()
    first = contract.plan(small_weights(tmp_path / "weights"), 1)
    inline = InlineEngine()
    engine = KeptEngine(inline)
    heard: list[int] = []
    engine.start(first, lambda worker, _working: heard.append(worker))
    worker = inline._worker
    engine.start(replace(first, trials=9, timeout=5.0), lambda _worker, _working: heard.append(7))
    assert inline._worker is worker
    assert worker is not None
    worker.check(None)
    assert heard == [7]
    for other in (replace(first, data=ToyData()), replace(first, weights_dir=tmp_path)):
        engine.start(other, lambda _worker, _working: None)
        assert inline._worker is not worker
