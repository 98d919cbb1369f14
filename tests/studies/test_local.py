"""Workers in processes of their own: whatever happens to one of them, nothing is lost and nothing is done twice."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from search_spaces import InputError, Task
from studies import Outcome, Plan, Progress, Study
from studies.driver import run_study
from studies.engines import InlineEngine, LocalEngine, default_workers, engine_for, engine_named, kept
from studies.engines.local import gpu_name
from studies.engines.ray import cores_each
from studies.placement import Placement
from studies.plan import StoredData
from training import Data, Numerics

from ..contracts.engine import EPOCHS, EngineContract
from ..toys import SMALL, DeadlySource, ToyData, ToySource, small_weights
from .settings import settings_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
class TestLocal(EngineContract):
    """With one worker it keeps every promise, that of one seed and one result included."""

    @pytest.fixture
    def engine(self) -> Iterator[LocalEngine]:
        engine = LocalEngine(Placement(1))
        yield engine
        engine.stop()

    def test_interrupted_and_resumed_is_the_same_as_undisturbed(self) -> None:
        pytest.skip("how often it looks is a matter of time: see the test with both engines")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "weights").mkdir()
    return small_weights(tmp_path / "weights")


def plan(weights: Path, trials: int, *, lanes: int = 1, task: Task = SMALL) -> Plan:
    return Plan(
        task=task,
        data=cast(Data, ToyData()),
        trials=trials,
        epochs=EPOCHS,
        timeout=None,
        device=torch.device("cpu"),
        numerics=Numerics(),
        weights_dir=weights,
        download=False,
        lanes=lanes,
        source=ToySource(),
    )


def a_study(url: Path, pruner: str = "none") -> Study:
    return Study.create("s", str(url), settings_for(SMALL, epochs=EPOCHS, pruner=pruner), SMALL.recipe)


def reopened(url: Path) -> Study:
    return Study.open("s", str(url), to_run=True)


def table(study: Study) -> list[tuple[object, ...]]:
    return [(r.number, r.state, r.config, r.value, r.curve) for r in study.records()]


def nothing(_progress: Progress) -> None:
    pass


def ended(pid: int) -> bool:
    """Whether a process ends within some seconds; it need not be our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 30)[0])
    finally:
        os.close(descriptor)


def test_two_workers_train_every_trial_once(tmp_path: Path, weights: Path) -> None:
    study, engine = a_study(tmp_path / "j.log"), LocalEngine(Placement(2))
    pids: set[int] = set()
    outcomes = []
    for outcome in run_study(study, plan(weights, 6), engine, nothing):
        outcomes.append(outcome)
        pids |= set(engine.processes().values())
    assert sorted(outcome.number for outcome in outcomes) == list(range(6))
    records = reopened(tmp_path / "j.log").records()
    assert [record.state for record in records] == ["complete"] * 6
    for outcome in outcomes:
        assert records[outcome.number].value == outcome.result.value
    assert not list(study.folder.glob("trials/*"))
    assert len(pids) == 2
    assert all(ended(pid) for pid in pids)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path, weights: Path, lanes: int) -> None:
    a_study(tmp_path / "whole.log")
    list(run_study(reopened(tmp_path / "whole.log"), plan(weights, 6, lanes=lanes), LocalEngine(Placement(1)), nothing))
    a_study(tmp_path / "j.log")
    engine = LocalEngine(Placement(1))
    outcomes = []
    for outcome in run_study(reopened(tmp_path / "j.log"), plan(weights, 6, lanes=lanes), engine, nothing):
        outcomes.append(outcome.number)
        if len(outcomes) in (1, 4):
            os.kill(engine.processes()[0], signal.SIGKILL)
    assert sorted(outcomes) == list(range(6))
    assert table(reopened(tmp_path / "j.log")) == table(reopened(tmp_path / "whole.log"))


