"""A trial as a row: plain data, read from Optuna's storage and from nowhere else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search_spaces import Config
from training.lanes.results import FitResult, State

from .accounts import PREDICTED

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
FEASIBLE = "feasible"
# By what share of the memory more was needed; with it begin the names of how many bytes that was.
MEMORY = "memory"
# Where Optuna keeps the values that a trial was enqueued with.
FIXED = "fixed_params"
# The name under which a trial keeps whether it is scored on changed photos and cross-validated.
FURTHER = "pomona:further"
# Names of what a trial keeps about its lanes: see `Proposal`.
GROUP, ORIGIN, PART = "group", "origin", "part"
# Kept by versions in which a trial could join its group late, or leave it to go on alone.
START, SEPARATE = "start", "separate"
# Names of a trial's seed, and of the number of the searched trial that it trains again on that seed.
SEED, CONFIRMS = "seed", "confirms"
# Names of what a strategy keeps: the rung, what the features are of, the trial that was promoted, and whether it is the
# task's recipe.
RUNG, FEATURES, PROMOTED_FROM, RECIPE = "rung", "features", "promoted_from", "recipe"
# The name of the value on the validation examples as others might have brought them.
ROBUST = "robust"
# Before the names of what cross-validation says of a trial.
CROSS_VALIDATED = "cv_"
# A trial that somebody added to the study, ended, with Optuna itself.
FOREIGN = "foreign"
# The name of the trial that a trial retries, and the reasons of the one that it retries.
RETRIES = "retries"
DRIVER_LOST = "its driver was lost"
GIVEN_BACK = "its driver ended and gave it back"
# Before the names of other metrics than the study's.
SECONDARY = "beside_"
ENDED = tuple(str(state) for state in State)
# Names of what is kept about a value begin so.
_OF_VALUE = ("n_groups", "ci95_", "group_", "groups_", SECONDARY)
# Of a trial that has not ended while nobody runs its study; only shown, in the storage it is running.
INTERRUPTED = "interrupted"
STATE_ORDER = ("complete", INTERRUPTED, "running", "pruned", "infeasible", "failed", FOREIGN)


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a study. Intervals are 95 %; `seconds` are of this trial alone.

    `state` is one of `STATE_ORDER`; `record_of` never gives `interrupted`, which `Study` says where nobody runs it.
    `value`, `n` and the intervals are of the last of the `epochs`. `curve` holds (epoch, value) pairs; `group` is the
    number of the first of the trials that it trained with.
    `confirms` is the number of the searched trial whose config this one trains again; None for a searched trial.
    `secondary` holds what other metrics say. Of the two speeds at most one is there, see `FitResult`.
    `ci95` counts every example as an independent sample, `groups_ci95` every group of examples (None where the data
    has none). `robust` is the metric on the validation examples as others might have brought them, None where that was
    not measured. `cv_value` is the mean over `cv_folds` folds of training and validation examples, `cv_ci95` its
    interval by groups of them; None and 0 where the trial was not cross-validated.
    """

    study: str
    data: str
    number: int
    state: str
    reason: str
    config: Config
    value: float | None
    n: int
    ci95: tuple[float, float] | None
    group_value: float | None
    n_groups: int
    groups_ci95: tuple[float, float] | None
    epochs: int
    seconds: float
    images_per_second: float | None
    parameters: int
    seed: int
    engine: str
    weights: str
    note: str
    group: int = -1
    secondary: dict[str, float] = field(default_factory=dict)
    curve: tuple[tuple[int, float], ...] = ()
    features_per_second: float | None = None
    confirms: int | None = None
    rung: int | None = None
    features: str = ""
    promoted_from: int | None = None
    predicted_seconds: float | None = None
    robust: float | None = None
    cv_value: float | None = None
    cv_ci95: tuple[float, float] | None = None
    cv_folds: int = 0
    cv_n: int = 0


