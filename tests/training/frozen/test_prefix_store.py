"""The store against a dictionary: equal rows, each computed once."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.frozen.store import BlockKey, PrefixStore, segments, store

from .prefix_rows import BLOCK, LARGE, Model, names, nothing_to_compute

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.uint8]


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
