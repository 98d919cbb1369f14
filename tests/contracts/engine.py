"""What every engine promises. A subclass names its engine: `test_engines.py`, `test_local.py`, `test_ray_engine.py`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search_spaces import Choice, InputError, Task
from studies import Interrupted, Outcome, Plan, Progress, Study
from studies.driver import run_study
from studies.engines import AbstractEngine
from training import Numerics, State

from ..studies.settings import settings_for
from ..toys import SMALL, ToyData, ToySource, small_weights

EPOCHS = 3


class EngineContract:
    """Tests over an `engine` fixture."""

    lanes = 1

    @pytest.fixture
    def engine(self) -> AbstractEngine:
        raise NotImplementedError

    @pytest.fixture
    def weights(self, tmp_path: Path) -> Path:
        (tmp_path / "weights").mkdir()
        return small_weights(tmp_path / "weights")

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path / "journal.log")

    def plan(self, weights: Path, trials: int, *, task: Task = SMALL, timeout: float | None = None) -> Plan:
        return Plan(
            task=task,
            data=ToyData(),
            trials=trials,
            epochs=EPOCHS,
            timeout=timeout,
            device=torch.device("cpu"),
            numerics=Numerics(),
            weights_dir=weights,
            download=False,
            lanes=self.lanes,
            source=ToySource(),
        )

    def study(self, url: str, *, task: Task = SMALL, pruner: str = "none") -> Study:
        return Study.create("s", url, settings_for(task, epochs=EPOCHS, pruner=pruner), task.recipe)

    def run(self, engine: AbstractEngine, study: Study, plan: Plan) -> list[Outcome]:
        return list(run_study(study, plan, engine, lambda _progress: None))

    def test_every_trial_ends_and_is_recorded(self, engine: AbstractEngine, url: str, weights: Path) -> None:
        study = self.study(url)
        outcomes = self.run(engine, study, self.plan(weights, 3))
        assert sorted(outcome.number for outcome in outcomes) == [0, 1, 2]
        records = Study.open("s", url).records()
        assert [record.state for record in records] == ["complete"] * 3
        assert records[0].config == SMALL.recipe
        for outcome in outcomes:
            record = records[outcome.number]
            assert record.value == outcome.result.value
            assert record.n == outcome.result.n == 24
            assert record.curve == tuple((epoch.epoch, epoch.value) for epoch in outcome.result.curve)
            assert SMALL.space.validate(record.config) == record.config
        assert not list(study.folder.glob("trials/*"))

    def test_one_seed_gives_one_study(self, engine: AbstractEngine, tmp_path: Path, weights: Path) -> None:
        tables = []
        for name in ("one", "other"):
            study = self.study(str(tmp_path / name / "journal.log"), pruner="median")
            self.run(engine, study, self.plan(weights, 6))
            tables.append([(r.number, r.state, r.config, r.curve) for r in study.records()])
        assert tables[0] == tables[1]

    def test_interrupted_and_resumed_is_the_same_as_undisturbed(
        self, engine: AbstractEngine, tmp_path: Path, weights: Path
    ) -> None:
        whole = self.study(str(tmp_path / "whole" / "journal.log"), pruner="median")
        self.run(engine, whole, self.plan(weights, 5))

        url = str(tmp_path / "cut" / "journal.log")
        self.study(url, pruner="median")
        calls = 0

        def watch(_progress: Progress) -> None:
            nonlocal calls
            calls += 1
            if calls % (4 * self.lanes + 5) == 0:  # longer than an epoch
                raise Interrupted("again")

        interruptions, sure = 0, []
        for _ in range(50):
            try:
                list(run_study(Study.open("s", url, to_run=True), self.plan(weights, 5), engine, watch))
                break
            except Interrupted:
                interruptions += 1
            # What was left is shown with its interval, as the workers saved it.
            left = [record for record in Study.open("s", url).records() if record.state == "interrupted"]
            sure += [record.ci95 is not None for record in left if record.value is not None]
        assert interruptions >= 2
        assert any(sure)
        cut = Study.open("s", url)
        assert [(r.number, r.state, r.config, r.curve) for r in cut.records()] == [
            (r.number, r.state, r.config, r.curve) for r in whole.records()
        ]

    def test_a_timeout_ends_the_run(self, engine: AbstractEngine, url: str, weights: Path) -> None:
        study = self.study(url)
        with pytest.raises(Interrupted, match="time"):
            self.run(engine, study, self.plan(weights, 3, timeout=1e-9))
        assert self.run(engine, Study.open("s", url, to_run=True), self.plan(weights, 2))
        assert [record.state for record in Study.open("s", url).records()] == ["complete"] * 2

    def test_a_trial_that_breaks_is_a_value_with_a_reason(
        self, engine: AbstractEngine, url: str, weights: Path
    ) -> None:
        # At 8 pixels nothing is left of an image before the last stage: torch raises.
        space = SMALL.space.replace(resolution=Choice(8))
        task = replace(SMALL, space=space, recipe=SMALL.recipe | {"resolution": 8})
        study = self.study(url, task=task)
        outcomes = self.run(engine, study, self.plan(weights, 2, task=task))
        assert [outcome.result.state for outcome in outcomes] == [State.FAILED] * 2
        for record in study.records():
            assert record.state == "failed"
            assert record.reason.startswith("RuntimeError")
            assert (study.folder / "failures" / f"{record.number:05d}.txt").read_text().startswith("Traceback")

    def test_the_caller_s_mistake_is_raised(self, engine: AbstractEngine, url: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="weights"):
            self.run(engine, self.study(url), self.plan(tmp_path / "nowhere", 1))

    def test_an_equal_config_is_answered_from_the_record(self, engine: AbstractEngine, url: str, weights: Path) -> None:
        task = replace(
            SMALL,
            space=SMALL.space.fix({k: v for k, v in SMALL.recipe.items() if k != "optimizer"} | {"momentum": 0.9}),
        )
        study = self.study(url, task=task)
        outcomes = self.run(engine, study, self.plan(weights, 8, task=task))
        assert len(outcomes) == 2  # sgd and adamw, each trained once
        records = study.records()
        assert len(records) == 8
        firsts = {record.config["optimizer"]: record for record in reversed(records)}
        for record in records:
            first = firsts[record.config["optimizer"]]
            assert (record.value, record.ci95, record.curve) == (first.value, first.ci95, first.curve)
            if record is not first:
                assert record.note == f"same config as trial {first.number}, answered from its record"
                assert record.seconds == 0
