from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.machine.threads import in_threads


@given(st.lists(st.integers(), max_size=30), st.integers(1, 4))
def test_results_come_in_the_items_order(items: list[int], workers: int) -> None:
    assert in_threads(lambda item: 2 * item, items, workers=workers) == [2 * item for item in items]


def test_the_first_failure_is_raised() -> None:
    def work(item: int) -> int:
        if item == 7:
            raise LookupError("item 7")
        return item

    with pytest.raises(LookupError, match="item 7"):
        in_threads(work, range(20), workers=2)


def test_whoever_watches_may_interrupt() -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads(str, range(20), workers=2, progress=interrupt)


def test_warnings_of_pillow_are_kept_from_the_user_and_others_are_not() -> None:
    def warn(module: str) -> None:
        warnings.warn_explicit("odd metadata", UserWarning, "file.py", 1, module=module)

    in_threads(warn, ["PIL.TiffImagePlugin"])
    with pytest.raises(UserWarning, match="odd metadata"):
        in_threads(warn, ["training.data"])
