from __future__ import annotations

import pytest
import torch

from training.data.splits import Split


def test_take_gives_rows_of_the_pool_and_their_labels() -> None:
    pool = torch.arange(5 * 2 * 2 * 3, dtype=torch.uint8).reshape(5, 2, 2, 3)
    split = Split(pool, torch.tensor([4, 0, 2]), torch.tensor([1, 0, 1]), (), ("e", "a", "c"))
    inputs, labels = split.take(torch.tensor([2, 0]))
    assert torch.equal(inputs, pool[[2, 4]])
    assert labels.tolist() == [1, 1]
    assert len(split) == 3


def test_a_split_does_not_copy_its_pool_but_what_is_taken_is_the_takers() -> None:
    pool = torch.zeros(3, 1, 1, 3, dtype=torch.uint8)
    split = Split(pool, torch.tensor([0, 1]), torch.tensor([0, 1]), (), ("a", "b"))
    assert split.inputs.data_ptr() == pool.data_ptr()
    split.take(torch.tensor([0, 1]))[0].fill_(7)
    assert pool.sum() == 0


@pytest.mark.parametrize(
    ("labels", "groups", "names"),
    [([0], (), ("a", "b")), ([0, 1], ("g",), ("a", "b")), ([0, 1], (), ("a",))],
    ids=["labels", "groups", "names"],
)
def test_parts_of_unequal_length_are_refused(
    labels: list[int], groups: tuple[str, ...], names: tuple[str, ...]
) -> None:
    with pytest.raises(AssertionError):
        Split(torch.zeros(2, 1, 1, 3), torch.tensor([0, 1]), torch.tensor(labels), groups, names)
