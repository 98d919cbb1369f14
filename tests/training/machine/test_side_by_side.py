"""Work of several threads comes in the order in which it was given, whatever ends first."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from training.machine.side_by_side import side_by_side

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order(threads: int) -> None:
    assert list(side_by_side(lambda item: item**2, range(20), CPU)) == [item**2 for item in range(20)]
    assert torch.get_num_threads() == threads
    assert list(side_by_side(str, [], CPU)) == []


def test_as_many_threads_work_at_once_as_torch_may_use(threads: int) -> None:
    together = threading.Barrier(threads, timeout=30)

    def meet(_item: int) -> int:
        together.wait()  # breaks where not all come
        return torch.get_num_threads()

    assert set(side_by_side(meet, range(4 * threads), CPU)) == {1}


def test_threads_to_come_may_use_as_many_cores_as_before(threads: int) -> None:
    found: list[int] = []
    assert len(list(side_by_side(lambda item: item, range(9), CPU))) == 9
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [threads]


def test_a_device_gets_one_item_after_the_other() -> None:
    found = list(side_by_side(lambda _: threading.get_ident(), range(5), torch.device("meta")))
    assert set(found) == {threading.get_ident()}


def test_what_an_item_raises_passes_through_and_ends_it(threads: int) -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    found: list[int] = []
    with pytest.raises(ValueError, match="three"):
        found.extend(side_by_side(work, range(100), CPU))
    assert found == [0, 1, 2]
    assert len(begun) <= 3 + 2 * threads + 1


def test_a_stop_is_asked_for_before_every_item_and_leaves_nothing_running(threads: int) -> None:
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked == 5:
            raise KeyboardInterrupt

    before = threading.active_count()
    found: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(side_by_side(lambda item: item, range(100), CPU, stop))
    assert found == [0, 1, 2, 3]
    assert threading.active_count() == before


def test_who_stops_reading_leaves_nothing_behind(threads: int) -> None:
    before = threading.active_count()
    pieces = side_by_side(lambda item: item, range(100), CPU)
    assert next(pieces) == 0
    pieces.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
