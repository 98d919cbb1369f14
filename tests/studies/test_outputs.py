"""What the best trials said of the validation examples is kept, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies import delete_study, outputs, rename_study
from studies.outputs import KeptOutputs
from training.lanes.results import Outputs

from ..toys import CLASSES
from .small_studies import a_study, result


def some_outputs(seed: int = 0, n: int = 12) -> Outputs:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(n, 3)).astype(np.float32)
    return Outputs(values, np.arange(n) % 3, np.arange(n) // 2, CLASSES, "which")


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = some_outputs()
    KeptOutputs(tmp_path / "outputs", "maximize").keep(7, 0.5, kept)
    value, read = KeptOutputs(tmp_path / "outputs", "maximize").read(7) or (0.0, some_outputs(1))
    assert value == 0.5
    assert (read.classes, read.split) == (kept.classes, kept.split)
    for name in ("values", "labels", "groups"):
        before, after = getattr(kept, name), getattr(read, name)
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("forms", [0, 3])
def test_what_changed_examples_gave_comes_back_too(tmp_path: Path, forms: int) -> None:
    shifted = np.random.default_rng(2).normal(size=(forms, 12, 3)).astype(np.float32)
    KeptOutputs(tmp_path, "maximize").keep(7, 0.5, replace(some_outputs(), shifted=shifted))
    KeptOutputs(tmp_path, "maximize").keep(8, 0.5, some_outputs())
    (_, one), (_, other) = (KeptOutputs(tmp_path, "maximize").read(n) or (0.0, some_outputs(1)) for n in (7, 8))
    assert one.shifted is not None
    np.testing.assert_array_equal(one.shifted, shifted)
    assert other.shifted is None


def test_there_may_be_none(tmp_path: Path) -> None:
    kept = KeptOutputs(tmp_path / "outputs", "maximize")
    assert kept.numbers() == []
    assert kept.read(3) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@given(values=st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=8), stops=st.sets(st.integers(0, 7)))
def test_the_best_are_kept_however_often_the_process_ends(
    tmp_path_factory: pytest.TempPathFactory, direction: str, values: list[float], stops: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "MOST", 3)
        kept = KeptOutputs(folder, direction)
        for number, value in enumerate(values):
            if number in stops:
                kept = KeptOutputs(folder, direction)
            kept.keep(number, value, some_outputs(number))
    sign = -1 if direction == "maximize" else 1
    best = sorted(range(len(values)), key=lambda number: (sign * values[number], number))[:3]
    assert kept.numbers() == sorted(best)


@given(trials=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.1, 0.2, 0.3])), max_size=10))
def test_no_kind_leaves_no_room_for_another(
    tmp_path_factory: pytest.TempPathFactory, trials: list[tuple[str, float]]
) -> None:
    folder = tmp_path_factory.mktemp("kinds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "MOST", 4)
        for number, (kind, value) in enumerate(trials):
            KeptOutputs(folder, "maximize").keep(number, value, some_outputs(number), kind=kind)
    kinds = KeptOutputs(folder, "maximize").kinds()
    assert len(kinds) == min(len(trials), 4)
    for kind in "ab":
        there = [number for number, (of, _) in enumerate(trials) if of == kind]
        kept = [number for number, of in kinds.items() if of == kind]
        assert len(kept) >= min(len(there), 2)
        best = sorted(there, key=lambda number: (-trials[number][1], number))
        assert sorted(kept) == sorted(best[: len(kept)])


def test_a_damaged_file_is_as_none_and_the_first_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MOST", 2)
    kept = KeptOutputs(tmp_path, "maximize")
    for number in (1, 2):
        kept.keep(number, 0.9, some_outputs(number))
    file = tmp_path / "00001.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert kept.read(1) is None
    file.write_bytes(b"{}")
    again = KeptOutputs(tmp_path, "maximize")
    assert again.read(1) is None
    again.keep(3, 0.1, some_outputs(3))
    assert again.numbers() == [2, 3]


def test_a_study_keeps_those_of_its_search_and_takes_them_along(url: str) -> None:
    study = a_study(url)
    for _ in range(2):
        trial = study._study.ask()
        study._open[trial.number] = trial
    study.recording.finish(0, replace(result(), outputs=some_outputs()))
    study.recording.finish(1, result())
    assert study.outputs.numbers() == [0]
    renamed = rename_study("s", "t", url)
    assert not study.folder.exists()
    assert renamed.outputs.numbers() == [0]
    delete_study("t", url)
    assert not renamed.folder.exists()


def test_a_trial_that_is_confirmed_leaves_no_outputs(url: str) -> None:
    study = a_study(url)
    trial = study._study.ask()
    study._open[trial.number] = trial
    with study.confirming([]):
        study.recording.finish(0, replace(result(), outputs=some_outputs()))
    assert study.outputs.numbers() == []
