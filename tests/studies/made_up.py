"""A search on rungs against a made-up machine: nothing is trained and no clock runs."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from search_spaces import Choice, Config, Task, task_named
from studies.rungs import Rungs
from studies.strategy import Arm, Finished
from training.models.ladder import Ladder, ladder_of

FRUIT = task_named("fruit")
SPACE = FRUIT.space.replace(backbone=Choice("timm:tf_efficientnet_lite0", "mobilenet_v2", "squeezenet1_1"))
TASK = FRUIT.with_space(SPACE)
N = 334


@dataclass(frozen=True)
class Seconds:
    seconds: float
    shifted: float = 0.0
    race: float = 0.0


@dataclass
class Machine:
    """What a made-up machine takes: features once a resolution, backbone and view; stages every epoch."""

    speed: float = 1.0
    kept: set[tuple[object, ...]] = field(default_factory=set)

    def predict(self, config: Config, lanes: int = 1, **_further: bool) -> Seconds:
        area = (float(config["resolution"]) / 224) ** 2
        features = sum(12 * area for name in self.features(config) if name not in self.kept)
        stages = 20 * area * int(config["unfrozen_stages"])
        return Seconds((0.5 + features + 0.05 * lanes + stages * lanes) / self.speed)

    def train(self, config: Config) -> None:
        self.kept |= set(self.features(config))

    @staticmethod
    def features(config: Config) -> list[tuple[object, ...]]:
        views = int(config.get("views", 1)) if config.get("augmentation") else 1
        return [
            (config["backbone"], config["resolution"], config.get("augmentation", 0), view) for view in range(views)
        ]


def truth(config: Config) -> float:
    """An accuracy: larger images and some stages help, one backbone is better, noise of a few photos."""
    error = 0.05 if config["backbone"] == "mobilenet_v2" else 0.08
    error *= (128 / float(config["resolution"])) ** 0.7 * 0.9 ** int(config["unfrozen_stages"])
    noise = random.Random(str(sorted(config.items()))).gauss(0, 0.1)
    right: int = round(N * (1 - error * math.exp(noise)))
    return right / N


def ladder() -> Ladder:
    found = ladder_of(SPACE)
    assert found is not None
    return found


class Search:
    """A search against the made-up machine."""

    def __init__(
        self,
        machine: Machine,
        seconds: float,
        *,
        lanes: int = 8,
        seed: int = 0,
        task: Task = TASK,
        portfolio: Sequence[Config] = (),
    ) -> None:
        self.machine = machine
        self.rungs = Rungs(
            ladder(),
            machine,
            metric="accuracy",
            direction="maximize",
            lanes=lanes,
            seed=seed,
            recipe=task.recipe,
            portfolio=portfolio,
        )
        self.begun_with = self.left = seconds
        self.arms: list[tuple[Arm, float, float]] = []
        self.trials: list[Finished] = []
        self.generator = random.Random(seed)

    def step(self, trials: int | None = None) -> bool:
        arm = self.rungs.next(self.left, trials, self.begun_with - self.left)
        if arm is None:
            return False
        configs = [self.config(arm.structure | (arm.first if lane == 0 else {})) for lane in range(arm.lanes)]
        took = self.machine.predict(configs[0], arm.lanes).seconds
        self.arms.append((arm, self.left, took))
        self.rungs.began(configs[0])
        self._end(configs)
        self.left -= took
        return True

    def end(self, arm: Arm) -> None:
        """A group that began earlier ends."""
        self._end([self.config(arm.structure | (arm.first if lane == 0 else {})) for lane in range(arm.lanes)])

    def _end(self, configs: list[Config]) -> None:
        self.machine.train(configs[0])
        for config in configs:
            ended = Finished(len(self.trials), config, truth(config), N)
            self.trials.append(ended)
            self.rungs.ended(ended)
        self.rungs.done(configs[0])

    def config(self, values: Config) -> Config:
        drawn = SPACE.fix(values).sample(self.generator)
        return SPACE.validate(drawn)

    def run(self) -> Search:
        while self.left > 0 and self.step():
            assert len(self.arms) < 2000
        return self
