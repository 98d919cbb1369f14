"""What has to be true of a study when nothing is left to do, however it came to that."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import FrozenTrial, TrialState

from studies.records import TrialRecord
from training.lanes.results import State

from .ledger import Ledger
from .life import Process
from .place import EPOCHS, NAME, Place
from .said import Said

GIVEN_UP = {
    State.FAILED: "worker killed too often (killed by SIGKILL)",
    State.INFEASIBLE: "lost too often: the process died while it trained",
}
"""How a trial ends that is given up: seen by a driver, or found when the study goes on."""

# Workers find out by themselves that their driver is gone, at the next thing that they say.
_ENDING_SECONDS = 30.0
_BY_ITSELF = (State.COMPLETE, State.PRUNED)


def is_given_up(record: TrialRecord) -> bool:
    return (record.state, record.reason) in GIVEN_UP.items()


def problems_of(place: Place, ledger: Ledger, trials: int, processes: Iterable[Process]) -> list[str]:
    """All that is wrong."""
    records = place.records()
    return [
        *ledger.problems,
        *_states(records, ledger.given_up, trials),
        *_told(records, ledger.told, ledger.unheard),
        *_written(place),
        *_plain_optuna(place, records),
        *_left_behind(place, processes),
    ]


def _states(records: list[TrialRecord], given_up: set[int], trials: int) -> Iterator[str]:
    if [record.number for record in records] != list(range(trials)):
        yield f"there are {len(records)} trials instead of {trials}"
    for record in records:
        if is_given_up(record) != (record.number in given_up):
            killed = "too often" if record.number in given_up else "not too often"
            yield f"trial {record.number} was killed {killed}, and is {record.state}: {record.reason}"
        if record.state not in _BY_ITSELF and not is_given_up(record):
            yield f"trial {record.number} is {record.state}: {record.reason}"
        if record.state == State.COMPLETE and [epoch for epoch, _ in record.curve] != list(range(1, EPOCHS + 1)):
            yield f"trial {record.number} is complete, and has the curve {record.curve}"


def _told(records: list[TrialRecord], told: Mapping[int, Said], unheard: set[int]) -> Iterator[str]:
    """What drivers said of trials that ended is what the study says of them."""
    if set(told) | unheard != {record.number for record in records}:
        yield "the trials that drivers told of are not those of the study"
    for record in records:
        if (said := told.get(record.number)) is None:
            continue
        if (said.state, said.reason) != (record.state, record.reason):
            yield f"trial {record.number} was told to be {said.state}, and is {record.state}"
        # What was lost has no curve to tell of; what it came to before stays in the study.
        if record.state in _BY_ITSELF and (said.value, said.curve) != (record.value, record.curve):
            yield f"trial {record.number} was told to have {said.value} {said.curve}, not {record.value} {record.curve}"


def _written(place: Place) -> Iterator[str]:
    """No epoch and no end of a trial is in the journal twice."""
    written: Counter[tuple[int, object]] = Counter()
    for line in place.journal.read_bytes().splitlines():
        record = json.loads(line)
        match record["op_code"]:
            case JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE:
                written[record["trial_id"], record["step"]] += 1
            case JournalOperation.SET_TRIAL_STATE_VALUES if TrialState(record["state"]).is_finished():
                written[record["trial_id"], "end"] += 1
    for (trial, what), times in written.items():
        if times > 1:
            yield f"trial {trial} was recorded {times} times: {what}"


def _plain_optuna(place: Place, records: list[TrialRecord]) -> Iterator[str]:
    storage = JournalStorage(JournalFileBackend(str(place.journal)))
    trials = optuna.load_study(study_name=NAME, storage=storage).trials
    if [_as_optuna_has_it(trial) for trial in trials] != [_as_we_have_it(record) for record in records]:
        yield "Optuna by itself reads other trials from the journal"


def _as_optuna_has_it(trial: FrozenTrial) -> object:
    return trial.number, trial.state, trial.params, tuple(sorted(trial.intermediate_values.items()))


def _as_we_have_it(record: TrialRecord) -> object:
    states = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}
    return record.number, states.get(record.state, TrialState.PRUNED), record.config, record.curve


def _left_behind(place: Place, processes: Iterable[Process]) -> Iterator[str]:
    last = time.monotonic() + _ENDING_SECONDS
    living = sum(not process.has_ended(max(last - time.monotonic(), 0.0)) for process in processes)
    if living:
        yield f"{living} workers are left"
    study = place.study()
    if study.is_running():
        yield "the study is locked, as if somebody ran it"
    for folder in study.folder.glob("trials/*"):
        yield f"{folder} is left, though its trial has ended"
    if "Traceback" in place.errors.read_text():
        yield f"something broke: see {place.errors}"


def differences(records: Iterable[TrialRecord], undisturbed: Iterable[TrialRecord]) -> Iterator[str]:
    """What kills changed in the trials that both studies have: nothing but what was given up, and when.

    The pruner compares a trial with those that ended before it, and several workers end theirs in another order each
    time: a trial may have fewer epochs than the same one undisturbed, but no other ones.
    """
    others = {record.number: record for record in undisturbed}
    for record in records:
        if (calm := others.get(record.number)) is None:
            continue
        if (record.config, record.seed) != (calm.config, calm.seed):
            yield f"trial {record.number} has another config than in the undisturbed run"
        common = min(len(record.curve), len(calm.curve))
        if record.curve[:common] != calm.curve[:common]:
            yield f"trial {record.number} has the curve {record.curve}, undisturbed {calm.curve}"
        if record.state == calm.state == State.COMPLETE and record.value != calm.value:
            yield f"trial {record.number} has the value {record.value}, undisturbed {calm.value}"
