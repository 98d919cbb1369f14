"""What a search takes: each option is declared once, here.

The command line's options, the keywords of `pomona.search` and the stored settings of a study derive from this module.
To add one, give it a line in `Options` (or in `SearchRequest`, if a study does not keep it) and one in
`pomona.keywords.SearchKeywords`, from which editors and type checkers know it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Generic, Literal, Never, Self, TypeVar

from search_spaces import Config, InputError, Narrowing, Task

Kind = Literal[
    "text", "path", "folder", "device", "count", "seed", "seconds", "number", "values", "names", "configs", "flag"
]
"""What an option's value means: `path` may be a URL too, `count` is 1 or more, `values` say what is to be tried of
dimensions, `names` are several, and `configs` are a file of them or themselves."""

NO_PRUNER = "none"
PRUNERS = ("hyperband", "median", NO_PRUNER)
STRATEGIES = RUNGS, PLAIN = ("rungs", "plain")
SAMPLERS = ("auto", "tpe", "random", "gp", "cmaes")
_LEAST: dict[Kind, int] = {"count": 1, "seed": 0}


@dataclass(frozen=True)
class Option:
    """How people give an option, and what it is to the study.

    Args:
        help: what it does, for people.
        initial: the value that it has in a new study where it is not said; None where that depends on the machine.
        default: what takes its place where it is not said, in words; by default `initial`.
        metavar: what stands for its value in a help text.
        flag: its name on the command line; by default the field's, with dashes.
        environment: a variable that gives it too.
        identifies: whether a study that goes on must have the same.
        stored: its name among the stored settings; by default the field's.
        before: the value of studies that were made before the option existed; MISSING where it always did.
        choices: all values that a text can have; empty where it can be any.
    """

    kind: Kind
    help: str
    initial: Any = None
    default: str = ""
    metavar: str = ""
    flag: str = ""
    environment: str = ""
    identifies: bool = False
    stored: str = ""
    before: Any = field(default_factory=lambda: MISSING)
    choices: tuple[str, ...] = ()

    @property
    def least(self) -> int | None:
        return _LEAST.get(self.kind)

    def check(self, value: object) -> None:
        """Raises InputError where a value that was given is out of range or none of the choices; None was not given."""
        if value is None:
            return
        if self.choices and value not in self.choices:
            raise InputError(f"unknown {self.flag.removeprefix('--')} {value!r}: {', '.join(self.choices)}")
        if self.least is not None and isinstance(value, int) and value < self.least:
            raise InputError(f"{self.flag} must be at least {self.least}, not {value}")
        if self.kind == "seconds" and isinstance(value, int | float) and value <= 0:
            raise InputError(f"{self.flag} must be longer than nothing")


def option(kind: Kind, help: str, **more: Any) -> Any:
    """A field that is None, False or empty where it was not said; `more` as in `Option`."""
    metadata = {"option": Option(kind, help, **more)}
    if kind == "values":
        return field(default_factory=dict, metadata=metadata)
    if kind == "names":
        return field(default=(), metadata=metadata)
    return field(default=False if kind == "flag" else None, metadata=metadata)


NotSaid = TypeVar("NotSaid")


@dataclass(frozen=True, kw_only=True)
class Options(Generic[NotSaid]):
    """What a study keeps of its options.

    In `Options[None]`, a request, None means that an option was not said. In `Options[Never]`, the settings of a study,
    every one has its value. None as `trials` is as many as the time allows there; `timeout` is in seconds, None is no
    limit.
    """

    data: str | NotSaid = option(
        "path",
        "Photos in DIR/<split>/<class>/ or DIR/<class>/, a table, or texts.",
        default="the task's",
        metavar="DIR|FILE",
    )
    weights_dir: Path | None = option(
        "folder", "Folder with pretrained weights, <backbone>.safetensors or .pth.", metavar="DIR"
    )
    trials: int | None = option(
        "count",
        "Trials in all; with --timeout too, whichever comes first.",
        default="as many as the time allows",
        metavar="N",
    )
    epochs: int | NotSaid = option(
        "count", "Epochs of a full trial.", default="what suits the machine", metavar="E", identifies=True
    )
    timeout: float | None = option(
        "seconds",
        "Time for the trials of this run, without reading the data.",
        default="2m to 20m, by what the work costs here; no limit with --trials",
        metavar="10m",
    )
    trial_timeout: float | None = option(
        "seconds",
        "The longest that a trial may train: it ends after the epoch in which it passed this, as infeasible.",
        default="no limit",
        metavar="5m",
        before=None,
    )
    max_gpu_hours: float | None = option(
        "number",
        "Hours of GPUs that this run may take: of four GPUs each has a quarter of them.",
        default="no limit",
        metavar="HOURS",
        before=None,
    )
    stop_at: float | None = option(
        "number",
        "End when the best trial's 95 % interval lies beyond this value (of groups, where there are groups).",
        flag="--target",
        metavar="VALUE",
        before=None,
    )
    seed: int | NotSaid = option(
        "seed", "Of all that is random; one seed, one result.", initial=0, metavar="S", identifies=True
    )
    workers: int | NotSaid = option(
        "count",
        "Processes that train at the same time.",
        default="one a GPU; one on a CPU",
        metavar="W",
        before=1,
    )
    trials_per_gpu: int | NotSaid = option(
        "count",
        "Workers that share a GPU, and its memory, where trials leave most of it idle.",
        initial=1,
        metavar="N",
        before=1,
    )
    engine: str | NotSaid = option(
        "text",
        "What runs the trials: this process, workers on this machine, or a Ray cluster.",
        default="inline for one worker, else local",
        metavar="inline|local|ray",
    )
    ray_address: str | None = option(
        "text",
        "Of the Ray cluster for --engine ray: HOST:PORT, ray://HOST:PORT or auto.",
        default="one is started here",
        metavar="ADDR",
        before=None,
    )
    lanes: int | NotSaid = option(
        "count", "Trials that train side by side.", default="by the trials", metavar="N", identifies=True
    )
    device: str | NotSaid = option(
        "device",
        "What computes; auto is the GPU where there is one.",
        initial="auto",
        default="auto, or the study's",
        metavar="auto|cpu|cuda|cuda:N",
    )
    strategy: str | NotSaid = option(
        "text",
        "How trials are chosen: what is cheap first and what is promising further, or all of the space at once.",
        initial=STRATEGIES[0],
        metavar="|".join(STRATEGIES),
        identifies=True,
        before="plain",
        choices=STRATEGIES,
    )
    sampler: str | NotSaid = option(
        "text",
        "Which of Optuna's samplers proposes configs; auto is TPE.",
        initial=SAMPLERS[0],
        metavar="|".join(SAMPLERS),
        identifies=True,
        before="auto",
        choices=SAMPLERS,
    )
    pruner: str | NotSaid = option(
        "text",
        "How trials that lead nowhere are given up.",
        initial=PRUNERS[0],
        metavar="|".join(PRUNERS),
        identifies=True,
        choices=PRUNERS,
    )
    fixed: Narrowing = option(
        "values",
        "Narrow a dimension to a value, a range or some values: DIM=V, DIM=LOW..HIGH, DIM=A,B. May be repeated.",
        flag="--set",
        metavar="DIM=...",
        identifies=True,
    )
    skip_unreadable: bool = option("flag", "Leave out files that are not images.")
    download_weights: bool = option("flag", "Fetch weights that are not available locally.", stored="download")


@dataclass(frozen=True, kw_only=True)
class SearchRequest(Options[None]):
    """What `pomona search` takes.

    `task` is the name of one, the file that holds one, or a task itself; a study of the latter is resumed with it.
    What is None, empty or False was not said: a study that is there is followed, a new one gets the default, which may
    depend on the machine. `command` is what the user typed.
    """

    task: str | Task = field(kw_only=False)
    study: str | None = option("text", "The study's name.", default="TASK-1, TASK-2, ...", metavar="NAME")
    storage: str | None = option(
        "path",
        "Journal file, SQLite file (.db, .sqlite), or a database URL.",
        default="results/studies/journal.log",
        metavar="URL",
        environment="POMONA_STORAGE",
    )
    enqueue: str | Sequence[Config] | None = option(
        "configs",
        "Configs to try before what is searched: JSON, JSON lines or TOML. What one leaves out the sampler chooses.",
        metavar="FILE",
    )
    warm_start: tuple[str, ...] = option(
        "names",
        "A study of the storage whose best configs are tried before what is searched. May be repeated.",
        metavar="STUDY",
    )
    trust_split: bool = option("flag", "Keep a folder's split though it has copies of photos on both sides.")
    command: str = ""

    @property
    def is_open_ended(self) -> bool:
        """Whether nothing was said of when the search ends."""
        return self.trials is None and self.timeout is None and self.max_gpu_hours is None

    def following(self, settings: Options[Never]) -> Self:
        """The request with what it does not say taken from a study that is there."""
        taken = {
            name: getattr(settings, name)
            for name in declared(Options)
            # By identity: a seed of 0 was said.
            if (value := getattr(self, name)) is None or value is False or value == {}
        }
        # One limit without the other is the only one, as in a new study.
        if self.trials is not None:
            taken.pop("timeout", None)
        if self.timeout is not None:
            taken.pop("trials", None)
        for name in self._outdated_placement(settings):
            taken.pop(name, None)
        return replace(self, **taken)

    def _outdated_placement(self, settings: Options[Never]) -> set[str]:
        """What a study has of engine, workers and cluster that does not go with what is said of the others."""
        if self.engine is None:
            # On this machine it follows from their number, and a cluster's address is for one.
            on_ray = settings.engine == "ray"
            return {"engine"} if self.ray_address is not None or (self.workers is not None and not on_ray) else set()
        if self.engine == "ray":
            return set()
        return {"ray_address"} | ({"workers"} if self.engine == "inline" or settings.engine == "ray" else set())

    def values(self) -> dict[str, Any]:
        """What a study keeps, by the names of the fields, with the initial value of what is not said.

        Raises:
            InputError: a number is out of range.
        """
        options = declared(Options)
        check_values({name: getattr(self, name) for name in options})
        return {
            name: option.initial if (value := getattr(self, name)) is None else value
            for name, option in options.items()
        }


@dataclass(frozen=True)
class ResumeRequest:
    """What `pomona resume` takes; `trials`, `timeout` and `workers` as in `SearchRequest`, None where they stay.

    `weights_dir` is where the weights lie now, None where they did before; with `download_weights` those that are not
    there are fetched. `task` is that of a study that was made with a `Task` object, which no storage keeps. With
    `trust_task_file` the task file that the storage names is run though the storage is not the user's own.
    """

    study: str
    storage: str | None = None
    trials: int | None = None
    timeout: float | None = None
    workers: int | None = None
    weights_dir: Path | None = None
    download_weights: bool = False
    task: Task | None = None
    trust_task_file: bool = False
    command: str = ""


def declared(of: type) -> dict[str, Option]:
    """The options among the fields of a dataclass, by the fields' names."""
    found: dict[str, Option] = {}
    for one in fields(of):
        if (known := one.metadata.get("option")) is not None:
            found[one.name] = replace(
                known,
                flag=known.flag or f"--{one.name.replace('_', '-')}",
                stored=known.stored or one.name,
                default=known.default or ("" if known.initial is None else str(known.initial)),
            )
    return found


def check_values(values: Mapping[str, object]) -> None:
    """Raises InputError where the value of an option is out of range."""
    options = declared(SearchRequest)
    for name, value in values.items():
        options[name].check(value)
