"""Search the hyperparameters of transfer-learning tasks: the functions for notebooks.

    import pomona

    study = pomona.search("fruit", data="photos", timeout=600)
    pomona.confirm(study)                     # the best trials again, on fresh seeds
    pomona.leaderboard(study)                 # a DataFrame, one row a trial
    result = pomona.train("fruit", from_study=study, out="best")
    pomona.evaluate("best", data="photos").accuracy
    pomona.predict("best", ["apple.jpg"])

Everything heavy is imported when it is called, so that `import pomona` and `pomona --help` are quick.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack

from .keywords import search_signature

if TYPE_CHECKING:
    import pandas as pd

    from search_spaces import InputError as InputError
    from search_spaces import PomonaError as PomonaError
    from search_spaces import Task, Value
    from studies import Study
    from training import Checkpoint, Evaluation, FitResult, Prediction

    from .arguments import Duration, PathLike, Whole
    from .keywords import SearchKeywords

    __version__: str

__owner__ = "pomona"
__all__ = [
    "InputError",
    "PomonaError",
    "__version__",
    "confirm",
    "curves",
    "evaluate",
    "leaderboard",
    "load",
    "predict",
    "resume",
    "search",
    "train",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("pomona")
        except PackageNotFoundError:
            # A checkout that is on the path without being installed.
            return "0+unknown"
    # Not imported above: first it has to be sure that `search_spaces` is ours.
    if name in ("InputError", "PomonaError"):
        _check_owner()
        import search_spaces

        return getattr(search_spaces, name)
    raise AttributeError(f"module 'pomona' has no attribute {name!r}")


@functools.cache
def _check_owner() -> None:
    from .owner import check_owner

    check_owner()


def _public(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function that first makes sure that the packages it imports are ours: their names are plain words.

    Then it tells the process what `training.machine.process` says.
    """

    @functools.wraps(function)
    def call(*arguments: _P.args, **options: _P.kwargs) -> _R:
        _check_owner()
        from training.machine.process import configure

        configure()
        return function(*arguments, **options)

    return call


@_public
def search(task: PathLike | Task, **keywords: Unpack[SearchKeywords]) -> Study:
    """Searches the hyperparameters of `task` (a name, a file, or a `search_spaces.Task`) and returns the study.

    What is left out suits the machine, or is as it was where there is such a study. `timeout` is in seconds, or a text
    such as "10m". `pomona search --help` says what each keyword does; `stop_at` is `--target`, and `fixed` is `--set`:
    a dict that gives a dimension one value, a range as a pair, or some values as a list:

        fixed={"optimizer": "adamw", "learning_rate": (1e-4, 1e-2), "batch_size": [16, 32]}

    `enqueue` takes configs themselves too, as dicts. Ctrl-C ends the call cleanly and returns what there is; `resume`
    goes on.

    Raises:
        InputError: the request, the data or the storage is wrong.
    """
    from studies import prepare_search

    from .console import counting, note
    from .progress import run_until_stopped
    from .request import request_of_keywords

    # Raises TypeError where there is no such keyword.
    search_signature().bind(task, **keywords)
    request = request_of_keywords(task, keywords)
    with counting("reading the data") as progress:
        prepared = prepare_search(request, note, progress)
    run_until_stopped(prepared)
    return prepared.study


search.__signature__ = search_signature()  # type: ignore[attr-defined]


