"""What people see: the answer on stdout, progress and notes on stderr."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

# In a pipe nothing is folded or left out: the confusions of a hundred classes are wider than any paper.
PLAIN_WIDTH = 1_000_000
# A longer text may be folded to this before a column has to go.
FOLDED_WIDTH = 30


@functools.cache
def notes() -> Console:
    """The one console on stderr: what is printed while a bar is shown goes above the bar."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_answer(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def print_table(
    headings: Sequence[str], cells: Sequence[Sequence[str]], *, expendable: Sequence[str] = ()
) -> list[str]:
    """Prints a table, leaving out `expendable` columns, first named first, until it fits the terminal.

    Into a pipe everything goes, at any width. Returns the headings left out.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    widths = {
        heading: max(len(heading), *(min(len(row[column]), FOLDED_WIDTH) for row in cells), 0)
        for column, heading in enumerate(headings)
    }
    left_out = _left_out(widths, expendable, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        if heading not in left_out:
            table.add_column(heading, overflow="fold")
    for row in cells:
        table.add_row(*(cell for heading, cell in zip(headings, row, strict=True) if heading not in left_out))
    console.print(table)
    return left_out


def _left_out(widths: dict[str, int], expendable: Sequence[str], room: int) -> list[str]:
    """The columns that have to go; of those, the most valued come back where there is room for them after all."""
    width = sum(column + 2 for column in widths.values())
    gone: list[str] = []
    for heading in expendable:
        if width > room and heading in widths:
            gone.append(heading)
            width -= widths[heading] + 2
    for heading in reversed(list(gone)):
        if width + widths[heading] + 2 <= room:
            gone.remove(heading)
            width += widths[heading] + 2
    return gone


@contextlib.contextmanager
def counting(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for work that is counted; it appears with the first count, and not at all where nothing is to be done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes(), transient=True, disable=not notes().is_terminal) as progress:
        bar = None

        def count(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                bar = progress.add_task(description, total=total)
            progress.update(bar, completed=done, total=total)

        yield count


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C (or SIGTERM) into a request that the work asks about; the second one stops at once.

    Outside the main thread, where signals can't be caught, Ctrl-C keeps its usual meaning.
    """
    asked = False

    def on_signal(_number: int, _frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        # Straight to the descriptor: whatever was being printed when the signal came would be printed twice.
        os.write(2, b"\nstopping after this batch; Ctrl-C once more stops at once\n")

    previous = {}
    with contextlib.suppress(ValueError):
        for name in (signal.SIGINT, signal.SIGTERM):
            previous[name] = signal.signal(name, on_signal)
    try:
        yield lambda: asked
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
