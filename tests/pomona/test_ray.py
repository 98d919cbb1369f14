"""A plain program of Ray Tune with our space and our trainable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pomona.ray
from search_spaces import InputError, task_named
from studies.edges.ray import config_of

from ..toys import small_weights  # noqa: F401

tune = pytest.importorskip("ray.tune", reason="Ray is an extra: pip install 'pomona[ray]'")
ROOT = Path(__file__).resolve().parents[2]


def test_the_space_has_what_can_run_here_and_is_narrowed_as_a_search() -> None:
    space = pomona.ray.param_space("bonus", fixed={"batch_size": [8, 16]})
    assert "learning_rate" in space
    assert set(space["batch_size"].categories) == {8, 16}
    with pytest.raises(InputError, match="unknown task"):
        pomona.ray.param_space("nothing")


@pytest.mark.slow
def test_tuner_with_asha_finds_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    monkeypatch.setenv("POMONA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        tuner = tune.Tuner(
            pomona.ray.trainable("bonus", epochs=4),
            param_space=pomona.ray.param_space("bonus"),
            tune_config=tune.TuneConfig(
                metric="r2",
                mode="max",
                num_samples=6,
                # Now and then a random config diverges, which is an error of its trial.
                search_alg=BasicVariantGenerator(random_state=0),
                scheduler=ASHAScheduler(time_attr="epoch", max_t=4, grace_period=1),
            ),
            run_config=tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0),
        )
        results = tuner.fit()
    finally:
        ray.shutdown()
    assert not results.errors
    best: Any = results.get_best_result()
    assert best.metrics["epoch"] <= 4
    config = config_of(task_named("bonus").space, best.config)
    assert config["learning_rate"] > 0