@pytest.mark.slow
def test_a_worker_is_replaced_though_what_starts_workers_was_killed(tmp_path: Path, weights: Path) -> None:
    a_study(tmp_path / "j.log")
    engine = LocalEngine(Placement(1))
    outcomes = []
    for outcome in run_study(reopened(tmp_path / "j.log"), plan(weights, 4), engine, nothing):
        outcomes.append(outcome.number)
        if len(outcomes) == 1:
            assert engine._fork_server is not None
            os.kill(engine._fork_server._popen.pid, signal.SIGKILL)
            os.kill(engine.processes()[0], signal.SIGKILL)
    assert sorted(outcomes) == list(range(4))


@pytest.mark.slow
def test_one_of_two_workers_is_killed(tmp_path: Path, weights: Path) -> None:
    a_study(tmp_path / "j.log")
    engine = LocalEngine(Placement(2))
    outcomes = []
    for outcome in run_study(reopened(tmp_path / "j.log"), plan(weights, 8), engine, nothing):
        outcomes.append(outcome.number)
        if len(outcomes) == 2:
            os.kill(engine.processes()[1], signal.SIGKILL)
    assert sorted(outcomes) == list(range(8))
    assert [record.state for record in reopened(tmp_path / "j.log").records()] == ["complete"] * 8


@pytest.mark.slow
def test_a_trial_that_kills_its_worker_twice_has_failed(tmp_path: Path, weights: Path) -> None:
    study = a_study(tmp_path / "j.log")
    what = replace(plan(weights, 2), source=DeadlySource())
    outcomes = list(run_study(study, what, LocalEngine(Placement(2)), nothing))
    assert [(o.result.state, o.result.reason) for o in outcomes] == [("failed", "worker died twice (exit code 7)")] * 2
    assert [record.reason for record in study.records()] == ["worker died twice (exit code 7)"] * 2


@pytest.mark.slow
def test_a_study_goes_on_with_any_engine(tmp_path: Path, weights: Path) -> None:
    """Left after each outcome, by each engine in turn, it ends like the undisturbed one."""
    what = plan(weights, 5)
    a_study(tmp_path / "whole.log", "median")
    list(run_study(reopened(tmp_path / "whole.log"), what, InlineEngine(), nothing))
    a_study(tmp_path / "j.log", "median")
    for turn in range(5):
        engine = LocalEngine(Placement(1)) if turn % 2 else InlineEngine()
        with closing(cast("Iterator[Outcome]", run_study(reopened(tmp_path / "j.log"), what, engine, nothing))) as run:  # type: ignore[type-var]
            next(run)
    list(run_study(reopened(tmp_path / "j.log"), what, InlineEngine(), nothing))
    assert table(reopened(tmp_path / "j.log")) == table(reopened(tmp_path / "whole.log"))


@pytest.mark.slow
def test_workers_stay_from_one_part_of_a_search_to_the_next(tmp_path: Path, weights: Path) -> None:
    a_study(url := tmp_path / "j.log")
    local, what = LocalEngine(Placement(2)), plan(weights, 4)
    with kept(local) as engine:
        list(run_study(reopened(url), what, engine, nothing))
        first = local.processes()
        list(run_study(reopened(url), replace(what, trials=8), engine, nothing))
        assert local.processes() == first
        # Not those that had something to do, nor those that were told of other data.
        with closing(
            cast("Iterator[Outcome]", run_study(reopened(url), replace(what, trials=12), engine, nothing))
        ) as run:  # type: ignore[type-var]
            next(run)
        assert not local.processes()
        list(run_study(reopened(url), replace(what, trials=12), engine, nothing))
        second = local.processes()
        list(run_study(reopened(url), replace(what, trials=13, data=cast(Data, ToyData())), engine, nothing))
        third = local.processes()
    pids = [*first.values(), *second.values(), *third.values()]
    assert len(set(pids)) == 6
    assert all(ended(pid) for pid in pids)
    assert [record.state for record in reopened(url).records()] == ["complete"] * 13


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_has_nothing_to_do_is_replaced(tmp_path: Path, weights: Path) -> None:
    a_study(url := tmp_path / "j.log")
    local, what = LocalEngine(Placement(2)), plan(weights, 2)
    with kept(local) as engine:
        list(run_study(reopened(url), what, engine, nothing))
        os.kill(local.processes()[0], signal.SIGKILL)
        list(run_study(reopened(url), replace(what, trials=8), engine, nothing))
        assert len(local.processes()) == 2
    assert [record.state for record in reopened(url).records()] == ["complete"] * 8