@_public
def resume(
    study: str | Study,
    *,
    storage: PathLike | None = None,
    trials: Whole | None = None,
    timeout: Duration | None = None,
    workers: Whole | None = None,
    weights_dir: PathLike | None = None,
    download_weights: bool = False,
    task: Task | None = None,
    trust_task_file: bool = False,
) -> Study:
    """Goes on with a study that was stopped or killed, and returns it.

    `trials` are in all; `timeout` and `workers` are as in `search`. `weights_dir` is where the weights lie now, if not
    where they did; with `download_weights` those that are not there are fetched.

    `task` is that of a study that was made with a `Task` object, which no storage keeps. A task file that a storage
    other than the default one names is only run with `trust_task_file`.

    Raises:
        InputError: there is no such study, or its data or weights are not what they were.
    """
    from studies import ResumeRequest, prepare_resume

    from . import arguments as to
    from .calls import call_text
    from .console import counting, note
    from .progress import run_until_stopped

    name, url = to.study(study, storage)
    given: dict[str, Any] = {
        "trials": to.optional(to.count, "trials", trials),
        "timeout": to.optional(to.seconds, "timeout", timeout),
        "workers": to.optional(to.count, "workers", workers),
        "weights_dir": to.optional(to.folder, "weights_dir", weights_dir),
        "download_weights": to.flag("download_weights", download_weights),
        "task": to.optional(to.task_object, "task", task),
        "trust_task_file": to.flag("trust_task_file", trust_task_file),
    }
    shown = given | {flag: given[flag] or None for flag in ("trust_task_file", "download_weights")}
    request = ResumeRequest(name, url, **given, command=call_text("resume", name, storage=url, **shown))
    with counting("reading the data") as progress:
        prepared = prepare_resume(request, note, progress)
    run_until_stopped(prepared)
    return prepared.study


@_public
def confirm(
    study: str | Study,
    *,
    storage: PathLike | None = None,
    top: Whole = 3,
    seeds: Whole = 5,
    timeout: Duration | None = None,
    weights_dir: PathLike | None = None,
    download_weights: bool = False,
    task: Task | None = None,
    trust_task_file: bool = False,
) -> Study:
    """Trains the `top` best trials of a study again on `seeds` fresh seeds each, and returns the study.

    What is there already is not trained again. What else there is to say is as in `resume`. Ctrl-C ends the call
    cleanly and returns what there is; the same call goes on.

    Raises:
        InputError: there is no such study, it has no trial that ran to its end, or its data or weights are not what
            they were.
    """
    from studies import prepare_confirmation

    from . import arguments as to
    from .calls import call_text
    from .console import counting, note
    from .progress import run_until_stopped

    name, url = to.study(study, storage)
    given: dict[str, Any] = dict(
        top=to.count("top", top),
        seeds=to.count("seeds", seeds),
        timeout=to.optional(to.seconds, "timeout", timeout),
        weights_dir=to.optional(to.folder, "weights_dir", weights_dir),
        download_weights=to.flag("download_weights", download_weights),
        task=to.optional(to.task_object, "task", task),
        trust_task_file=to.flag("trust_task_file", trust_task_file),
    )
    shown = given | {flag: given[flag] or None for flag in ("trust_task_file", "download_weights")}
    command = call_text("confirm", name, storage=url, **shown)
    with counting("reading the data") as progress:
        prepared = prepare_confirmation(name, url, note, progress, command=command, **given)
    run_until_stopped(prepared)
    return prepared.study


@_public
def leaderboard(
    study: str | Study,
    *,
    storage: PathLike | None = None,
    confirmations: bool = False,
    ensemble: bool = False,
) -> pd.DataFrame:
    """One row a trial, best first; see `studies.leaderboard_rows` for the columns.

    With `confirmations` also the trials of `confirm`, one a seed; with `ensemble` also the mean of several trials where
    it is better than one alone, which has neither rank nor number.
    """
    import studies

    from . import arguments as to

    opened = to.opened_study(study, storage)
    records = opened.records()
    rows = studies.leaderboard_rows(
        records,
        direction=opened.settings.direction,
        metric=opened.settings.metric,
        confirmations=to.flag("confirmations", confirmations),
    )
    if to.flag("ensemble", ensemble):
        rows = studies.with_ensemble(rows, opened, records)
    return studies.to_frame(rows)


@_public
def curves(study: str | Study, *, storage: PathLike | None = None, confirmations: bool = False) -> pd.DataFrame:
    """One row an epoch of a trial: number, epoch, value on the validation split.

    With `confirmations` also of the trials of `confirm`.
    """
    import studies

    from . import arguments as to

    records = to.opened_study(study, storage).records()
    return studies.curves(records, confirmations=to.flag("confirmations", confirmations))


