"""The store computes each row once, whatever is damaged, killed, full or at work at the same time."""

from __future__ import annotations

import errno
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from search_spaces import InputError
from training.frozen.store import BlockKey, PrefixStore
from training.frozen.store.blocks import KEY_FILE

from .prefix_rows import BLOCK, LARGE, Model, names, nothing_to_compute

ROOT = Path(__file__).resolve().parents[3]


def segment_files(folder: Path, block: BlockKey = BLOCK) -> list[Path]:
    return sorted((folder / block.digest).glob("*.safetensors"))


# --- what is damaged or left behind


@given(st.data())
def test_a_damaged_segment_is_computed_again(data: st.DataObject) -> None:
    model, images = Model(), names(6)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for part in (images[:3], images[3:]):
            model.ask(PrefixStore(folder, disk_limit=LARGE), BLOCK, part)
        harmed, whole = segment_files(folder)
        content = bytearray(harmed.read_bytes())
        how = data.draw(st.sampled_from(["cut off", "longer", "flipped"]))
        if how == "cut off":
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        elif how == "longer":
            content += b"x"
        else:
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        harmed.write_bytes(content)
        before = whole.stat()

        kept = PrefixStore(folder, disk_limit=LARGE)
        assert torch.equal(model.ask(kept, BLOCK, images), model.rows(BLOCK, images))
        again = sum(model.computed.values()) == 9
        # A bit of the padding changes nothing.
        assert again or how == "flipped"
        assert len(segment_files(folder)) == 2
        assert whole.stat().st_ino == before.st_ino
        PrefixStore(folder, disk_limit=LARGE).rows(BLOCK, images, nothing_to_compute)


def test_what_a_killed_writer_left_is_swept_away(tmp_path: Path) -> None:
    kept, model = PrefixStore(tmp_path, disk_limit=LARGE), Model()
    model.ask(kept, BLOCK, names(2))
    leftover = tmp_path / BLOCK.digest / f".2-{24 * 'a'}.safetensors.x1y2_abc"
    foreign = [tmp_path / BLOCK.digest / name for name in ("notes.txt", ".hidden", "mine.safetensors")]
    for file in (leftover, *foreign):
        file.write_bytes(b"half")
    model.ask(kept, BLOCK, names(3))
    assert not leftover.exists()
    assert all(file.exists() for file in foreign)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"backbone": "vgg16"}'])
def test_a_key_that_cannot_be_read_spoils_no_rows(tmp_path: Path, content: str) -> None:
    model, images = Model(), names(2)
    model.ask(PrefixStore(tmp_path, disk_limit=LARGE), BLOCK, images)
    (tmp_path / BLOCK.digest / KEY_FILE).write_text(content)
    kept = PrefixStore(tmp_path, disk_limit=LARGE)
    kept.rows(BLOCK, images, nothing_to_compute)
    assert [(use.key, use.rows) for use in kept.usage()] == [(None, 2)]


# --- several at once


def test_threads_compute_once_and_share(tmp_path: Path) -> None:
    kept, model, images = PrefixStore(tmp_path, disk_limit=LARGE), Model(), names(6)
    together = threading.Barrier(4)
    got: list[Tensor] = []

    def ask() -> None:
        together.wait()
        got.append(model.ask(kept, BLOCK, images))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(model.computed.values()) == {1}
    assert len({id(rows) for rows in got}) == 1


OTHER_PROCESS = """
import sys
from pathlib import Path
from tests.training.frozen.prefix_rows import BLOCK, LARGE, Model, names
from training.frozen.store import PrefixStore

def compute(images):
    def slowly(positions):
        print("computing", flush=True)
        sys.stdin.readline()
        return Model().compute(BLOCK, images)(positions)
    return slowly

kept = PrefixStore(Path(sys.argv[1]), disk_limit=LARGE)
for images in (names(4), names(6)):
    kept.rows(BLOCK, images, compute(images))
"""


def test_processes_compute_once_and_a_killed_one_holds_nobody_up(tmp_path: Path) -> None:
    model, images = Model(), names(6)
    kept = PrefixStore(tmp_path, disk_limit=LARGE)
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(tmp_path)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "computing\n"
        waiting = threading.Thread(target=kept.rows, args=(BLOCK, images[:4], nothing_to_compute))
        waiting.start()
        other.stdin.write("\n")
        other.stdin.flush()
        # The other is now in the midst of two more, with the lock in its hands or soon again.
        assert other.stdout.readline() == "computing\n"
        other.kill()
        waiting.join()
    assert torch.equal(model.ask(kept, BLOCK, images), model.rows(BLOCK, images))
    assert model.computed == Counter({(BLOCK.digest, image): 1 for image in images[4:]})


# --- a disk that does not take it


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("safetensors.torch.save_file", full)
    kept, model = PrefixStore(tmp_path, disk_limit=LARGE), Model()
    with caplog.at_level(logging.WARNING, "pomona"):
        for images in (names(3), names(5), names(5, "b")):
            assert torch.equal(model.ask(kept, BLOCK, images), model.rows(BLOCK, images))
    assert set(model.computed.values()) == {1}
    assert len(caplog.records) == 1
    assert "no room" in caplog.text
    assert segment_files(tmp_path) == []


def test_a_folder_that_cannot_be_written_ends_no_search(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # A file in its place, as the rights of a folder do not bind root.
    (tmp_path / "file").touch()
    kept, model = PrefixStore(tmp_path / "file" / "prefixes", disk_limit=LARGE), Model()
    with caplog.at_level(logging.WARNING, "pomona"):
        for images in (names(3), names(5)):
            assert torch.equal(model.ask(kept, BLOCK, images), model.rows(BLOCK, images))
    assert len(caplog.records) == 1
    assert kept.usage() == []


def test_a_failure_of_the_stages_is_nobody_elses(tmp_path: Path) -> None:
    kept = PrefixStore(tmp_path, disk_limit=LARGE)

    def fails(_: Sequence[int]) -> Tensor:
        raise InputError("no such photo")

    with pytest.raises(InputError, match="no such photo"):
        kept.rows(BLOCK, names(3), fails)
    assert torch.equal(Model().ask(kept, BLOCK, names(3)), Model().rows(BLOCK, names(3)))
