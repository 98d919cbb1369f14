"""`pomona train`"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces import Config, InputError, interval_text, task_named, value_text
from studies.names import ENSEMBLE
from training.machine.decode import DecodeError, decoded

from ..console import bar, counting, note, print_json, print_lines
from ..stopping import stop_requests
from .options import AsJson, Data, Device, Download, Set, SkipUnreadable, Storage, Task, TrustSplit, WeightsDir

if TYPE_CHECKING:
    from training import EpochResult, FitResult

    from ..training_run import TrainRun


def train(
    task: Task,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="JSON, one value a dimension.")] = None,
    from_study: Annotated[
        str | None,
        typer.Option(metavar="STUDY", help="The best config of a study; of the confirmed ones where there are some."),
    ] = None,
    recipe: Annotated[bool, typer.Option("--recipe", help="The task's own setting; the default.")] = False,
    trial: Annotated[
        str | None,
        typer.Option(metavar="N|ensemble", help="Another trial of --from-study, or the ensemble of its leaderboard."),
    ] = None,
    set_: Set = None,
    epochs: Annotated[int | None, typer.Option(metavar="E", help="Epochs. [default: the study's, or 8]", min=1)] = None,
    as_saved: Annotated[
        bool,
        typer.Option("--as-saved", help="Keep a trial of --from-study that was interrupted as it is; train nothing."),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="S",
            min=0,
            help="Of all that is random; one seed, one result. [default: 0, or that of the trial that is gone on with]",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the checkpoint goes. [default: checkpoints/TASK-1, ...]")
    ] = None,
    data: Data = None,
    weights_dir: WeightsDir = None,
    storage: Storage = None,
    device: Device = "auto",
    skip_unreadable: SkipUnreadable = False,
    trust_split: TrustSplit = False,
    download_weights: Download = False,
    as_json: AsJson = False,
) -> None:
    """Train one config to a checkpoint. With the same --out, a run that was stopped or killed goes on.

    Where the best trial of --from-study was interrupted, it goes on from the state that the search saved.

    Example: pomona train fruit --from-study fruit-1 --out best
    """
    if sum((config is not None, from_study is not None, recipe)) > 1:
        raise InputError("--config, --from-study and --recipe exclude each other")
    fixed = task_named(task).space.parse(set_ or [])
    from training import State

    from ..ensemble_run import describe_run, prepare_run
    from ..training_run import TrainRequest

    request = TrainRequest(
        task=task,
        config=None if config is None else _read_config(config),
        from_study=from_study,
        trial=None if trial is None else _trial(trial),
        storage=storage,
        fixed=fixed,
        data=data,
        weights_dir=weights_dir,
        epochs=epochs,
        seed=seed,
        as_saved=as_saved,
        out=out,
        device=device,
        skip_unreadable=skip_unreadable,
        trust_split=trust_split,
        download=download_weights,
    )
    with counting("reading the data") as progress:
        run = prepare_run(request, note, progress)
    if run.resumes:
        note(f"going on from the checkpoint in {run.out}")
    result = _run(run)
    if run.trains and result.state != State.COMPLETE:
        raise InputError(f"{result.reason}: change the config, a lower learning rate or a smaller batch")
    if as_json:
        print_json(describe_run(run, result))
    else:
        _print_result(run, result)


def _trial(text: str) -> int | str:
    if text != ENSEMBLE and not (text.isascii() and text.isdecimal()):
        raise typer.BadParameter(f"{text!r} is no number of a trial, and not {ENSEMBLE!r}.", param_hint="'--trial'")
    return text if text == ENSEMBLE else int(text)


def _run(run: TrainRun) -> FitResult:
    """Trains, with a bar for the batches of an epoch and a line for each epoch."""
    from training.data import modality_named

    metric = run.task.metric
    examples = "images" if modality_named(run.task.modality).has_resolution else "examples"
    with stop_requests() as asked_to_stop, bar() as shown:
        line = shown.add_task("training", total=None)

        def check_stop() -> None:
            if asked_to_stop():
                raise KeyboardInterrupt

        def on_batch(step: int, steps: int) -> None:
            check_stop()
            shown.update(line, completed=step, total=steps)

        def on_epoch(epoch: EpochResult) -> None:
            note(
                f"epoch {epoch.epoch} of {epoch.epochs}: loss {epoch.loss:.6f}, validation {epoch.valid_loss:.6f}, "
                f"{metric} {value_text(metric, epoch.value)}, {_speed(epoch, examples)}"
            )

        try:
            return run.start(on_epoch, on_batch, check_stop)
        except KeyboardInterrupt:
            note(f"the same command with --out {shlex.quote(str(run.out))} goes on from the last whole epoch")
            raise


def _print_result(run: TrainRun, result: FitResult) -> None:
    if result.value is None or result.estimate is None:
        return
    metric = run.task.metric
    others = "".join(f", {name} {value_text(name, value)}" for name, value in result.secondary.items())
    reason = f", {result.reason}" if result.reason else ""
    print_lines(
        [
            f"{run.out}: {metric} {value_text(metric, result.value)} on n = {result.n} "
            f"(95 % interval {interval_text(metric, result.estimate.ci95)}){others}, {result.seconds:.1f} s{reason}"
        ]
    )


def _speed(epoch: EpochResult, examples: str) -> str:
    """With what the trained part of the network read: kept features have no speed of photos."""
    if epoch.from_kept:
        examples = "activations" if epoch.trained_stages else "features"
    return f"{epoch.examples_per_second:.0f} {examples}/s"


def _read_config(path: Path) -> Config:
    try:
        raw = json.loads(path.read_text())
    except OSError as problem:
        raise InputError(f"{path} can't be read: {problem.strerror}") from None
    except ValueError as problem:
        raise InputError(f"{path} is not JSON: {problem}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path} must hold one JSON object, dimension: value")
    try:
        return decoded(raw, Config)
    except DecodeError as problem:
        raise InputError(f"{path}: {problem}") from None
