"""The engine on Ray: the promises of every engine, on a cluster whose workers and nodes go away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search_spaces import InputError
from studies.driver import run_study
from studies.engines import InlineEngine, LocalEngine, engine_named
from studies.engines.ray import RayEngine
from studies.placement import Placement
from studies.plan import StoredData

from ..contracts.engine import EngineContract
from ..toys import DeadlySource
from .test_local import ROOT, a_study, ended, nothing, plan, reopened, table, weights  # noqa: F401

ray = pytest.importorskip("ray")
# Starting a cluster takes seconds.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Any]:
    """A cluster of one node with two cores on this machine, that all engines here find running."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Actors import these tests too.
        patch.setenv("PYTHONPATH", str(ROOT))
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        ray.init(address=found.address, log_to_driver=False)
        yield found
        ray.shutdown()
        found.shutdown()


class TestRay(EngineContract):
    @pytest.fixture
    def engine(self) -> Iterator[RayEngine]:
        engine = RayEngine(Placement(1))
        yield engine
        engine.stop()

    def test_interrupted_and_resumed_is_the_same_as_undisturbed(self) -> None:
        pytest.skip("how often it looks is a matter of time: see the test with all engines")


def test_all_engines_give_one_study(tmp_path: Path, weights: Path) -> None:  # noqa: F811
    tables = []
    for number, engine in enumerate((InlineEngine(), LocalEngine(Placement(1)), RayEngine(Placement(1)))):
        a_study(tmp_path / f"{number}.log", "median")
        list(run_study(reopened(tmp_path / f"{number}.log"), plan(weights, 6), engine, nothing))
        tables.append(table(reopened(tmp_path / f"{number}.log")))
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path, weights: Path, lanes: int) -> None:  # noqa: F811
    a_study(tmp_path / "whole.log")
    list(run_study(reopened(tmp_path / "whole.log"), plan(weights, 6, lanes=lanes), InlineEngine(), nothing))
    a_study(tmp_path / "j.log")
    engine = RayEngine(Placement(1))
    outcomes = []
    for outcome in run_study(reopened(tmp_path / "j.log"), plan(weights, 6, lanes=lanes), engine, nothing):
        outcomes.append(outcome.number)
        if len(outcomes) in (1, 4):
            os.kill(engine.processes()[0], signal.SIGKILL)
    assert sorted(outcomes) == list(range(6))
    assert table(reopened(tmp_path / "j.log")) == table(reopened(tmp_path / "whole.log"))


def test_a_node_is_lost_and_its_runs_go_on_elsewhere(tmp_path: Path, weights: Path, cluster: Any) -> None:  # noqa: F811
    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    a_study(tmp_path / "j.log")
    # Two cores each, so that there is one on either node.
    engine = RayEngine(Placement(2))
    outcomes = []
    for outcome in run_study(reopened(tmp_path / "j.log"), plan(weights, 8), engine, nothing):
        outcomes.append(outcome.number)
        if len(outcomes) == 2:
            cluster.remove_node(node, allow_graceful=False)
            # What is left has room for one of the two at a time, and two after all where each asks for one core.
            cluster.add_node(num_cpus=2)
    assert sorted(outcomes) == list(range(8))
    assert [record.state for record in reopened(tmp_path / "j.log").records()] == ["complete"] * 8


def test_a_trial_that_kills_its_worker_twice_has_failed(tmp_path: Path, weights: Path) -> None:  # noqa: F811
    study = a_study(tmp_path / "j.log")
    what = replace(plan(weights, 2), source=DeadlySource())
    outcomes = list(run_study(study, what, RayEngine(Placement(2)), nothing))
    assert [o.result.state for o in outcomes] == ["failed"] * 2
    assert all(o.result.reason.startswith("worker died twice (") for o in outcomes)


def test_actors_end_when_their_driver_is_killed(tmp_path: Path, weights: Path, cluster: Any) -> None:  # noqa: F811
    a_study(tmp_path / "j.log")
    code = (
        "import sys; from pathlib import Path; from studies.driver import run_study; "
        "from studies.engines.ray import RayEngine; from studies.placement import Placement; "
        "from tests.studies.test_local import plan, reopened\n"
        "engine = RayEngine(Placement(2, ray_address=sys.argv[3]))\n"
        "def watch(_progress):\n"
        "    if len(engine._actors) == 2: print(*engine.processes().values(), flush=True)\n"
        "for _ in run_study(reopened(Path(sys.argv[1])), plan(Path(sys.argv[2]), 90), engine, watch): pass"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "j.log"), str(weights), cluster.address],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert driver.stdout is not None
    # Ray itself may have something to say in between.
    words = (line.split() for line in driver.stdout)
    pids = next([int(word) for word in line] for line in words if all(word.isdigit() for word in line))
    driver.kill()
    driver.communicate()
    assert len(pids) == 2
    assert all(ended(pid) for pid in pids)
    assert not reopened(tmp_path / "j.log").is_running()


def test_what_an_actor_cannot_open_is_one_line(tmp_path: Path, weights: Path) -> None:  # noqa: F811
    study = a_study(tmp_path / "j.log")
    what = replace(plan(weights, 1), source=StoredData(str(tmp_path / "nowhere"), skip_unreadable=False))
    with pytest.raises(InputError, match="nowhere"):
        list(run_study(study, what, RayEngine(Placement(1)), nothing))


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_where_nobody_listens_is_no_cluster(address: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        InputError, match=r"no Ray cluster at \S+ \(Connection refused\): begin one with `ray start --head`, or leave"
    ):
        engine_named("ray", Placement(1, ray_address=address.format(port))).check()


def test_names_of_clusters_are_for_ray_to_refuse() -> None:
    for name in ("auto", "local", "somewhere"):
        engine_named("ray", Placement(1, ray_address=name)).check()


def test_an_address_belongs_to_ray() -> None:
    assert engine_named("ray", Placement(2, ray_address="127.0.0.1:1")).workers == 2
    with pytest.raises(InputError, match="--engine ray"):
        engine_named("local", Placement(2, ray_address="127.0.0.1:1"))


def test_a_cluster_without_room_is_one_line_and_nobody_waits_for_it(
    tmp_path: Path,
    weights: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Actors that have no place would answer once they have one."""
    study = a_study(tmp_path / "j.log")
    monkeypatch.setattr("studies.engines.ray._START_SECONDS", 5.0)
    with pytest.raises(InputError, match="no room for 5 workers"):
        list(run_study(study, plan(weights, 1), RayEngine(Placement(5)), nothing))
