"""No flipped bit in a file of ours gives other values without a word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import bit_flips
from training.data import contents
from training.data.drawn import rendered
from training.models import numerics

FLIPS = 2


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the speed of the machine nor what fruit looks like matters here."""
    monkeypatch.setattr(contents, "SETTLED_NS", -1)
    monkeypatch.setattr(numerics, "_steps", lambda candidates, device: {one: lambda: None for one in candidates})
    monkeypatch.setattr(bit_flips, "_MEGABYTES", 1)

    def picture(seed: int, split: str, label: str, number: int) -> object:
        return np.random.default_rng([len(split), len(label), number]).integers(0, 255, (8, 8, 3), np.uint8)

    monkeypatch.setattr(rendered, "picture_of", picture)


def test_no_flip_makes_a_silent_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bit_flips.main(["--flips", str(FLIPS), "--rounds", "1", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "bit_flips.json").read_text())
    assert len(told["flips"]) == 13
    for name, outcomes in told["flips"].items():
        assert sum(outcomes.values()) == FLIPS, name
        assert outcomes["silent difference"] == 0, name
        # What is checked is found: of a file without a digest, flips would all be harmless.
        unread = name in ("prefix block, key", "checkpoint, record for people")
        assert unread or outcomes["harmless"] < FLIPS, name
    assert (tmp_path / "bit_flips.md").read_text() == capsys.readouterr().out
    assert all(len(times) == 1 for times in told["milliseconds_per_megabyte"].values())


def test_a_silent_difference_is_counted_and_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plain"
    file.write_bytes(b"no digest here")
    unchecked = bit_flips.Kind("plain", file, file.read_bytes)
    monkeypatch.setattr(bit_flips, "kinds", lambda folder: [unchecked])
    assert bit_flips.main(["--flips", "3", "--rounds", "1"]) == 1
    assert file.read_bytes() == b"no digest here"
