"""How far a run is, and how long it still takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomona.progress import Done, _left_text

LIMITS = st.none() | st.integers(1, 100)


@given(st.floats(0, 200), st.floats(0, 50), LIMITS, st.floats(0, 1e4), st.none() | st.floats(0.1, 1e4))
def test_a_share_is_one_and_no_time_is_negative(
    trials: float, at_start: float, wanted: int | None, seconds: float, timeout: float | None
) -> None:
    done = Done(trials, min(trials, at_start), wanted, seconds, timeout)
    assert 0 <= done.share <= 1
    left = done.seconds_left
    assert left is None or left >= 0
    if timeout is not None:
        assert left is not None
        assert left <= max(timeout - seconds, 0)


@pytest.mark.parametrize(
    ("done", "share", "left"),
    [
        (Done(3.0, 0.0, 12, 30.0, None), 0.25, 90.0),
        (Done(3.0, 0.0, None, 30.0, 40.0), 0.75, 10.0),
        (Done(3.0, 0.0, 12, 30.0, 40.0), 0.75, 10.0),
        (Done(9.0, 0.0, 12, 30.0, 600.0), 0.75, 10.0),
        # Of what went on, earlier trials took none of the time.
        (Done(8.0, 6.0, 12, 30.0, None), 8 / 12, 60.0),
        (Done(6.0, 6.0, 12, 30.0, None), 0.5, None),
    ],
)
def test_whichever_comes_first(done: Done, share: float, left: float | None) -> None:
    assert done.share == pytest.approx(share)
    assert done.seconds_left == (left if left is None else pytest.approx(left))


def test_a_time_in_words() -> None:
    assert _left_text(None) == ""
    assert _left_text(61.4) == "0:01:01 left"
    assert _left_text(7322) == "2:02:02 left"
