"""How long a run may take that may use so many hours of GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pomona
from search_spaces import InputError
from studies.placement import Placement
from studies.plan import Budget

SECONDS = st.floats(1e-3, 1e6)
COUNTS = st.integers(1, 16)


@given(COUNTS, COUNTS, SECONDS)
def test_all_gpus_together_take_no_more_hours_than_allowed(workers: int, share: int, hours: float) -> None:
    seconds = Placement(workers, share).time_within(Budget(None, 3, None, hours), "cuda")
    assert seconds is not None
    gpus = len({worker // share for worker in range(workers)})
    assert seconds * gpus == pytest.approx(hours * 3600)


@given(COUNTS, SECONDS, SECONDS)
def test_the_shorter_limit_counts(workers: int, timeout: float, hours: float) -> None:
    placement = Placement(workers)
    alone = placement.time_within(Budget(None, 3, None, hours), "cuda")
    assert alone is not None
    assert placement.time_within(Budget(9, 3, timeout, hours), "cuda") == min(timeout, alone)
    assert {placement.time_within(Budget(9, 3, timeout), device) for device in ("cpu", "cuda")} == {timeout}


@pytest.mark.parametrize("hours", [0.0, -1.0])
def test_no_hours_are_none_to_search_in(hours: float) -> None:
    with pytest.raises(InputError, match="--max-gpu-hours must be more than nothing"):
        Placement().time_within(Budget(None, 3, None, hours), "cuda")


def test_on_a_cpu_there_are_no_hours_of_gpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^hours of GPUs need a GPU: .* use --timeout and no --max-gpu-hours$"):
        pomona.search("bonus", storage=f"{tmp_path}/j.log", max_gpu_hours=1.0, device="cpu")
