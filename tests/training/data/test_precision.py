"""Digits of columns: what 32-bit floats do not hold is standardised with 64, and everything else as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from search_spaces import BONUS, InputError
from training import evaluate, fit, load_checkpoint, open_data
from training.data.precision import compact, offset_of, short_floats_suffice
from training.data.tables import TableSet, generate_bonus, read_features, read_table
from training.export.evaluate import predict
from training.models.backbones import table

COLUMNS = BONUS.columns
LARGE = [0.0, 1.7e9, -1.7e9, 1e12, 3e-9, 1e15]


def table_of(rows: NDArray[np.float64], file: Path) -> Path:
    lines = [",".join(COLUMNS), *(",".join(repr(float(cell)) for cell in row) for row in rows)]
    file.write_text("\n".join(lines) + "\n")
    return file


def timestamps(offset: float = 1_700_000_000, target: float = 0.0) -> NDArray[np.float64]:
    """120 rows of whole seconds and two small numbers; the last column follows from them exactly."""
    rng = np.random.default_rng(0)
    seconds, one, other = rng.integers(0, 600, 120), rng.integers(1, 10, 120), rng.integers(1, 10, 120)
    return np.stack([offset + seconds, one, other, target + 3 * seconds + one + other], 1).astype(np.float64)


def standardised(data: TableSet) -> NDArray[np.float32]:
    splits = data.at(0)
    (stage,) = table.parts(3).stages
    assert splits.fitted is not None
    stage.load_state_dict(dict(splits.fitted))
    return np.asarray(stage(splits.train.inputs).numpy())


@given(offset=st.sampled_from(LARGE), scale=st.sampled_from([1e-9, 1e-3, 1.0, 600.0, 1e9]), seed=st.integers(0, 9))
def test_columns_are_standardised_as_with_64_bits(
    tmp_path_factory: pytest.TempPathFactory, offset: float, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(40, 4)) * [scale, 1, 10, 1] + [offset, 0, 2015, 0]
    if len(set(rows[:, 0])) < 40:
        return  # digits that 64 bits do not hold, either
    data = read_table(table_of(rows, tmp_path_factory.mktemp("t") / "t.csv"), COLUMNS, numeric=True)
    train = rows[data.rows["train"], :3]
    expected = (rows[:, :3] - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(standardised(data), expected, rtol=3e-4, atol=3e-4)


def test_rows_that_differ_in_late_digits_are_different_rows(tmp_path: Path) -> None:
    data = read_table(table_of(timestamps(), tmp_path / "t.csv"), COLUMNS, numeric=True)
    assert len(set(data.keys)) == len(set(map(tuple, timestamps()[:, :3])))
    assert len(data.rows["valid"]) == 24
    other = read_table(table_of(timestamps(1_700_000_001), tmp_path / "u.csv"), COLUMNS, numeric=True)
    assert other.fingerprint != data.fingerprint


def test_one_outlier_does_not_hide_that_digits_are_lost(tmp_path: Path) -> None:
    rows = timestamps()
    rows[0, 0] = 0
    data = read_table(table_of(rows, tmp_path / "t.csv"), COLUMNS, numeric=True)
    assert len(set(standardised(data)[1:, 0])) > 0.9 * len(set(rows[1:, 0]))


def test_a_row_has_one_key_in_any_table(tmp_path: Path) -> None:
    rows = timestamps()
    # An outlier of ten digits makes 32 bits enough for what is left.
    other = np.concatenate([rows, rows[:, [1, 2, 1, 3]] * 0.1, -rows * 1e9])
    one = read_table(table_of(rows, tmp_path / "a.csv"), COLUMNS, numeric=True)
    two = read_table(table_of(other, tmp_path / "b.csv"), COLUMNS, numeric=True)
    assert two.keys[: len(rows)] == one.keys


@pytest.mark.parametrize("scale", [1.0, 0.1, 1 / 3])
def test_what_32_bits_hold_is_as_it_was(scale: float) -> None:
    plain = generate_bonus(200)
    data = replace(plain, features=compact(plain.features.astype(np.float64) * scale))
    before = data.features.astype(np.float32)
    fitted = data.at(0).fitted
    assert fitted is not None
    train = before[data.rows["train"]].astype(np.float64)
    assert torch.equal(fitted["mean"], torch.from_numpy(train.mean(0)).float())
    assert torch.equal(fitted["std"], torch.from_numpy(train.std(0)).float())
    expected = (torch.from_numpy(before) - fitted["mean"]) / fitted["std"]
    assert np.array_equal(standardised(data), expected.numpy())
    assert data.at(0).offset == 0
    if scale == 1:
        assert data.features.dtype == np.float32
        assert generate_bonus().fingerprint == "b3116337a53bec77"


@pytest.mark.parametrize(
    ("column", "enough"),
    [
        (np.arange(1990, 2020.0), True),
        (np.linspace(0, 1, 30), True),
        (np.full(30, 0.1), True),
        (np.where(np.arange(30) % 9, 0.0, 1e9 + 1), True),
        (10.0 ** np.arange(-8, 22), True),
        (1e8 + np.arange(30.0), False),
        (1e-9 * np.arange(30.0) + 1, False),
        (1e-42 * np.arange(30.0), False),
    ],
    ids=["years", "shares", "constant", "flag", "magnitudes", "ids", "physics", "denormal"],
)
def test_which_columns_32_bits_are_enough_for(column: NDArray[np.float64], enough: bool) -> None:
    assert short_floats_suffice(column[:, None]) is enough


def test_a_target_far_from_zero_is_learned_from_its_middle() -> None:
    rows = np.arange(30)
    assert offset_of(1e9 + np.arange(30.0), rows) == pytest.approx(1e9, abs=40)
    assert offset_of(1e9 + np.arange(30.0), rows[:10]) == 1e9 + 4.5
    for usual in (np.arange(30.0), 1e6 + 1e3 * np.arange(30.0), np.where(rows % 9, 0.0, 1e9), np.full(30, 0.0)):
        assert offset_of(usual, rows) == 0


@pytest.mark.parametrize("target", [0.0, 1e9])
def test_training_evaluation_and_prediction_keep_the_digits(tmp_path: Path, target: float) -> None:
    rows = timestamps(target=target)
    data = open_data(table_of(rows, tmp_path / "t.csv"), BONUS)
    config = BONUS.recipe | {"learning_rate": 0.2}
    result = fit(BONUS, config, data.at(0), epochs=12, checkpoint_to=tmp_path / "c")
    assert result.value == pytest.approx(1, abs=1e-6)
    checkpoint = load_checkpoint(tmp_path / "c")
    again = evaluate(checkpoint, data.at(0).valid, torch.device("cpu"))
    assert again.score == result.estimate
    predictions = [answer.value for answer in predict(checkpoint, [tmp_path / "t.csv"], torch.device("cpu"))]
    np.testing.assert_allclose(predictions, rows[:, 3], atol=1, rtol=0)
    # Another table, which needs fewer digits, is answered by the same arithmetic.
    wide = np.concatenate([rows, rows * [2, 1, 1, 1]])
    predictions = [
        answer.value for answer in predict(checkpoint, [table_of(wide, tmp_path / "w.csv")], torch.device("cpu"))
    ]
    np.testing.assert_allclose(predictions[:120], rows[:, 3], atol=1, rtol=0)


def test_cells_that_will_be_asked_about_keep_their_digits(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1700000001,0.5\n1700000002,0.1\n")
    assert read_features(tmp_path / "t.csv", ("a", "b")).tolist() == [[1700000001, 0.5], [1700000002, 0.1]]


def test_what_64_bits_do_not_hold_is_said(tmp_path: Path) -> None:
    ids = [f"{12345678901234567890 + n},{n % 3},7,{n}" for n in range(20)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(COLUMNS), *ids]) + "\n")
    summary = read_table(tmp_path / "t.csv", COLUMNS, numeric=True).summary()
    assert "20 values of performance differ only beyond the digits" in summary
    assert "the same in all rows: performance, projects_completed" in summary
    assert "\n" not in summary


def test_a_target_that_is_the_same_in_all_validation_rows_is_refused_when_data_is_opened(tmp_path: Path) -> None:
    rows = timestamps()
    rows[:, 3] = 50
    rows[3, 3] = 1
    file = table_of(rows, tmp_path / "t.csv")
    with pytest.raises(InputError, match="bonus is 50 in all 24 validation rows, so R2 is not defined"):
        open_data(file, BONUS)
    open_data(file, replace(BONUS, metric="rmse", direction="minimize", target=None))
