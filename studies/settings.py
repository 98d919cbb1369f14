"""What a study was started with, kept in its storage so that it can be resumed from its name alone."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from search_spaces import Config, InputError
from training.machine.precision import Numerics

ATTRIBUTE = "settings"
PRUNERS = ("hyperband", "median", "none")


@dataclass(frozen=True)
class Settings:
    """`data` opens the data again, from any folder; `source` names it in tables.

    `task_file` is the path of the user's own file that holds the task, None for a task of pomona's.
    `fixed` are the dimensions held by the user; `space` is the digest of the space that was searched. `command` made
    the study, `later_commands` went on with it.
    """

    task: str
    space: str
    fixed: Config
    data: str
    source: str
    fingerprint: str
    skip_unreadable: bool
    weights_dir: str | None
    download: bool
    device: str
    numerics: dict[str, Any]
    seed: int
    trials: int
    epochs: int
    timeout: float | None
    pruner: str
    engine: str
    lanes: int
    metric: str
    direction: str
    target: float | None
    recipe_note: str
    command: str
    environment: dict[str, Any]
    task_file: str | None = None
    later_commands: tuple[str, ...] = ()

    @property
    def task_argument(self) -> str:
        """What `task_named` takes, from any folder."""
        return self.task_file or self.task

    @property
    def common(self) -> dict[str, str]:
        """What trials have in common while nothing changes: the machine, the code, the precision."""
        environment = self.environment
        device, commit = str(environment.get("device", "")), str(environment.get("commit", ""))
        return {"device": device, "commit": commit, "numerics": str(Numerics(**self.numerics))}

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str, study: str) -> Settings:
        """Raises InputError where `text` is not of this version of pomona."""
        try:
            raw = json.loads(text)
            wanted = [field.name for field in fields(Settings) if field.name in raw or field.default is MISSING]
            settings = Settings(**{name: raw[name] for name in wanted})
            settings = replace(settings, later_commands=tuple(settings.later_commands))
        except (ValueError, TypeError, KeyError):
            raise InputError(f"study {study!r} was made by another version of pomona: start a new one") from None
        for name in ("seed", "trials", "epochs", "lanes"):
            value = getattr(settings, name)
            if type(value) is not int or value < (name != "seed"):
                raise InputError(f"the settings of study {study!r} are damaged: {name} is {value!r}")
        return settings
