"""Who is to blame for a death: what was trained, or whoever killed the process."""

from __future__ import annotations

import signal
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies import Study
from studies.attempts import MOST_KILLS, MOST_LOSSES, Attempts
from studies.engines.deaths import death_by
from studies.engines.engine import Lost
from training.machine import memory
from training.machine.memory import out_of_memory_kills

from ..toys import TOY
from .small_studies import a_study


@pytest.mark.parametrize(
    ("code", "kills", "lost"),
    [
        (0, 0, Lost("exit code 0")),
        (3, 0, Lost("exit code 3")),
        (-signal.SIGSEGV, 0, Lost("killed by SIGSEGV")),
        (-signal.SIGTERM, None, Lost("killed by SIGTERM", from_outside=True)),
        (-signal.SIGKILL, 0, Lost("killed by SIGKILL", from_outside=True)),
        (-signal.SIGKILL, 1, Lost("killed by SIGKILL, as the machine ran out of memory")),
        (-signal.SIGKILL, None, Lost("killed by SIGKILL")),
        (-99, 0, Lost("killed by signal 99")),
    ],
)
def test_only_a_kill_that_memory_does_not_explain_comes_from_outside(code: int, kills: int | None, lost: Lost) -> None:
    assert death_by(code, kills) == lost


def test_the_kernel_counts_whom_it_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counts = tmp_path / "vmstat"
    counts.write_text("nr_free_pages 12\noom_kill 7\n")
    monkeypatch.setattr(memory, "_KERNEL_COUNTS", counts)
    assert out_of_memory_kills() == 7
    counts.write_text("nr_free_pages 12\n")
    assert out_of_memory_kills() is None
    counts.unlink()
    assert out_of_memory_kills() is None


class _Deaths:
    """A trial that dies again and again, in a study that is opened anew each time its driver dies."""

    def __init__(self, url: str, *, has_workers: bool) -> None:
        self._url = url
        self._has_workers = has_workers
        a_study(url)
        self._open()
        assert self._study.ask(TOY.space, 1) is not None

    def _open(self) -> None:
        self._study = Study.open("s", self._url, to_run=True)
        self._attempts: Attempts = self._study._attempts
        self._attempts.has_workers = self._has_workers

    @property
    def _stored(self) -> optuna.trial.FrozenTrial:
        return self._study._study.get_trials(deepcopy=False)[0]

    def of_worker(self, *, from_outside: bool) -> int:
        times = self._attempts.lost(self._stored, from_outside=from_outside)
        self._attempts.begin([self._stored])
        return times

    def of_driver(self) -> int:
        self._open()
        times = self._attempts.lost_with_driver(self._stored)
        (proposal,) = self._study.left(TOY.space, 1)
        assert proposal.lost == times  # asked once more, it says the same
        self._attempts.begin([self._stored])
        return times

    def progress(self) -> None:
        self._study.recording.report(0, len(self._stored.intermediate_values) + 1, 0.5)


def test_a_trial_is_given_up_when_it_was_to_blame_twice_or_was_killed_too_often(url: str) -> None:
    deaths = _Deaths(url, has_workers=True)
    assert [deaths.of_worker(from_outside=True) for _ in range(MOST_KILLS - 1)] == [0] * (MOST_KILLS - 1)
    assert deaths.of_worker(from_outside=False) == 1
    deaths.progress()
    assert deaths.of_worker(from_outside=False) == 1
    assert [deaths.of_worker(from_outside=True) for _ in range(MOST_KILLS)] == [1] * (MOST_KILLS - 1) + [MOST_LOSSES]
    deaths.progress()
    assert deaths.of_worker(from_outside=True) == 0
    assert [deaths.of_worker(from_outside=False) for _ in range(2)] == [1, MOST_LOSSES]


@pytest.mark.parametrize("has_workers", [True, False])
def test_a_driver_dies_of_what_it_trains_itself_and_not_of_what_its_workers_do(url: str, has_workers: bool) -> None:
    deaths = _Deaths(url, has_workers=has_workers)
    counted = [deaths.of_driver() for _ in range(3)]
    assert counted == ([0, 0, 0] if has_workers else [1, 2, 3])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20))
def test_a_trial_that_gets_on_is_never_given_up(deaths: list[tuple[bool, bool]]) -> None:
    study = optuna.create_study()
    trial = study.ask()
    attempts = Attempts(study._storage, study._study_id)
    for epoch, (from_outside, has_workers) in enumerate(deaths, start=1):
        attempts.has_workers = has_workers
        attempts.begin(study.get_trials())
        trial.report(0.5, epoch)
        assert attempts.lost(study.get_trials()[0], from_outside=from_outside) < MOST_LOSSES


def test_a_trial_of_an_earlier_version_keeps_its_losses(url: str) -> None:
    study = a_study(url)
    assert study.ask(TOY.space, 1) is not None
    stored = study._study.get_trials(deepcopy=False)[0]
    study._study._storage.set_trial_system_attr(stored._trial_id, "pomona:lost", [1, 0])
    (proposal,) = Study.open("s", url, to_run=True).left(TOY.space, 1)
    assert proposal.lost == MOST_LOSSES
