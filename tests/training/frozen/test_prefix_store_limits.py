"""The store keeps to its limits on disk and in memory, and where those limits come from."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from search_spaces import InputError
from training.frozen.store import BlockKey, PrefixStore
from training.frozen.store.blocks import KEY_FILE
from training.frozen.store.limits import bytes_of, disk_limit, memory_limit

from .prefix_rows import BLOCK, LARGE, Model, names, nothing_to_compute

# --- limits


def age(folder: Path, block: BlockKey, seconds: float) -> None:
    os.utime(folder / block.digest / KEY_FILE, (seconds, seconds))


def test_the_least_recently_used_block_goes_first(tmp_path: Path) -> None:
    model, images = Model(torch.uint8, (10_000,)), names(3)
    blocks = [replace(BLOCK, cut=cut) for cut in range(4)]
    for number, block in enumerate(blocks[:3]):
        model.ask(PrefixStore(tmp_path, disk_limit=LARGE), block, images)
        age(tmp_path, block, 1_000 + number)
    room = 3 * 32_000
    reader = PrefixStore(tmp_path, disk_limit=room)
    # A read makes the first block the latest.
    mapped = reader.rows(blocks[0], images, nothing_to_compute)
    model.ask(PrefixStore(tmp_path, disk_limit=room), blocks[3], images)
    assert {use.key for use in reader.usage()} == {blocks[0], blocks[2], blocks[3]}
    model.ask(PrefixStore(tmp_path, disk_limit=room // 3), blocks[1], images)
    assert [use.key for use in reader.usage()] == [blocks[1]]
    # Whoever has mapped what is gone keeps it.
    assert torch.equal(mapped, model.rows(blocks[0], images))
    assert sum(use.bytes for use in reader.usage()) <= room // 3


def test_a_block_that_somebody_adds_to_stays(tmp_path: Path) -> None:
    model, images = Model(torch.uint8, (10_000,)), names(3)
    busy, idle, fresh = (replace(BLOCK, cut=cut) for cut in range(3))
    for number, block in enumerate((busy, idle)):
        model.ask(PrefixStore(tmp_path, disk_limit=LARGE), block, images)
        age(tmp_path, block, 1_000 + number)
    kept = PrefixStore(tmp_path, disk_limit=2 * 32_000)
    with FileLock(tmp_path / f"{busy.digest}.lock"):
        model.ask(kept, fresh, images)
        assert {use.key for use in kept.usage()} == {busy, fresh}
        kept.clear()
        assert {use.key for use in kept.usage()} == {busy}
    kept.clear()
    assert kept.usage() == []


def test_a_block_larger_than_the_limit_is_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, images = Model(torch.uint8, (10_000,)), names(6)
    kept = PrefixStore(tmp_path, disk_limit=40_000, memory_limit=0)
    model.ask(kept, BLOCK, images[:3])
    with caplog.at_level(logging.WARNING, "pomona"):
        for _ in range(2):
            assert torch.equal(model.ask(kept, BLOCK, images), model.rows(BLOCK, images))
    assert [use.rows for use in kept.usage()] == [3]
    assert len(caplog.records) == 1
    assert "POMONA_PREFIX_DISK" in caplog.text


def test_memory_keeps_the_latest_within_its_limit(tmp_path: Path) -> None:
    model = Model(torch.uint8, (100,))
    kept = PrefixStore(tmp_path, disk_limit=0, memory_limit=700)
    old, used, large = names(3, "o"), names(3, "u"), names(8, "l")
    first = model.ask(kept, BLOCK, old)
    second = model.ask(kept, BLOCK, used)
    assert model.ask(kept, BLOCK, old) is first
    model.ask(kept, BLOCK, large)  # larger than all the memory: given, not kept
    assert model.ask(kept, BLOCK, old) is first
    model.ask(kept, BLOCK, names(3, "n"))
    assert model.ask(kept, BLOCK, old) is first
    assert not kept.has(BLOCK, used)
    assert model.ask(kept, BLOCK, used) is not second


def test_clear_forgets_everything(tmp_path: Path) -> None:
    kept, model = PrefixStore(tmp_path, disk_limit=LARGE), Model()
    model.ask(kept, BLOCK, names(3))
    taken = sum(use.bytes for use in kept.usage())
    assert kept.clear() == taken > 0
    assert not kept.has(BLOCK, names(3))
    assert kept.clear() == 0
    assert torch.equal(model.ask(kept, BLOCK, names(3)), model.rows(BLOCK, names(3)))


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    kept = PrefixStore(tmp_path, disk_limit=LARGE)
    Model().ask(kept, BLOCK, names(3))
    kept.clear()
    assert (tmp_path / "notes" / "mine.txt").exists()


# --- limits from outside


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("123", 123), ("8G", 2**33), ("1.5 GiB", 3 * 2**29), ("2kb", 2048), ("1T", 2**40)]
)
def test_sizes(text: str, size: int) -> None:
    assert bytes_of(text, "X") == size


@pytest.mark.parametrize("text", ["", "G", "-1", "8 X", "1e9", "lots"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="POMONA_PREFIX_DISK is a size such as 8G"):
        bytes_of(text, "POMONA_PREFIX_DISK")


def test_limits_come_from_the_environment_or_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POMONA_PREFIX_DISK", "POMONA_PREFIX_MEMORY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "not" / "there"
    assert 0 < disk_limit(folder) <= 20 * 2**30
    assert memory_limit() > 0
    monkeypatch.setenv("POMONA_PREFIX_DISK", "8G")
    monkeypatch.setenv("POMONA_PREFIX_MEMORY", "100M")
    kept = PrefixStore(folder)
    assert (kept.disk_limit, kept.memory_limit) == (2**33, 100 * 2**20)
