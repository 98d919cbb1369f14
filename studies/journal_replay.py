"""Reading a journal's records into studies: what is damaged, or of a newer Optuna, is named by its line."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult

from search_spaces import InputError

_log = logging.getLogger("pomona")
# What Optuna's reader raises at a record of another form than its own.
_OTHER_FORM = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


class CheckedStorage(JournalStorage):
    """Optuna's storage in the journal at `path`.

    Every method raises `InputError` where a record can't be read, and goes on doing so: nothing behind it counts.
    """

    def __init__(self, backend: BaseJournalBackend, path: Path) -> None:
        self._path = path
        super().__init__(backend)

    def _sync_with_backend(self) -> None:
        if not isinstance(self._replay_result, _Replay):
            # Optuna made its own, and has read nothing into it yet.
            self._replay_result = _Replay(self._worker_id_prefix, self._path)
        replay = self._replay_result
        try:
            super()._sync_with_backend()
        except _OTHER_FORM as problem:
            line = replay.log_number_read
            record = next(iter(self._backend.read_logs(line - 1)), {})
            if record.get("worker_id") == replay.worker_id:
                # No damage: what was just asked for can't be done.
                raise
            replay.log_number_read = line - 1
            raise InputError(f"{self._path} {_wrong_with(record, line)}") from problem


class _Replay(JournalStorageReplayResult):
    """Also says where records are of a trial that was never made, which Optuna passes over. One such may be a slip of
    another program, so it is no error; but where the line that made the trial is lost, all later numbers are shifted.
    """

    def __init__(self, worker_id_prefix: str, path: Path) -> None:
        super().__init__(worker_id_prefix)
        self._path = path
        self._has_warned = False

    def _trial_exists_and_updatable(self, trial_id: int, log: dict[str, Any]) -> bool:
        if trial_id not in self._trials and not self._has_warned and not self._is_issued_by_this_worker(log):
            self._has_warned = True
            _log.warning(
                "%s: line %d is of a trial that was never begun; if a line before it was lost, go back to a copy",
                self._path,
                self.log_number_read,
            )
        return super()._trial_exists_and_updatable(trial_id, log)


def _wrong_with(record: dict[str, Any], line: int) -> str:
    code = record.get("op_code")
    if isinstance(code, int) and code > max(JournalOperation):
        return (
            f"was written by a newer Optuna than {optuna.__version__}: line {line} is an operation, {code}, that it "
            "does not know; install the newer one"
        )
    return f"is damaged: line {line} is no record that Optuna can read; go back to a copy of it"
