"""Who runs a study: one process alone, or, in a database, one beside others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage

from search_spaces import InputError

from .attempts import Attempts
from .creation import NameTakenError, is_whole
from .drivers import Drivers, new_driver
from .location import shown_storage
from .patience import Patience
from .run_lock import BusyError, FileRunLock, ServerRunLock, held_to_run, lock_to_make, refuse_links, server_lock
from .storage import is_in_memory, is_on_server, output_folder


class Running:
    """Whether and how this process runs a study.

    Args:
        drivers: what is known of other drivers; None where there can't be any.
    """

    def __init__(
        self,
        study: optuna.Study,
        attempts: Attempts,
        drivers: Drivers | None,
        *,
        storage_url: str | None,
        folder: Path,
        patience: Patience,
    ) -> None:
        self._study = study
        self._attempts = attempts
        self._drivers = drivers
        self._storage_url = storage_url
        self._folder = folder
        self._patience = patience
        self._is_here = False

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """See `Study.running`."""
        with self._held(self._lock()), self._leading():
            yield

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """See `Study.joined`."""
        self.check_joinable()
        assert self._drivers is not None
        self._attempts.driver = new_driver()
        try:
            with self._held(None):
                try:
                    yield
                finally:
                    # What asked for the end must not end this too.
                    self._patience.reset()
                    # What these trials saved stays: whoever retries them may reach it.
                    self._drivers.give_back()
                    self._attempts.forget_verdicts()
        finally:
            self._attempts.driver = ""

    def _leading(self) -> contextlib.AbstractContextManager[None]:
        if self._drivers is None:
            return contextlib.nullcontext()
        return self._drivers.leading(lambda trial: not self._attempts.is_of_another(trial))

    def check_joinable(self) -> None:
        """Raises InputError where the storage has one driver at a time."""
        if self._drivers is None:
            raise InputError(
                f"{shown_storage(self._storage_url)} has one driver at a time: several need a database, "
                "--storage postgresql://... or sqlite:///FILE"
            )

    def by_anyone(self) -> bool:
        """Whether some process runs the study."""
        if self._is_here or self.is_led():
            return True
        return self._drivers is not None and self._drivers.is_beating()

    def is_led(self) -> bool:
        """Whether some process runs it `alone`, with or without others that joined."""
        return self._lock().is_held()

    @contextlib.contextmanager
    def _held(self, lock: FileRunLock | ServerRunLock | None) -> Iterator[None]:
        refuse_links(self._folder)
        beating = contextlib.nullcontext() if self._drivers is None else self._drivers.beating()
        with held_to_run(lock, self._study, self._patience), beating:
            self._is_here = True
            try:
                yield
            finally:
                self._is_here = False

    def _lock(self) -> FileRunLock | ServerRunLock:
        if not is_on_server(self._storage_url):
            return FileRunLock(self._folder, self._study.study_name)
        return server_lock(self._study, self._patience)


@contextlib.contextmanager
def making(name: str, storage: BaseStorage, storage_url: str | None, patience: Patience) -> Iterator[None]:
    """Held by the one process that makes a study of that name in a database, which takes its parts one by one.

    Raises:
        NameTakenError: another process is at it, or runs the study by now.
    """
    with contextlib.ExitStack() as stack:
        if not isinstance(storage, JournalStorage) and not is_in_memory(storage_url):
            if is_whole(name, storage):
                # Whoever runs it must not meet us with the lock, which a file's studies have for both.
                raise NameTakenError(name)
            if is_on_server(storage_url):
                lock: FileRunLock | ServerRunLock = lock_to_make(name, storage, patience)
            else:
                lock = FileRunLock(output_folder(storage_url) / name, name)
            try:
                stack.enter_context(lock.held())
            except BusyError:
                raise NameTakenError(name) from None
        yield
