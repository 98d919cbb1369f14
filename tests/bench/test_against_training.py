"""The benchmark's figures beside those that a training run reports."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.throughput import command
from bench.throughput.against_training import Compared, compare
from bench.throughput.cases import TRAINING
from bench.throughput.command import main
from bench.throughput.results import Spread

from .throughput_examples import CASE, SETTINGS


@pytest.mark.parametrize("depth", ["0", "2"])
def test_a_training_run_reports_an_epoch_for_each_of_the_benchmarks(depth: str) -> None:
    found = compare(replace(CASE, depth=depth), channels_last=True, settings=SETTINGS)
    # The warm-up of each, and the head's own epoch where stages train after it, do not count.
    assert len(found.benchmark) == len(found.training) == SETTINGS.rounds
    assert all(rate > 0 for rate in (*found.benchmark, *found.training))


def test_ratios_are_of_epochs_in_turn() -> None:
    found = Compared(CASE, "NCHW", (99.0, 50.0, 103.0), (100.0, 50.0, 100.0))
    assert found.ratio == Spread(median=1.0, low=0.99, high=1.03)
    assert "ratio 1.000 (0.990 to 1.030)" in str(found)


def test_the_option_compares_what_trains_and_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def made_up(case: object, channels_last: bool, settings: object) -> Compared:
        asked.append((case, channels_last))
        return Compared(CASE, "NCHW", (1.0,), (2.0,))

    monkeypatch.setattr("bench.throughput.against_training.compare", made_up)
    monkeypatch.setattr(command, "measure", lambda *_: pytest.fail("nothing else is measured"))
    arguments = ["--quick", "--against-training", "--precision", "fp32", "--layouts", "nchw", "--json"]
    assert main(arguments) == 0
    assert [(case.mode, layout) for case, layout in asked] == [(TRAINING, False)] * 2
    assert [one["ratio"]["median"] for one in json.loads(capsys.readouterr().out)["compared"]] == [0.5, 0.5]
    assert main([*arguments, "--loader"]) == 1
    assert "leave --results, --out and --loader out" in capsys.readouterr().err