@_public
def train(
    task: PathLike | Task,
    *,
    config: Mapping[str, Value] | None = None,
    from_study: str | Study | None = None,
    trial: Whole | str | None = None,
    fixed: Mapping[str, Value] | None = None,
    data: PathLike | None = None,
    weights_dir: PathLike | None = None,
    storage: PathLike | None = None,
    epochs: Whole | None = None,
    seed: Whole | None = None,
    as_saved: bool = False,
    out: PathLike | None = None,
    device: str = "auto",
    skip_unreadable: bool = False,
    trust_split: bool = False,
    download_weights: bool = False,
) -> FitResult:
    """Trains one config to a checkpoint in `out`: `config`, or the best of a study, or the task's recipe.

    The best of a study is the best of its confirmed trials where there are some. One that was interrupted goes on from
    the state that the search saved, with its own seed; with `as_saved` that state is kept as it is, and the result says
    after which epoch it is. The study can be resumed all the same. `trial` is the number of another one, or "ensemble"
    for all that the leaderboard's row of that name averages, in one checkpoint.

    Raises:
        InputError: the config lies outside the task's space, or the data, weights or folder are wrong.
    """
    from . import arguments as to
    from .console import note
    from .ensemble_run import prepare_run
    from .stopping import stop_requests
    from .training_run import TrainRequest

    name, url = None, to.optional(to.path, "storage", storage)
    if from_study is not None:
        name, url = to.study(from_study, storage)
    request = TrainRequest(
        task=to.task(task),
        config=to.optional(to.values, "config", config),
        from_study=name,
        trial=to.optional(to.trial, "trial", trial),
        storage=url,
        fixed=to.optional(to.values, "fixed", fixed) or {},
        data=to.optional(to.path, "data", data),
        weights_dir=to.optional(to.folder, "weights_dir", weights_dir),
        epochs=to.optional(to.count, "epochs", epochs),
        seed=None if seed is None else to.seed(seed),
        as_saved=to.flag("as_saved", as_saved),
        out=to.optional(to.folder, "out", out),
        device=to.device(device),
        skip_unreadable=to.flag("skip_unreadable", skip_unreadable),
        trust_split=to.flag("trust_split", trust_split),
        download=to.flag("download_weights", download_weights),
    )
    run = prepare_run(request, note)
    with stop_requests() as asked_to_stop:

        def check_stop() -> None:
            if asked_to_stop():
                raise KeyboardInterrupt

        return run.start(None, lambda _step, _steps: check_stop(), check_stop)


@_public
def load(checkpoint: PathLike) -> Checkpoint:
    """A checkpoint: its record, and with `.classifier()` the model."""
    from training import load_model

    from . import arguments as to

    return load_model(to.folder("checkpoint", checkpoint))


@_public
def evaluate(
    checkpoint: PathLike,
    data: PathLike | None = None,
    *,
    split: str | None = None,
    device: str = "auto",
    figures: PathLike | None = None,
    skip_unreadable: bool = False,
    trust_split: bool = False,
) -> Evaluation:
    """Scores a checkpoint on labelled data; `figures` is a folder for pictures of the answers and mistakes.

    Of data without splits, what the checkpoint was trained on is left out; `split="train"` scores just that. With
    `skip_unreadable`, so are files that are not images.
    """
    from . import arguments as to
    from .console import note
    from .use import evaluate_checkpoint

    return evaluate_checkpoint(
        to.folder("checkpoint", checkpoint),
        to.optional(to.path, "data", data),
        to.optional(to.text, "split", split),
        to.device(device),
        figures=to.optional(to.folder, "figures", figures),
        skip_unreadable=to.flag("skip_unreadable", skip_unreadable),
        trust_split=to.flag("trust_split", trust_split),
        notify=note,
    )


@_public
def predict(
    checkpoint: PathLike,
    files: PathLike | Iterable[PathLike],
    *,
    device: str = "auto",
    skip_unreadable: bool = False,
) -> list[Prediction]:
    """The answers of a checkpoint for an image file, the lines of a text file or the rows of a CSV file, or of several.

    Raises:
        InputError: there is no checkpoint, or a file is missing or not what it was trained on. With `skip_unreadable`
            such files are left out; then it is raised if no other is left.
    """
    from . import arguments as to
    from .console import note
    from .use import predictions_for

    return predictions_for(
        to.folder("checkpoint", checkpoint),
        to.paths("files", files),
        to.device(device),
        to.flag("skip_unreadable", skip_unreadable),
        note,
    )
