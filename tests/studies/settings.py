"""Settings for studies that tests make."""

from __future__ import annotations

from search_spaces import Task
from studies.request import SearchRequest
from studies.settings import Settings
from training.machine.precision import Numerics


def settings_for(task: Task, *, epochs: int = 3, pruner: str = "none", seed: int = 0, trials: int = 5) -> Settings:
    request = SearchRequest(
        task,
        data="toy",
        trials=trials,
        epochs=epochs,
        seed=seed,
        workers=1,
        engine="inline",
        lanes=1,
        device="cpu",
        strategy="plain",
        pruner=pruner,
    )
    return Settings(
        **request.values(),
        task=task.name,
        space=task.space.digest,
        source="toy colours",
        fingerprint="toy0",
        numerics=Numerics(),
        metric=task.metric,
        direction=task.direction,
        target=0.9,
        recipe_note="recipe",
        command="pomona search toy",
        environment={"python": "3", "versions": {"torch": "1"}, "commit": "", "device": "cpu"},
    )
