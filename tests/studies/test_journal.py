"""A journal's file stays whole: nothing is lost to a kill, a full disk or a stranger's file."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import optuna.storages.journal._storage
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search_spaces import InputError
from studies.journal import open_journal

from .journals import add_trial, records, transaction, without_privileges

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def journal_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a small study writes."""
    path = tmp_path_factory.mktemp("journal") / "journal.log"
    storage = open_journal(path)
    for _ in range(3):
        add_trial(storage)
    return path.read_bytes()


@contextmanager
def journal_of(content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.log"
        path.write_bytes(content)
        yield path


# --- torn tails


@given(st.data())
def test_a_journal_cut_anywhere_opens_with_its_whole_lines_and_takes_a_trial(
    journal_bytes: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(journal_bytes)))
    whole = journal_bytes[: journal_bytes.rfind(b"\n", 0, cut) + 1]
    with journal_of(journal_bytes[:cut]) as path:
        storage = open_journal(path)
        assert path.read_bytes() == whole
        number = add_trial(storage)
        assert path.read_bytes().startswith(whole)
        trials = optuna.load_study(study_name="small", storage=open_journal(path)).trials
        assert len(trials) == number + 1
        assert trials[-1].value == 0.75


@given(st.binary(min_size=1).filter(lambda tail: b"\n" not in tail), st.sampled_from([b"", b"\n"]))
def test_a_last_line_that_is_no_record_is_cut_off(journal_bytes: bytes, tail: bytes, end: bytes) -> None:
    with journal_of(journal_bytes + tail + end) as path:
        assert add_trial(open_journal(path)) == 3
        assert path.read_bytes().startswith(journal_bytes)
        assert len(optuna.load_study(study_name="small", storage=open_journal(path)).trials) == 4


def test_a_torn_line_that_appears_while_a_study_runs_is_cut_off_before_the_next_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"worker_id":"killed here')
    assert add_trial(storage) == 1
    assert path.read_bytes().startswith(whole)
    assert len(records(path)) > len(whole.splitlines())
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: cut off 37 bytes of a record that a killed writer left unfinished"
    ]


def test_reading_leaves_out_what_is_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    torn = path.read_bytes() + b'{"op_code":4'
    path.write_bytes(torn)
    assert len(optuna.load_study(study_name="small", storage=storage).trials) == 1
    assert path.read_bytes() == torn


