"""Trials that read texts in the same way share what they read, whatever network comes after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from search_spaces import SMS_SPAM, Config
from training import Prefixes, PrefixStore, fit, open_data
from training.frozen.store import BlockKey


class Counting(PrefixStore):
    """A store that counts the texts it did not have."""

    computed = 0

    def rows(
        self,
        block: BlockKey,
        images: Sequence[str],
        compute: Callable[[Sequence[int]], Tensor],
        *,
        to_disk: Callable[[], bool] = lambda: True,
        **others: Any,
    ) -> Tensor:
        def counted(absent: Sequence[int]) -> Tensor:
            self.computed += len(absent)
            return compute(absent)

        return super().rows(block, images, counted, to_disk=to_disk, **others)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"embedding_width": 16}, False),
        ({"embedding_width": 16, "learning_rate": 1e-2, "head_width": 16, "batch_size": 16}, False),
        ({"buckets": 4096}, True),
        ({"ngram_chars": 3}, True),
    ],
)
def test_what_was_read_is_read_again_only_in_another_way(tmp_path: Path, change: Config, again: bool) -> None:
    file = tmp_path / "sms.tsv"
    lines = [f"spam\twin prize {n}" for n in range(10)] + [f"ham\tsee you at {n}" for n in range(20)]
    file.write_text("\n".join(lines))
    splits, store = open_data(file, SMS_SPAM).at(0), Counting(tmp_path / "store")
    prefixes = Prefixes(store=store)
    fit(SMS_SPAM, SMS_SPAM.recipe, splits, epochs=1, prefixes=prefixes)
    assert store.computed == 30
    result = fit(SMS_SPAM, SMS_SPAM.recipe | change, splits, epochs=2, prefixes=prefixes)
    assert store.computed == (60 if again else 30)
    alone = fit(SMS_SPAM, SMS_SPAM.recipe | change, splits, epochs=2)
    assert [epoch.loss for epoch in result.curve] == [epoch.loss for epoch in alone.curve]
