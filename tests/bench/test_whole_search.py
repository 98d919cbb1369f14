"""Whole searches against an expert's loop: which runs are made, and what the page says of them."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench.whole_search import EXPERT, PLAIN, RUNGS, Job, Result, Trial, main, measure, page, search
from search_spaces import InputError
from search_spaces.transfer import frozen_recipe

from ..pomona.photos import tiny_photos

CONFIG = frozen_recipe("mobilenet_v2", 128)
NUMBERS = {"trials": 2, "epochs": 1, "side": 64}
SETTINGS = NUMBERS | {"photos": "f00d", "machine": "a machine"}
MACHINE = {"device": "a machine", "python": "3", "versions": {}, "commit": "abc"}


def options(tmp_path: Path, **changes: Any) -> argparse.Namespace:
    data = tmp_path / "photos"
    if not data.is_dir():
        tiny_photos(data)
    given = {"methods": [EXPERT, PLAIN, RUNGS], "seeds": [0, 1], "data": data, "weights_dir": tmp_path}
    return argparse.Namespace(**(given | {"out": tmp_path / "out"} | NUMBERS | changes))


def result(method: str, seed: int = 0, seconds: float = 10.0, value: float | None = 0.9) -> Result:
    return Result(method, seed, SETTINGS, seconds, (Trial(CONFIG, value, False),) * 2, MACHINE)


def test_methods_take_turns_the_expert_gets_what_plain_proposed_and_nothing_is_run_twice(tmp_path: Path) -> None:
    jobs: list[Job] = []

    def run(job: Job, settings: dict[str, Any]) -> Result:
        jobs.append(job)
        return dataclasses.replace(result(job.method, job.seed), settings=settings)

    made = measure(options(tmp_path), lambda line: None, run)
    assert [(job.method, job.seed) for job in jobs] == [
        *((PLAIN, 0), (RUNGS, 0), (EXPERT, 0)),
        *((RUNGS, 1), (PLAIN, 1), (EXPERT, 1)),
    ]
    assert [job.configs for job in jobs if job.method == EXPERT] == [(CONFIG, CONFIG)] * 2
    assert measure(options(tmp_path), lambda line: None, run) == made
    assert len(jobs) == 6
    with pytest.raises(InputError, match="other settings"):
        measure(options(tmp_path, trials=3), lambda line: None, run)
    tiny_photos(tmp_path / "other", train=6)
    with pytest.raises(InputError, match="other settings"):
        measure(options(tmp_path, data=tmp_path / "other"), lambda line: None, run)


def test_an_expert_alone_has_nothing_to_train(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="measure that too"):
        measure(options(tmp_path, methods=[EXPERT]), lambda line: None, lambda job, settings: result(job.method))


def test_the_page_compares_seed_by_seed() -> None:
    results = [result(EXPERT, seconds=300.0, value=0.95), result(RUNGS, seconds=10.0, value=0.97)]
    text = page(results, "python -m bench.whole_search")
    assert "- ours, --strategy rungs: 30.0 x the expert's trials an hour; its best value is +2.00 points" in text


def test_trials_that_did_not_end_do_not_count() -> None:
    half = dataclasses.replace(result(RUNGS), trials=(Trial(CONFIG, 0.9, False), Trial(CONFIG, None, False)))
    assert half.per_hour == result(RUNGS).per_hour / 2
    assert result(RUNGS, value=None).best is None
    assert "plain" in page([result(EXPERT, value=None), result(PLAIN)], "python -m bench.whole_search")
    assert "plain" in page([result(PLAIN, value=None)], "python -m bench.whole_search")


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", tmp_path, "--weights-dir", tmp_path, "--methods", "grid", "--out", tmp_path]
    assert main([str(one) for one in given]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_a_search_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch

    from training.models.backbones import source_model

    monkeypatch.setenv("POMONA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POMONA_PORTFOLIO", "off")
    safetensors.torch.save_file(source_model("mobilenet_v2").state_dict(), tmp_path / "mobilenet_v2.safetensors")
    seconds, trials = search(Job(PLAIN, 0, 2, 1, 96, tiny_photos(tmp_path / "photos"), tmp_path))
    assert seconds > 0
    assert len(trials) == 2
    assert all(trial.config["backbone"] == "mobilenet_v2" for trial in trials)
