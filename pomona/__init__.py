"""Search the hyperparameters of transfer-learning tasks: the functions for notebooks.

    import pomona

    study = pomona.search("fruit", data="photos", timeout=600)
    pomona.leaderboard(study)                 # a DataFrame, one row a trial
    result = pomona.train("fruit", from_study=study, out="best")
    pomona.evaluate("best", data="photos").accuracy
    pomona.predict("best", ["apple.jpg"])

Everything heavy is imported when it is called, so that `import pomona` and `pomona --help` are quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from search_spaces import InputError as InputError
    from search_spaces import PomonaError as PomonaError
    from search_spaces import Value
    from studies import Study
    from training import Checkpoint, Evaluation, FitResult, Prediction

__owner__ = "pomona"
__all__ = [
    "InputError",
    "PomonaError",
    "curves",
    "evaluate",
    "leaderboard",
    "load",
    "predict",
    "resume",
    "search",
    "train",
]


def __getattr__(name: str) -> object:
    # Not imported above: the command line first makes sure that `search_spaces` is ours.
    if name in ("InputError", "PomonaError"):
        import search_spaces

        return getattr(search_spaces, name)
    raise AttributeError(f"module 'pomona' has no attribute {name!r}")


def search(
    task: str,
    *,
    data: str | Path | None = None,
    weights_dir: str | Path | None = None,
    study: str | None = None,
    storage: str | None = None,
    trials: int | None = None,
    epochs: int | None = None,
    timeout: float | None = None,
    seed: int | None = None,
    lanes: int | None = None,
    device: str | None = None,
    pruner: str | None = None,
    fixed: Mapping[str, Value] | None = None,
    skip_unreadable: bool = False,
    trust_split: bool = False,
    download_weights: bool = False,
) -> Study:
    """Searches the hyperparameters of `task` and returns the study; `timeout` is in seconds.

    What is left out suits the machine, or is as it was where there is such a study. Ctrl-C ends the call cleanly and
    returns what there is; `resume` goes on.

    Raises:
        InputError: the request, the data or the storage is wrong.
    """
    from studies import SearchRequest, prepare_search

    from .calls import call_text
    from .console import counting, notes
    from .progress import run_until_stopped

    given = dict(
        data=data,
        weights_dir=weights_dir,
        study=study,
        storage=storage,
        trials=trials,
        epochs=epochs,
        timeout=timeout,
        seed=seed,
        lanes=lanes,
        device=device,
        pruner=pruner,
        fixed=fixed or None,
        skip_unreadable=skip_unreadable or None,
        trust_split=trust_split or None,
        download_weights=download_weights or None,
    )
    request = SearchRequest(
        task=task,
        data=None if data is None else str(data),
        weights_dir=None if weights_dir is None else Path(weights_dir),
        study=study,
        storage=storage,
        trials=trials,
        epochs=epochs,
        timeout=timeout,
        seed=seed,
        lanes=lanes,
        device=device,
        pruner=pruner,
        fixed=dict(fixed or {}),
        skip_unreadable=skip_unreadable,
        trust_split=trust_split,
        download=download_weights,
        command=call_text("search", task, **given),
    )
    with counting("reading the data") as progress:
        prepared = prepare_search(request, notes().print, progress)
    run_until_stopped(prepared)
    return prepared.study


def resume(
    study: str | Study, *, storage: str | None = None, trials: int | None = None, timeout: float | None = None
) -> Study:
    """Goes on with a study that was stopped or killed, and returns it.

    Raises:
        InputError: there is no such study, or its data or weights are not what they were.
    """
    from studies import prepare_resume

    from .calls import call_text
    from .console import counting, notes
    from .progress import run_until_stopped

    name, storage = _named(study, storage)
    with counting("reading the data") as progress:
        command = call_text("resume", name, storage=storage, trials=trials, timeout=timeout)
        prepared = prepare_resume(
            name, storage, notes().print, progress, trials=trials, timeout=timeout, command=command
        )
    run_until_stopped(prepared)
    return prepared.study


def leaderboard(study: str | Study, *, storage: str | None = None) -> pd.DataFrame:
    """One row a trial, best first; see `studies.leaderboard` for the columns."""
    import studies

    opened = studies.open_study(*_named(study, storage))
    return studies.leaderboard(opened.records(), direction=opened.settings.direction)


def curves(study: str | Study, *, storage: str | None = None) -> pd.DataFrame:
    """One row an epoch of a trial: number, epoch, value on the validation split."""
    import studies

    return studies.curves(studies.open_study(*_named(study, storage)).records())


def train(
    task: str,
    *,
    config: Mapping[str, Value] | None = None,
    from_study: str | Study | None = None,
    fixed: Mapping[str, Value] | None = None,
    data: str | Path | None = None,
    weights_dir: str | Path | None = None,
    storage: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = "auto",
    skip_unreadable: bool = False,
    trust_split: bool = False,
    download_weights: bool = False,
) -> FitResult:
    """Trains one config to a checkpoint in `out`: `config`, or the best of a study, or the task's recipe.

    Raises:
        InputError: the config lies outside the task's space, or the data, weights or folder are wrong.
    """
    from .console import notes
    from .training_run import TrainRequest, prepare_training

    name, storage = _named(from_study, storage) if from_study is not None else (None, storage)
    request = TrainRequest(
        task=task,
        config=None if config is None else dict(config),
        from_study=name,
        storage=storage,
        fixed=dict(fixed or {}),
        data=None if data is None else str(data),
        weights_dir=None if weights_dir is None else Path(weights_dir),
        epochs=epochs,
        seed=seed,
        out=None if out is None else Path(out),
        device=device,
        skip_unreadable=skip_unreadable,
        trust_split=trust_split,
        download=download_weights,
    )
    return prepare_training(request, notes().print).start(None, None)


def load(checkpoint: str | Path) -> Checkpoint:
    """A checkpoint: its record, and with `.classifier()` the model."""
    from training import load_checkpoint

    return load_checkpoint(Path(checkpoint))


def evaluate(
    checkpoint: str | Path,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    device: str = "auto",
    figures: str | Path | None = None,
    trust_split: bool = False,
) -> Evaluation:
    """Scores a checkpoint on labelled data; `figures` is a folder for pictures of the answers and mistakes."""
    from .use import evaluate_checkpoint

    return evaluate_checkpoint(
        Path(checkpoint),
        None if data is None else str(data),
        split,
        device,
        figures=None if figures is None else Path(figures),
        trust_split=trust_split,
    )


def predict(checkpoint: str | Path, files: Sequence[str | Path], *, device: str = "auto") -> list[Prediction]:
    """The answers of a checkpoint for image files, the lines of text files, or the rows of CSV files."""
    from .use import predictions_for

    return predictions_for(Path(checkpoint), [Path(file) for file in files], device)


def _named(study: str | Study, storage: str | None) -> tuple[str, str | None]:
    return (study, storage) if isinstance(study, str) else (study.name, study.storage_url)
