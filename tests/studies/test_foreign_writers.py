"""A plain Optuna program may write to our journal all the time: neither side loses a trial, and no lock stays."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock

from search_spaces import InputError
from studies import Study
from studies.file_lock import JournalLock
from studies.journal import open_journal

from ..toys import TOY
from .clock import Clock
from .journals import FORK, add_trial, answer, forks, transaction
from .small_studies import a_study, result

pytestmark = pytest.mark.usefixtures("quiet")

LOCKS = pytest.mark.parametrize("lock", [JournalFileSymlinkLock, JournalFileOpenLock])


def plain_storage(path: Path, lock: type = JournalFileSymlinkLock) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock(str(path))))


def write_all_the_time(path: Path, lock: type, line: Connection) -> None:
    study = optuna.create_study(
        study_name="theirs", storage=plain_storage(path, lock), sampler=optuna.samplers.RandomSampler(seed=1)
    )
    line.send("writing")
    number = 0
    while not line.poll():
        trial = study.ask()
        trial.set_user_attr("number", number)
        trial.suggest_float("x", 0, 1)
        trial.report(0.5, 1)
        study.tell(trial, number)
        number += 1
    line.send(number)


@forks
@LOCKS
def test_a_search_beside_a_plain_writer_keeps_every_trial_of_both(tmp_path: Path, lock: type) -> None:
    path = tmp_path / "journal.log"
    study = a_study(str(path), trials=15)
    line, other_end = FORK.Pipe()
    writer = FORK.Process(target=write_all_the_time, args=(path, lock, other_end), daemon=True)
    writer.start()
    assert answer(line) == "writing"
    for proposal in study.proposals(TOY.space, 15):
        study.recording.report(proposal.number, 1, 0.25)
        study.recording.finish(proposal.number, result())
    line.send("stop")
    theirs = answer(line)
    writer.join()

    for storage in (open_journal(path), plain_storage(path)):
        ours = optuna.load_study(study_name="s", storage=storage).trials
        assert [trial.number for trial in ours] == list(range(15))
        assert all(trial.state.is_finished() and trial.params and 1 in trial.intermediate_values for trial in ours)
        written = optuna.load_study(study_name="theirs", storage=storage).trials
        assert len(written) == theirs
        assert all(
            (trial.user_attrs, trial.value, trial.intermediate_values, set(trial.params))
            == ({"number": trial.number}, trial.number, {1: 0.5}, {"x"})
            for trial in written
        )
    assert not os.path.lexists(f"{path}.lock")


# --- locks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "journal.log").touch()
    return tmp_path / "journal.log"


@pytest.fixture(params=[JournalFileSymlinkLock, JournalFileOpenLock])
def theirs(request: pytest.FixtureRequest, path: Path) -> JournalFileSymlinkLock:
    lock: JournalFileSymlinkLock = request.param(str(path))
    return lock


def leave_marker(path: Path) -> None:
    """As a process does that is killed while it writes."""
    Path(f"{path}.flock").touch()
    JournalLock(path)._make_marker()


def test_while_we_write_optuna_s_locks_are_taken_and_free_afterwards(path: Path) -> None:
    with JournalLock(path).held():
        assert os.path.lexists(f"{path}.lock")
        # Optuna looks at what the link points to; without that it would neither wait nor give up.
        assert os.stat(f"{path}.lock")
    assert not os.path.lexists(f"{path}.lock")


def test_a_waiting_optuna_sees_one_write_of_ours_from_the_next(path: Path) -> None:
    """It takes a lock for abandoned where what the link points to stays as it is, however often it was let go."""
    with JournalLock(path).held():
        os.utime(f"{path}.flock", (1, 1))
        before = os.stat(f"{path}.lock").st_mtime
    with JournalLock(path).held():
        assert os.stat(f"{path}.lock").st_mtime != before


def test_a_lock_that_a_killed_process_of_ours_left_is_taken_over_at_once(path: Path) -> None:
    leave_marker(path)
    clock = Clock()
    with JournalLock(path, clock.patience([])).held():
        pass
    assert clock.now == 0
    assert not os.path.lexists(f"{path}.lock")


def test_a_lock_that_a_killed_optuna_left_is_taken_over_after_its_grace_period(
    path: Path, theirs: JournalFileSymlinkLock
) -> None:
    theirs.acquire()
    clock, notes = Clock(), list[str]()
    with JournalLock(path, clock.patience(notes)).held():
        pass
    assert 30 <= clock.now < 32
    assert notes == [
        f"waiting to write to {path}: another program ({path}.lock) holds its lock",
        f"{path}.lock: removed, the program that locked the journal ended without it",
    ]


def test_optuna_waits_for_us_no_longer_than_its_grace_period(path: Path, theirs: JournalFileSymlinkLock) -> None:
    """Suspended in the middle of a write, we are robbed; then nothing is written."""
    storage = open_journal(path)
    add_trial(storage)

    def write_and_be_robbed() -> None:
        with transaction(storage):
            add_trial(storage)
            theirs.release()
            theirs.acquire()

    with pytest.raises(InputError, match="another program wrote"):
        write_and_be_robbed()
    theirs.release()
    assert len(optuna.load_study(study_name="small", storage=open_journal(path)).trials) == 1


def test_a_lock_held_for_long_is_waited_for_until_asked_to_stop(path: Path, theirs: JournalFileSymlinkLock) -> None:
    theirs.acquire()
    clock, notes = Clock(), list[str]()
    patience = clock.patience(notes)

    def check() -> None:
        # Somebody else writes meanwhile: the lock is not abandoned.
        os.utime(f"{path}.lock", (clock.now, clock.now), follow_symlinks=False)
        if clock.now > 40:
            raise InputError("asked to stop")

    patience.check = check
    with pytest.raises(InputError, match="asked to stop"), JournalLock(path, patience).held():
        pass
    assert len(notes) == 1
    theirs.release()


def test_with_a_limit_a_lock_that_is_held_is_one_line(path: Path, theirs: JournalFileSymlinkLock) -> None:
    theirs.acquire()
    with pytest.raises(InputError, match=r"cannot use .*journal.log as storage: another program .* does not let go"):
        open_journal(path, patience=Clock().patience([], limit=20.0))
    theirs.release()


def test_readers_wait_for_nobody(path: Path, theirs: JournalFileSymlinkLock) -> None:
    add_trial(open_journal(path))
    theirs.acquire()
    storage = open_journal(path, for_reading=True, patience=Clock().patience([], limit=0.0))
    assert len(optuna.load_study(study_name="small", storage=storage).trials) == 1
    theirs.release()


def test_the_holder_of_our_lock_is_named(path: Path) -> None:
    notes: list[str] = []
    with (
        JournalLock(path).held(),
        pytest.raises(TimeoutError),
        JournalLock(path, Clock().patience(notes, limit=20.0)).held(),
    ):
        pass
    assert notes == [f"waiting to write to {path}: process {os.getpid()} holds its lock"]


def test_a_folder_in_place_of_the_lock_is_one_line(path: Path) -> None:
    Path(f"{path}.lock").mkdir()
    with pytest.raises(InputError, match="cannot use"):
        open_journal(path, patience=Clock().patience([], limit=None))


@pytest.mark.parametrize("place", ["/proc/j.log", "/proc/none/j.log"])
def test_where_no_lock_can_be_made_that_is_one_line_at_once(place: str) -> None:
    clock = Clock()
    with pytest.raises(InputError, match=f"cannot use {place} as storage"):
        open_journal(Path(place), patience=clock.patience([]))
    assert clock.now == 0


def test_without_symbolic_links_the_other_kind_of_lock_is_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    lock = JournalLock(path)
    leave_marker(path)
    with lock.held():
        assert lock.is_still_held()
        assert Path(f"{path}.lock").is_file()
    assert not Path(f"{path}.lock").exists()


# --- what others do to a journal meanwhile


def test_what_is_appended_without_any_lock_is_noticed_before_anything_is_written(path: Path) -> None:
    storage = open_journal(path)
    add_trial(storage)
    foreign = path.read_bytes()

    def write_beside_another() -> None:
        with transaction(storage):
            add_trial(storage)
            with path.open("ab") as file:
                file.write(foreign.splitlines(keepends=True)[1])

    with pytest.raises(InputError, match=r"another program wrote to .*: nothing was written"):
        write_beside_another()
    assert path.read_bytes().startswith(foreign)
    assert len(path.read_bytes().splitlines()) == len(foreign.splitlines()) + 1


def test_a_line_that_a_killed_plain_writer_tore_is_cut_off_before_we_write(path: Path) -> None:
    storage = open_journal(path)
    add_trial(plain_storage(path))
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"k')
    with transaction(storage):
        assert add_trial(storage) == 1
    assert add_trial(plain_storage(path)) == 2


def test_a_study_deleted_while_it_runs_is_one_line(path: Path) -> None:
    study = a_study(str(path))

    def run() -> None:
        with study.running():
            proposal = next(study.proposals(TOY.space, 3))
            optuna.delete_study(study_name="s", storage=plain_storage(path))
            study.recording.finish(proposal.number, result())
            study.ask(TOY.space, 3)

    with pytest.raises(InputError, match="study 's' was deleted while it ran"):
        run()
    assert not study.is_running()


def test_a_trial_that_another_program_ended_is_one_line_and_the_study_goes_on(path: Path) -> None:
    study = a_study(str(path))

    def run() -> None:
        with study.running():
            proposal = next(study.proposals(TOY.space, 3))
            optuna.load_study(study_name="s", storage=plain_storage(path)).tell(proposal.number, 0.5)
            study.recording.finish(proposal.number, result())

    with pytest.raises(InputError, match="another program ended a trial"):
        run()
    again = Study.open("s", str(path), to_run=True)
    with again.running():
        assert next(again.proposals(TOY.space, 3)).number == 1
