"""What a store keeps of a block whose computing was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.frozen.store import BlockKey, PrefixStore, store

from .prefix_rows import BLOCK, LARGE, Model, names, nothing_to_compute

IMAGES = names(10)
MODEL = Model()


class Stopped(BaseException):
    pass


def in_pieces(
    images: Sequence[str], asked: list[list[int]], pieces: int | None = None
) -> Callable[[Sequence[int]], Iterator[Tensor]]:
    """Computes three rows at a time, and stops before the piece number `pieces`."""

    def compute(positions: Sequence[int]) -> Iterator[Tensor]:
        asked.append(list(positions))
        for number, start in enumerate(range(0, len(positions), 3)):
            if number == pieces:
                raise Stopped
            yield MODEL.rows(BLOCK, [images[p] for p in positions[start : start + 3]])

    return compute


def new(folder: Path, disk_limit: int = LARGE) -> PrefixStore:
    return PrefixStore(folder, disk_limit=disk_limit, memory_limit=LARGE)


def segments(folder: Path, block: BlockKey = BLOCK) -> list[str]:
    return sorted(path.name.split("-")[0] for path in (folder / block.digest).glob("*.safetensors"))


@pytest.mark.parametrize("portion_seconds", [0.0, 1e9])
@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_what_came_before_a_stop_is_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int, portion_seconds: float
) -> None:
    monkeypatch.setattr(store, "PORTION_SECONDS", portion_seconds)
    asked: list[list[int]] = []
    with pytest.raises(Stopped):
        new(tmp_path).rows(BLOCK, IMAGES, in_pieces(IMAGES, asked, pieces))
    rows = new(tmp_path).rows(BLOCK, IMAGES, in_pieces(IMAGES, asked))
    assert torch.equal(rows, MODEL.rows(BLOCK, IMAGES))
    assert asked == [list(range(10)), list(range(3 * pieces, 10))]
    assert torch.equal(new(tmp_path).rows(BLOCK, IMAGES, nothing_to_compute), rows)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_pieces_are_the_rows_in_their_order(sizes: list[int]) -> None:
    images = names(sum(sizes))
    whole = MODEL.rows(BLOCK, images)
    kept = PrefixStore(Path("unused"), disk_limit=0, memory_limit=LARGE)
    assert torch.equal(kept.rows(BLOCK, images, lambda _positions: torch.split(whole, sizes)), whole)


def test_portions_become_one_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PORTION_SECONDS", 0.0)
    on_disk: list[list[str]] = []

    def compute(positions: Sequence[int]) -> Iterator[Tensor]:
        for piece in in_pieces(IMAGES, [])(positions):
            on_disk.append(segments(tmp_path))
            yield piece

    new(tmp_path).rows(BLOCK, IMAGES, compute)
    assert on_disk == [[], ["3"], ["3", "3"], ["3", "3", "3"]]
    assert segments(tmp_path) == ["10"]


def test_portions_stay_where_there_is_no_room_for_the_rows_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PORTION_SECONDS", 0.0)
    model = Model(torch.float32, (4096,))
    whole = model.rows(BLOCK, IMAGES)

    def compute(_positions: Sequence[int]) -> Sequence[Tensor]:
        return torch.split(whole, 3)

    assert torch.equal(new(tmp_path, disk_limit=int(1.5 * whole.nbytes)).rows(BLOCK, IMAGES, compute), whole)
    assert segments(tmp_path) == ["1", "3", "3", "3"]
    assert torch.equal(new(tmp_path).rows(BLOCK, IMAGES, nothing_to_compute), whole)


def test_whoever_waits_for_another_process_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.machine import threads
    from training.machine.threads import only_one_process

    monkeypatch.setattr(threads, "_LOOKS_UP_SECONDS", 0.01)

    def stop() -> None:
        raise Stopped

    with only_one_process(tmp_path / BLOCK.digest), pytest.raises(Stopped):
        new(tmp_path).rows(BLOCK, IMAGES, nothing_to_compute, check_stop=stop)
