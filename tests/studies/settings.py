"""Settings for studies that tests make."""

from __future__ import annotations

from search_spaces import Task
from studies.settings import Settings
from training.machine.precision import Numerics


def settings_for(task: Task, *, epochs: int = 3, pruner: str = "none", seed: int = 0, trials: int = 5) -> Settings:
    return Settings(
        task=task.name,
        space=task.space.digest,
        fixed={},
        data="toy",
        source="toy colours",
        fingerprint="toy0",
        skip_unreadable=False,
        weights_dir=None,
        download_weights=False,
        device="cpu",
        numerics=Numerics(),
        seed=seed,
        trials=trials,
        epochs=epochs,
        timeout=None,
        pruner=pruner,
        engine="inline",
        lanes=1,
        metric=task.metric,
        direction=task.direction,
        target=0.9,
        recipe_note="recipe",
        command="pomona search toy",
        environment={"python": "3", "versions": {"torch": "1"}, "commit": "", "device": "cpu"},
    )
