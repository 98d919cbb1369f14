"""Inference on several cores at once: each thread computes pieces of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from .interrupts import CheckStop, never_stop

# Memory grows with what is computed at once.
_MOST_THREADS = 32
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def side_by_side(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    device: torch.device,
    check_stop: CheckStop = never_stop,
) -> Iterator[_Result]:
    """`function` of every item, in their order, of which some are computed ahead.

    On a CPU as many threads as torch may use compute an item each, with one core: they need not wait for each other
    within an operator, which small ones spend much of their time on, and each has its core's caches for itself. What
    comes out does not depend on how many threads there are. On other devices, one after the other.

    `check_stop` is called before each; what it or `function` raises passes through once those under way have ended.
    """
    allowed = torch.get_num_threads()
    threads = min(allowed, _MOST_THREADS) if device.type == "cpu" else 1
    if threads == 1:
        for item in items:
            check_stop()
            yield function(item)
        return
    waiting: deque[Future[_Result]] = deque()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                for item in items:
                    if len(waiting) == 2 * threads:
                        check_stop()
                        yield waiting.popleft().result()
                    waiting.append(pool.submit(function, item))
                while waiting:
                    check_stop()
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        # The latest number is that of threads to come, whoever said it.
        torch.set_num_threads(allowed)