def attributes_of(result: FitResult, engine: str) -> dict[str, Any]:
    """What is kept of a result: flat values, so that each is a column in optuna-dashboard."""
    attributes: dict[str, Any] = {
        "state": str(result.state),
        "reason": result.reason,
        "epochs": len(result.curve),
        "seconds": round(result.seconds, 3),
        "parameters": result.parameters,
        "engine": engine,
        "weights": result.environment.get("weights", ""),
        "device": result.environment.get("device", ""),
        "numerics": result.environment.get("numerics", ""),
        "commit": result.environment.get("commit", ""),
    }
    if (need := result.memory) is not None:
        attributes |= {f"{MEMORY}_{name}": value for name, value in asdict(need).items() if value is not None}
    for name in ("images_per_second", "features_per_second"):
        if (speed := getattr(result, name)) is not None:
            attributes[name] = round(speed, 1)
    if result.robust is not None and math.isfinite(result.robust):
        attributes[ROBUST] = result.robust
    if (crossed := result.cross_validated) is not None and all(map(math.isfinite, (crossed.value, *crossed.ci95))):
        low, high = crossed.ci95
        said: dict[str, Any] = {
            "value": crossed.value,
            "ci95_low": low,
            "ci95_high": high,
            "folds": crossed.folds,
            "n": crossed.estimate.n,
        }
        if crossed.stopped:
            said["stopped"] = crossed.stopped
        attributes |= {f"{CROSS_VALIDATED}{name}": value for name, value in said.items()}
    if (estimate := result.estimate) is not None:
        attributes["n"] = estimate.n
        # A metric may be defined where its interval, or another metric, is not: JSON has no words for these.
        if math.isfinite(estimate.low) and math.isfinite(estimate.high):
            attributes |= {"ci95_low": estimate.low, "ci95_high": estimate.high}
        attributes |= {f"{SECONDARY}{name}": value for name, value in result.secondary.items() if math.isfinite(value)}
        if (grouped := result.grouped) is not None:
            attributes |= {
                "group_value": grouped.value,
                "n_groups": grouped.n,
                "groups_ci95_low": grouped.low,
                "groups_ci95_high": grouped.high,
            }
    return attributes


def record_of(
    trial: FrozenTrial, study: str, data: str, kept_elsewhere: Mapping[str, Any] | None = None
) -> TrialRecord:
    """The row of a trial in any state; `kept_elsewhere` are attributes that go before those that the trial has."""
    state = state_of(trial)
    # What others keep under such names is theirs.
    kept: dict[str, Any] = trial.user_attrs | dict(kept_elsewhere or {})
    if state == FOREIGN:
        kept = {"note": "added with Optuna, not trained by pomona: not ranked"}
    last = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None
    epochs = len(trial.intermediate_values) or int(kept.get("epochs", 0))
    if state == State.INFEASIBLE and int(kept.get("epochs", 0)) > len(trial.intermediate_values):
        # Kept by a version that counted the epoch in which the loss was lost, and told that epoch's interval.
        kept = {name: value for name, value in kept.items() if name != "n" and not name.startswith(_OF_VALUE)}
        epochs = len(trial.intermediate_values)
    reason = str(kept.get("reason", ""))
    if state == "running":
        reason = f"under way, {len(trial.intermediate_values)} epochs done"
    return TrialRecord(
        study=study,
        data=data,
        number=trial.number,
        state=state,
        reason=reason,
        config=dict(trial.params),
        value=trial.value if trial.state == TrialState.COMPLETE else last,
        n=int(kept.get("n", 0)),
        ci95=_interval(kept, "ci95"),
        group_value=kept.get("group_value", kept.get("group_accuracy")),
        n_groups=int(kept.get("n_groups", 0)),
        groups_ci95=_interval(kept, "groups_ci95"),
        epochs=epochs,
        seconds=float(kept.get("seconds", 0.0)),
        images_per_second=_number(kept, "images_per_second"),
        features_per_second=_number(kept, "features_per_second"),
        parameters=int(kept.get("parameters", 0)),
        seed=seed if type(seed := kept.get(SEED)) is int else 0,  # one that others enqueued may say anything
        engine=str(kept.get("engine", "")),
        weights=str(kept.get("weights", "")),
        note=str(kept.get("note", "")),
        secondary={
            name.removeprefix(SECONDARY): float(value) for name, value in kept.items() if name.startswith(SECONDARY)
        },
        group=int(kept.get(GROUP, trial.number)),
        curve=tuple(sorted(trial.intermediate_values.items())),
        confirms=confirms_of(trial),
        rung=_whole(kept, RUNG),
        features=str(kept.get(FEATURES, "")),
        promoted_from=_whole(kept, PROMOTED_FROM),
        predicted_seconds=_number(kept, PREDICTED),
        robust=_number(kept, ROBUST, zero=True),
        cv_value=_number(kept, f"{CROSS_VALIDATED}value", zero=True),
        cv_ci95=_interval(kept, f"{CROSS_VALIDATED}ci95"),
        cv_folds=int(kept.get(f"{CROSS_VALIDATED}folds", 0)),
        cv_n=int(kept.get(f"{CROSS_VALIDATED}n", 0)),
    )


