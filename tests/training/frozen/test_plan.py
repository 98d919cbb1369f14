"""What is kept is a pure plan: its rules, for any sizes, limits and contents of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.frozen.plan import KeepPlan


@st.composite
def plans(draw: st.DrawFn) -> KeepPlan:
    row_bytes = tuple(draw(st.lists(st.integers(1, 1000), min_size=1, max_size=8)))
    return KeepPlan(
        stages=len(row_bytes),
        row_bytes=row_bytes,
        examples=draw(st.integers(1, 50)),
        views=draw(st.integers(0, 3)),
        first=draw(st.integers(1, len(row_bytes))),
        room=draw(st.integers(0, 20_000)),
        possible=draw(st.integers(0, 9)) > 0,
        pretrained=draw(st.booleans()),
    )


# Any rule for which cuts the store has: bits of a number.
stores: st.SearchStrategy[Callable[[int], bool]] = st.integers(0, 2**9 - 1).map(
    lambda bits: lambda cut: bool(bits >> cut & 1)
)


def cuts(plan: KeepPlan) -> range:
    return range(1, plan.stages + 1)


@given(plans())
def test_nothing_is_kept_of_inputs_of_new_views_or_where_nothing_can_be(plan: KeepPlan) -> None:
    assert not plan.kept(0)
    for never in (replace(plan, views=0), replace(plan, possible=False), replace(plan, possible=False, row_bytes=())):
        assert not any(never.kept(cut) for cut in range(plan.stages + 1))
        assert never.base is None
        assert [never.source(cut) for cut in cuts(plan)] == [0] * plan.stages


@given(plans().filter(lambda plan: plan.possible and plan.views > 0))
def test_features_are_always_kept_and_the_rest_where_it_has_room(plan: KeepPlan) -> None:
    for cut in cuts(plan):
        size = plan.row_bytes[cut - 1] * plan.examples * plan.views
        assert plan.bytes_at(cut) == size
        assert plan.kept(cut) == (cut == plan.stages or size <= plan.room)


@given(plans(), st.integers(0, 20_000), st.integers(0, 50))
def test_more_room_or_fewer_examples_never_keep_less(plan: KeepPlan, room: int, fewer: int) -> None:
    for easier in (
        replace(plan, room=plan.room + room),
        replace(plan, examples=max(plan.examples - fewer, 0)),
        replace(plan, views=min(plan.views, 1)),
    ):
        assert all(easier.kept(cut) for cut in cuts(plan) if plan.kept(cut))


@given(plans(), stores)
def test_an_output_is_computed_from_the_deepest_one_that_is_there(
    plan: KeepPlan, stored: Callable[[int], bool]
) -> None:
    for cut in cuts(plan):
        source = plan.source(cut, stored)
        there = (lambda below: stored(below) or below == plan.base) if plan.kept(cut) else plan.kept
        assert 0 <= source < cut
        assert source == 0 or there(source)
        assert not any(there(below) for below in range(source + 1, cut))


@given(plans(), stores)
def test_a_batch_reads_what_is_kept_whatever_the_store_has(plan: KeepPlan, stored: Callable[[int], bool]) -> None:
    for cut in cuts(plan):
        if not plan.kept(cut):
            assert plan.source(cut, stored) == plan.source(cut)


@given(plans())
def test_all_that_is_deeper_in_a_search_comes_from_one_base(plan: KeepPlan) -> None:
    base = plan.base
    if base is None:
        assert not any(plan.kept(cut) for cut in range(plan.first, plan.stages))
        return
    assert plan.first <= base < plan.stages
    assert plan.kept(base)
    assert plan.source(base) == 0
    assert all(plan.source(cut) == base for cut in cuts(plan) if cut > base and plan.kept(cut))


@given(plans(), stores)
def test_what_is_written_is_pretrained_and_cannot_be_had_from_another_output(
    plan: KeepPlan, stored: Callable[[int], bool]
) -> None:
    for cut in cuts(plan):
        source = plan.source(cut, stored)
        written = plan.on_disk(cut, source)
        assert written == (plan.kept(cut) and plan.pretrained and (source == 0 or cut == plan.base))


# Four stages, 100 examples in two views, room for a megabyte a cut.
EXAMPLE = KeepPlan(4, (20_000, 8_000, 4_000, 9_000), 100, 2, 2, 1_000_000, possible=True, pretrained=True)


@pytest.mark.parametrize(
    ("plan", "kept", "base"),
    [
        (EXAMPLE, [3, 4], 3),
        (replace(EXAMPLE, views=3), [4], None),
        (replace(EXAMPLE, views=1), [2, 3, 4], 2),
        (replace(EXAMPLE, views=1, first=3), [2, 3, 4], 3),
        (replace(EXAMPLE, room=0), [4], None),
        (replace(EXAMPLE, views=0), [], None),
    ],
)
def test_examples(plan: KeepPlan, kept: list[int], base: int | None) -> None:
    assert [cut for cut in cuts(plan) if plan.kept(cut)] == kept
    assert plan.base == base