@pytest.mark.slow
def test_workers_end_when_their_driver_is_killed(tmp_path: Path, weights: Path) -> None:
    a_study(tmp_path / "j.log")
    code = (
        "import sys; from pathlib import Path; from studies.driver import run_study; "
        "from studies.engines import LocalEngine; from studies.placement import Placement; "
        "from tests.studies.test_local import plan, reopened\n"
        "engine = LocalEngine(Placement(2))\n"
        "def watch(_progress):\n"
        "    if len(engine.processes()) == 2: print(*engine.processes().values(), flush=True)\n"
        "for _ in run_study(reopened(Path(sys.argv[1])), plan(Path(sys.argv[2]), 90), engine, watch): pass"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "j.log"), str(weights)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert driver.stdout is not None
    pids = [int(word) for word in driver.stdout.readline().split()]
    driver.kill()
    driver.communicate()
    assert len(pids) == 2
    assert all(ended(pid) for pid in pids)
    assert not reopened(tmp_path / "j.log").is_running()


def test_data_that_cannot_be_opened_again_is_refused(tmp_path: Path, weights: Path) -> None:
    study = a_study(tmp_path / "j.log")
    with pytest.raises(InputError, match="leave --workers out"):
        list(run_study(study, replace(plan(weights, 1), source=None), LocalEngine(Placement(2)), nothing))


@pytest.mark.slow
def test_what_a_worker_cannot_open_is_one_line(tmp_path: Path, weights: Path) -> None:
    study = a_study(tmp_path / "j.log")
    what = replace(plan(weights, 1), source=StoredData(str(tmp_path / "nowhere"), skip_unreadable=False))
    with pytest.raises(InputError, match="nowhere"):
        list(run_study(study, what, LocalEngine(Placement(2)), nothing))
    changed = replace(plan(weights, 1), data=cast(Data, ToyData(fingerprint="other")))
    with pytest.raises(InputError, match="has changed since the search began"):
        list(run_study(reopened(tmp_path / "j.log"), changed, LocalEngine(Placement(2)), nothing))


def test_the_engine_follows_from_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (engine_for(1), engine_for(2)) == ("inline", "local")
    assert engine_named("local", Placement(3)).workers == 3
    assert default_workers(torch.device("cpu"), 2) == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [default_workers(torch.device("cuda"), share) for share in (1, 2)] == [3, 6]
    assert default_workers(torch.device("cuda", 1), 2) == 2
    with pytest.raises(InputError, match="one worker"):
        engine_named("inline", Placement(2))
    with pytest.raises(InputError, match="--workers"):
        engine_named("local", Placement(0))


@pytest.mark.parametrize(
    ("nodes", "workers", "cores"),
    [([8], 2, 4), ([8], 3, 2), ([2, 2, 2], 2, 2), ([16, 2], 3, 5), ([2], 4, 1), ([], 1, 1), ([4, 4], 8, 1)],
)
def test_a_worker_s_cores_are_all_on_one_node(nodes: list[int], workers: int, cores: int) -> None:
    assert cores_each(nodes, workers) == cores


def test_a_worker_sees_the_gpu_that_the_user_left_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1, 2,4")
    assert [gpu_name(worker) for worker in range(6)] == ["0", "1", "2", "4", "0", "1"]


def test_a_gpu_is_named_by_what_means_the_same_in_every_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=f"aa-{number}"))
    assert [gpu_name(worker) for worker in range(3)] == ["GPU-aa-0", "GPU-aa-1", "GPU-aa-0"]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _number: SimpleNamespace())
    assert gpu_name(1) == "1"