# --- files that are not ours, or not in order


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"a shopping list\n", id="text"),
        pytest.param(b"no end of line", id="text without an end of line"),
        pytest.param(b'{"name": "settings"}\n{"op_code":1}\n', id="other JSON"),
        pytest.param(b"[1, 2]\n", id="a JSON list"),
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"\x00" * 64, id="zeros"),
        pytest.param(b"SQLite format 3\x00" + bytes(80), id="an SQLite file"),
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a journal"):
        open_journal(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", [b"garbage\n", b"\xff\xfe\n", b"5\n", b'{"op_code":4,"wor{"op_code":5}\n'])
def test_damage_before_the_end_is_named_by_its_line_and_left_alone(
    tmp_path: Path, journal_bytes: bytes, damage: bytes
) -> None:
    lines = journal_bytes.splitlines(keepends=True)
    content = b"".join([*lines[:3], damage, *lines[3:]])
    path = tmp_path / "journal.log"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged: line 4 is no record"):
        open_journal(path)
    assert path.read_bytes() == content


def changed(lines: list[bytes], number: int, was: bytes, now: bytes) -> bytes:
    """The journal with something else in one line, counted from 1, which stays JSON."""
    assert was in lines[number - 1]
    return b"".join([*lines[: number - 1], lines[number - 1].replace(was, now), *lines[number:]])


# The records are those of a study, and of a trial, its parameter, a report and its end.
OTHER_FORM = pytest.mark.parametrize(
    ("number", "was", "now", "saying"),
    [
        (2, b'"study_id"', b'"study_ie"', "is damaged: line 2 is no record"),
        (3, b'"trial_id"', b'"triel_id"', "is damaged: line 3 is no record"),
        (3, b"FloatDistribution", b"FlootDistribution", "is damaged: line 3 is no record"),
        (3, b'"op_code":5', b'"op_code":"5"', "is damaged: line 3 is no record"),
        (5, b'"state":1', b'"state":[]', "is damaged: line 5 is no record"),
        (
            4,
            b'"op_code":7',
            b'"op_code":99',
            r"a newer Optuna than \S+: line 4 is an operation, 99, .*install",
        ),
    ],
)


@OTHER_FORM
def test_json_that_is_no_record_of_this_optuna_is_named_by_its_line(
    tmp_path: Path, journal_bytes: bytes, number: int, was: bytes, now: bytes, saying: str
) -> None:
    path = tmp_path / "journal.log"
    content = changed(journal_bytes.splitlines(keepends=True), number, was, now)
    path.write_bytes(content)
    for for_reading in (True, False):
        with pytest.raises(InputError, match=saying):
            open_journal(path, for_reading=for_reading)
    assert path.read_bytes() == content


@OTHER_FORM
def test_such_a_record_that_another_wrote_meanwhile_is_named_at_each_read(
    tmp_path: Path, journal_bytes: bytes, number: int, was: bytes, now: bytes, saying: str
) -> None:
    path = tmp_path / "journal.log"
    lines = journal_bytes.splitlines(keepends=True)
    path.write_bytes(lines[0])
    storage = open_journal(path)
    path.write_bytes(changed(lines, number, was, now))
    for _ in range(2):
        with pytest.raises(InputError, match=saying):
            storage.get_all_studies()
    with pytest.raises(InputError, match=saying), transaction(storage):
        storage.get_all_studies()


def test_what_can_not_be_done_is_no_damage(tmp_path: Path) -> None:
    storage = open_journal(tmp_path / "journal.log")
    add_trial(storage)
    for _ in range(2):
        with pytest.raises(KeyError):
            storage.set_trial_user_attr(9, "note", "of no trial")
    assert add_trial(storage) == 1
    assert add_trial(open_journal(tmp_path / "journal.log")) == 2


def test_records_of_a_trial_whose_beginning_is_lost_are_pointed_out(
    tmp_path: Path, journal_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.log"
    lines = journal_bytes.splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], *lines[2:]]))
    open_journal(path, for_reading=True)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: line 2 is of a trial that was never begun; if a line before it was lost, go back to a copy"
    ]


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        open_journal(tmp_path)


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot use"):
        open_journal(tmp_path / "file" / "journal.log")


def test_without_permission_a_journal_is_refused_for_writing_and_opens_for_reading() -> None:
    with without_privileges() as folder:
        path = folder / "journal.log"
        add_trial(open_journal(path))
        torn = path.read_bytes() + b'{"op_code":4'
        path.write_bytes(torn)
        path.chmod(0o444)
        folder.chmod(0o555)
        with pytest.raises(InputError, match=r"cannot use .*: Permission denied"):
            open_journal(path)
        storage = open_journal(path, for_reading=True)
        assert len(optuna.load_study(study_name="small", storage=storage).trials) == 1
        with pytest.raises(InputError, match=r"cannot write the study to .*: Permission denied"):
            add_trial(storage)
        path.chmod(0o000)
        with pytest.raises(InputError, match="Permission denied"):
            open_journal(path, for_reading=True)
        path.chmod(0o444)
        assert path.read_bytes() == torn


# --- the file goes, the disk fills


def test_a_journal_removed_under_a_study_does_not_come_back_without_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        add_trial(storage)
    assert not path.exists()


def test_a_record_that_does_not_fit_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = open_journal(path)
    add_trial(storage)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot write the study"):
            add_trial(storage)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert add_trial(storage) == 1


def test_a_journal_replayed_quickly_holds_the_trials_that_optuna_reads(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    study = optuna.create_study(storage=open_journal(path))
    for number in range(3):
        trial = study.ask()
        trial.suggest_float("rate", 1e-3, 1.0, log=True)
        trial.suggest_categorical("kind", ["a", "b"])
        study.tell(trial, float(number))
    parse = optuna.storages.journal._storage.json_to_distribution  # type: ignore[attr-defined]
    (ours,) = optuna.get_all_study_summaries(open_journal(path, for_reading=True))
    assert optuna.storages.journal._storage.json_to_distribution is parse  # type: ignore[attr-defined]
    plain = JournalStorage(JournalFileBackend(str(path)))
    assert open_journal(path, for_reading=True).get_all_trials(ours._study_id) == plain.get_all_trials(0)
