"""What a study was started with, kept in its storage so that it can be resumed from its name alone."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Never, TypeVar, Union, get_args, get_type_hints

from search_spaces import InputError, Part, Value
from training.machine.decode import DecodeError, MissingField, decoded
from training.machine.files import json_text
from training.machine.precision import Numerics

from .placement import Placement
from .plan import Budget
from .request import Options, declared

ATTRIBUTE = "settings"
LIMITS = ("trials", "timeout", "trial_timeout", "max_gpu_hours", "stop_at", "weights_dir")
"""The settings that a later command for the same study may change."""


@dataclass(frozen=True, kw_only=True)
class Settings(Options[Never]):
    """The options of a study, each with its value, and what was found when the study was made.

    `data` opens the data again, from any folder; `source` names it in tables. `task_file` is the path of the user's own
    file that holds the task, None for a task of pomona's. `space` is the digest of the space that was searched, and
    `backbones` are those in it, none where it has none or the study is older.
    `command` made the study, `later_commands` went on with it.
    """

    task: str
    space: str
    source: str
    fingerprint: str
    numerics: Numerics
    metric: str
    direction: str
    target: float | None
    recipe_note: str
    command: str
    environment: dict[str, Any]
    task_file: str | None = None
    later_commands: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()

    @property
    def task_argument(self) -> str:
        """What `task_named` takes, from any folder."""
        return self.task_file or self.task

    @property
    def placement(self) -> Placement:
        return Placement(self.workers, self.trials_per_gpu, self.ray_address)

    @property
    def budget(self) -> Budget:
        """As the user gave it: what hours of GPUs are in seconds depends on the workers."""
        return Budget(self.trials, self.epochs, self.timeout, self.max_gpu_hours)

    @property
    def common(self) -> dict[str, str]:
        """What trials have in common while nothing changes: the machine, the code, the precision."""
        environment = self.environment
        device, commit = str(environment.get("device", "")), str(environment.get("commit", ""))
        return {"device": device, "commit": commit, "numerics": str(self.numerics)}

    def to_json(self) -> str:
        stored = {part.stored: getattr(self, name) for name, part in _parts().items()}
        stored["numerics"] = vars(self.numerics)
        stored["fixed"] = {name: _plain(wanted) for name, wanted in self.fixed.items()}
        return json_text(stored, indent=None, sort_keys=True)

    @staticmethod
    def from_json(text: str, study: str) -> Settings:
        """Raises InputError where `text` is not of this version of pomona, or a value is not what it can be."""
        try:
            raw = decoded(json.loads(text), dict[str, Any])
            return Settings(**{name: _value(part, raw) for name, part in _parts().items()})
        except DecodeError as problem:
            if isinstance(problem, MissingField) or text.lstrip()[:1] != "{":
                raise _of_another_version(study) from None
            raise InputError(f"the settings of study {study!r} are damaged: {problem}") from None
        except ValueError:
            raise _of_another_version(study) from None


@dataclass(frozen=True)
class _Part:
    """How one of the settings is stored; `default` is MISSING where every study has had it."""

    stored: str
    wanted: Any
    default: Any
    least: int | None


@functools.cache
def _parts() -> Mapping[str, _Part]:
    """By the names of the fields."""
    options, types = declared(Settings), get_type_hints(Settings)
    parts = {}
    for one in fields(Settings):
        option, wanted = options.get(one.name), types[one.name]
        # `NotSaid` stands for nothing here.
        if any(isinstance(choice, TypeVar) for choice in get_args(wanted)):
            wanted = Union[tuple(choice for choice in get_args(wanted) if not isinstance(choice, TypeVar))]  # noqa: UP007
        if option is None:
            parts[one.name] = _Part(one.name, wanted, one.default, None)
        else:
            parts[one.name] = _Part(option.stored, wanted, option.before, option.least)
    return parts


def _plain(wanted: Value | Part) -> object:
    if not isinstance(wanted, Part):
        return wanted
    return {"options": wanted.options} if wanted.range is None else {"range": wanted.range}


def _value(part: _Part, raw: Mapping[str, Any]) -> Any:
    if part.stored not in raw:
        if part.default is MISSING:
            raise MissingField(f"{part.stored} is missing")
        return part.default
    value = decoded(raw[part.stored], part.wanted, part.stored)
    if part.least is not None and value is not None and value < part.least:
        raise DecodeError(f"{part.stored} is {value}, which is less than {part.least}")
    return value


def _of_another_version(study: str) -> InputError:
    return InputError(f"study {study!r} was made by another version of pomona: start a new one")
