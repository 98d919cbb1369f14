"""The store against a dictionary: equal rows, each computed once, whatever is interrupted, damaged, full or at work."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from search_spaces import InputError
from training.prefix_store import BlockKey, PrefixStore, segments, store
from training.prefix_store.blocks import KEY_FILE
from training.prefix_store.limits import bytes_of, disk_limit, memory_limit

BLOCK = BlockKey("squeezenet1_1", "0123abcd", 96, 1, 0, 7, "bf16, channels_last")
LARGE = 2**30
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.uint8]
ROOT = Path(__file__).resolve().parents[2]


def row_of(block: BlockKey, image: str, dtype: torch.dtype = torch.bfloat16, shape: Sequence[int] = (3, 2)) -> Tensor:
    """Any bits but those of NaN, decided by the key and the image."""
    generator = torch.Generator().manual_seed(int(block.digest, 16) % 2**31 + sum(image.encode()))
    values = torch.randn(tuple(shape), generator=generator) * 50
    return values.abs().to(dtype) if dtype == torch.uint8 else values.to(dtype)


@dataclass
class Model:
    """Computes rows as frozen stages would, and counts."""

    dtype: torch.dtype = torch.bfloat16
    shape: Sequence[int] = (3, 2)
    computed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def ask(self, kept: PrefixStore, block: BlockKey, images: Sequence[str]) -> Tensor:
        return kept.rows(block, images, self.compute(block, images))

    def compute(self, block: BlockKey, images: Sequence[str]) -> Callable[[Sequence[int]], Tensor]:
        def compute(positions: Sequence[int]) -> Tensor:
            self.computed.update((block.digest, images[position]) for position in positions)
            return self.rows(block, [images[position] for position in positions])

        return compute

    def rows(self, block: BlockKey, images: Sequence[str]) -> Tensor:
        return torch.stack([row_of(block, image, self.dtype, self.shape) for image in images])


def names(count: int, first: str = "a") -> tuple[str, ...]:
    return tuple(f"{first}{number:03}" for number in range(count))


def segment_files(folder: Path, block: BlockKey = BLOCK) -> list[Path]:
    return sorted((folder / block.digest).glob("*.safetensors"))


def nothing_to_compute(positions: Sequence[int]) -> Tensor:
    raise AssertionError(f"computed again: {positions}")


# --- the contract


@st.composite
def requests(draw: st.DrawFn) -> list[tuple[BlockKey, tuple[str, ...], bool]]:
    """(block, images, whether another process asks)."""
    block = st.sampled_from([BLOCK, replace(BLOCK, view=1), replace(BLOCK, cut=8)])
    images = st.lists(st.sampled_from(names(8)), min_size=1, max_size=10).map(tuple)
    return draw(st.lists(st.tuples(block, images, st.booleans()), min_size=1, max_size=8))


@given(requests(), st.sampled_from([0, 40, LARGE]), st.sampled_from(DTYPES), st.sampled_from([(), (5,), (2, 3, 1)]))
def test_it_is_a_dictionary_that_computes_once(
    asked: list[tuple[BlockKey, tuple[str, ...], bool]], memory: int, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    model = Model(dtype, shape)
    with TemporaryDirectory() as folder:
        kept = PrefixStore(Path(folder), disk_limit=LARGE, memory_limit=memory)
        seen: set[tuple[str, str]] = set()
        for block, images, afresh in asked:
            if afresh:
                kept = PrefixStore(Path(folder), disk_limit=LARGE, memory_limit=memory)
            wanted = {(block.digest, image) for image in images}
            assert kept.has(block, images) == (wanted <= seen)
            seen |= wanted
            got = model.ask(kept, block, images)
            assert got.dtype == dtype
            assert got.is_contiguous()
            assert torch.equal(got, model.rows(block, images))
            assert kept.has(block, images)
        assert model.computed == Counter(dict.fromkeys(seen, 1))
        assert {(use.key, use.rows) for use in kept.usage()} == {
            (block, sum(digest == block.digest for digest, _ in seen)) for block, *_ in asked
        }


@given(requests())
def test_memory_alone_computes_once_as_well(asked: list[tuple[BlockKey, tuple[str, ...], bool]]) -> None:
    model = Model()
    with TemporaryDirectory() as folder:
        kept = PrefixStore(Path(folder) / "prefixes", disk_limit=0, memory_limit=LARGE)
        for block, images, _ in asked:
            assert torch.equal(model.ask(kept, block, images), model.rows(block, images))
        assert set(model.computed.values()) == {1}
        assert not any(Path(folder).iterdir())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_bit_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    bits = torch.arange(256, dtype=torch.uint8)
    wide = dtype.itemsize
    every = torch.stack([bits.roll(shift) for shift in range(wide)], -1) if wide > 1 else bits[:, None]
    rows = every.contiguous().view(dtype)  # not-a-numbers and subnormals among them
    PrefixStore(tmp_path, disk_limit=LARGE).rows(BLOCK, names(256), lambda _: rows)
    back = PrefixStore(tmp_path, disk_limit=LARGE).rows(BLOCK, names(256)[::-1], nothing_to_compute)
    assert back.dtype == dtype
    assert torch.equal(back.flip(0).view(torch.uint8), rows.view(torch.uint8))


def test_a_request_again_is_the_same_tensor_and_asks_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, model, images = PrefixStore(tmp_path, disk_limit=LARGE), Model(), names(5)
    first = model.ask(kept, BLOCK, images)
    monkeypatch.setattr(os, "stat", nothing_to_compute)
    monkeypatch.setattr(store, "read_segment", nothing_to_compute)
    monkeypatch.setattr(json, "dumps", nothing_to_compute)
    assert model.ask(kept, BLOCK, images) is first


def test_equal_lists_are_one(tmp_path: Path) -> None:
    kept, model, images = PrefixStore(tmp_path, disk_limit=LARGE), Model(), names(5)
    first = model.ask(kept, BLOCK, images)
    assert model.ask(kept, BLOCK, list(images)) is first
    assert model.ask(kept, BLOCK, tuple(list(images))) is first
    changing = list(images)
    changing.reverse()
    assert torch.equal(model.ask(kept, BLOCK, changing), first.flip(0))


def test_a_list_gathered_in_small_parts_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_CHUNK_BYTES", 30)
    model, images = Model(), names(9)
    kept = PrefixStore(tmp_path, disk_limit=LARGE, memory_limit=0)
    model.ask(kept, BLOCK, images[:4])
    model.ask(kept, BLOCK, images[4:])
    assert torch.equal(model.ask(kept, BLOCK, images[::-1]), model.rows(BLOCK, images[::-1]))


def test_what_is_written_to_the_rows_of_one_process_reaches_no_other(tmp_path: Path) -> None:
    model, images = Model(), names(3)
    model.ask(PrefixStore(tmp_path, disk_limit=LARGE), BLOCK, images).zero_()
    assert torch.equal(model.ask(PrefixStore(tmp_path, disk_limit=LARGE), BLOCK, images), model.rows(BLOCK, images))


@pytest.mark.parametrize("disk", [0, LARGE])
def test_training_may_use_what_inference_mode_computed(tmp_path: Path, disk: int) -> None:
    model, images = Model(torch.float32), names(3)
    kept = PrefixStore(tmp_path, disk_limit=disk)
    with torch.inference_mode():
        model.ask(kept, BLOCK, images)
        model.ask(kept, BLOCK, images[:2])
    weight = torch.ones(2, requires_grad=True)
    for asked in (images, images[:2], images[::-1]):
        torch.autograd.backward((model.ask(kept, BLOCK, asked) @ weight).sum())


def test_a_block_may_be_computed_from_another(tmp_path: Path) -> None:
    kept, model, images = PrefixStore(tmp_path, disk_limit=LARGE), Model(), names(4)
    shallow = replace(BLOCK, cut=3)

    def deeper(positions: Sequence[int]) -> Tensor:
        return model.ask(kept, shallow, [images[position] for position in positions]) * 2

    assert torch.equal(kept.rows(BLOCK, images, deeper), model.rows(shallow, images) * 2)
    assert {use.key for use in kept.usage()} == {BLOCK, shallow}


def test_no_images(tmp_path: Path) -> None:
    kept = PrefixStore(tmp_path, disk_limit=LARGE)
    assert kept.rows(BLOCK, (), lambda _: torch.zeros(0, 3)).shape == (0, 3)
    assert kept.has(BLOCK, ())


@pytest.mark.parametrize(
    "given_rows", [torch.zeros(2, 4), torch.zeros(4, 4), torch.zeros(3, 5), torch.zeros(3, 4).half()]
)
def test_rows_that_do_not_belong_are_refused(tmp_path: Path, given_rows: Tensor) -> None:
    kept = PrefixStore(tmp_path, disk_limit=LARGE)
    kept.rows(BLOCK, names(2), lambda _: torch.zeros(2, 4))
    with pytest.raises(ValueError, match="rows"):
        kept.rows(BLOCK, names(5), lambda _: given_rows)


@pytest.mark.parametrize("field_name", BlockKey.__dataclass_fields__)
def test_every_field_of_a_key_counts(field_name: str) -> None:
    fields = asdict(BLOCK)
    value = fields[field_name]
    other = BlockKey(**fields | {field_name: value + 1 if isinstance(value, int) else f"{value}1"})
    assert len(BLOCK.digest) == 24
    assert BLOCK.digest == replace(BLOCK).digest != other.digest


# --- what is damaged or left behind


def header_bytes(file: Path) -> list[int]:
    """Where a bit decides more than the value of a row."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    begin, end = json.loads(data[8:start])["rows"]["data_offsets"]
    return [*range(start + begin), *range(start + end, len(data))]


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
            content[data.draw(st.sampled_from(header_bytes(harmed)))] ^= 1 << data.draw(st.integers(0, 7))
        harmed.write_bytes(content)
        before = whole.stat()

        kept = PrefixStore(folder, disk_limit=LARGE)
        again = not kept.has(BLOCK, images)
        # A bit of the padding changes nothing.
        assert again or how == "flipped"
        assert torch.equal(model.ask(kept, BLOCK, images), model.rows(BLOCK, images))
        assert sum(model.computed.values()) == (9 if again else 6)
        assert len(segment_files(folder)) == 2
        assert whole.stat().st_ino == before.st_ino
        PrefixStore(folder, disk_limit=LARGE).rows(BLOCK, images, nothing_to_compute)


def test_what_a_killed_writer_left_is_swept_away(tmp_path: Path) -> None:
    kept, model = PrefixStore(tmp_path, disk_limit=LARGE), Model()
    model.ask(kept, BLOCK, names(2))
    leftover = tmp_path / BLOCK.digest / ".2-abc.safetensors.x1y2"
    leftover.write_bytes(b"half")
    model.ask(kept, BLOCK, names(3))
    assert not leftover.exists()


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
from tests.training.test_prefix_store import BLOCK, LARGE, Model, names
from training.prefix_store import PrefixStore

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


# --- a disk that does not take it


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(segments, "save_file", full)
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
