from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data.batches import order_of
from training.frozen.streaming import Stream

CPU = torch.device("cpu")


@given(
    rows=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    block_bytes=st.integers(1, 4_000),
    again=st.booleans(),
    placed=st.booleans(),
)
def test_a_stream_gives_what_indexing_gives(
    rows: int, batch_size: int, block_bytes: int, again: bool, placed: bool
) -> None:
    order = order_of(rows, batch_size, seed=0, epoch=1)
    one, other = torch.randn(rows + 5, 3, 2), torch.arange(rows + 5)
    places = torch.randperm(rows + 5)[:rows] if placed else None
    stream = Stream(order, CPU, block_bytes)
    for number, index in enumerate(order):
        where = index if places is None else places[index]
        for source in (one, other, one) if again else (one,):
            assert torch.equal(stream.rows(source, number, places), source[where])


def test_it_copies_blocks_and_not_batches() -> None:
    order = order_of(100, 10, seed=0, epoch=1)
    source = torch.randn(100, 4)
    copied: list[int] = []

    class Counting(Stream):
        def _fetched(self, source: torch.Tensor, first: int, places: torch.Tensor | None):  # type: ignore[no-untyped-def]
            copied.append(first)
            return super()._fetched(source, first, places)

    stream = Counting(order, CPU, block_bytes=40 * 16)
    for number in range(len(order)):
        stream.rows(source, number)
    assert copied == [0, 4, 8]


def test_a_pass_may_begin_anywhere() -> None:
    order = order_of(50, 7, seed=0, epoch=1)
    source = torch.arange(50)
    stream = Stream(order, CPU, block_bytes=100)
    assert torch.equal(stream.rows(source, 4), order[4])
    assert torch.equal(stream.rows(source, 1), order[1])