def state_of(trial: FrozenTrial) -> str:
    """Our word for the state of a trial."""
    # Killed while its end was being recorded, a trial is still running for the storage, and for us.
    if not trial.state.is_finished():
        return _STATES[trial.state]
    state = trial.user_attrs.get("state")
    return str(state) if state in ENDED and SEED in trial.user_attrs else FOREIGN


def is_lost(trial: FrozenTrial) -> bool:
    """Whether a trial ended because its driver did, or was lost; see `Drivers`."""
    return trial.state == TrialState.FAIL and trial.user_attrs.get("reason") in (DRIVER_LOST, GIVEN_BACK)


def confirms_of(trial: FrozenTrial) -> int | None:
    """The number of the searched trial that a trial confirms on another seed; None for every other trial."""
    confirms, seed = trial.user_attrs.get(CONFIRMS), trial.user_attrs.get(SEED)
    return confirms if type(confirms) is int and type(seed) is int else None


def is_done(confirmation: FrozenTrial | None) -> bool:
    """Whether a trial that confirms another one need not be done again: one that failed, or that others ended, is."""
    return confirmation is not None and state_of(confirmation) in (State.COMPLETE, State.PRUNED, State.INFEASIBLE)


def final_state(result: FitResult) -> TrialState:
    """Optuna's state for a result.

    Infeasible is PRUNED with a violated constraint: a FAILed trial is invisible to samplers, which would propose the
    same again.
    """
    return {
        State.COMPLETE: TrialState.COMPLETE,
        State.PRUNED: TrialState.PRUNED,
        State.INFEASIBLE: TrialState.PRUNED,
        State.FAILED: TrialState.FAIL,
    }[result.state]


def config_key(config: Config) -> str:
    """Equal for equal configs, whatever the order of their names."""
    return json.dumps(config, sort_keys=True)


def run_key(config: Config, seed: int) -> str:
    """Equal for equal configs and seeds: a `training.Run` as text, so that a record is found without loading torch."""
    return f"{seed} {config_key(config)}"


def _whole(kept: dict[str, Any], name: str) -> int | None:
    value = kept.get(name)
    return value if type(value) is int else None


def _number(kept: dict[str, Any], name: str, *, zero: bool = False) -> float | None:
    # 0 is what earlier versions wrote as the speed of trials without an epoch.
    value = kept.get(name)
    return float(value) if value or (zero and value is not None) else None


def _interval(kept: dict[str, Any], name: str) -> tuple[float, float] | None:
    low, high = kept.get(f"{name}_low"), kept.get(f"{name}_high")
    return None if low is None or high is None else (float(low), float(high))
