"""What people see: the answer on stdout, progress and notes on stderr."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .printable import one_line, printable

# A longer text may be folded to this before a column has to go.
FOLDED_WIDTH = 30

_log = logging.getLogger("pomona")
_quiet = False


class _LogToStderr(logging.Handler):
    """The lines of the logger, above a bar where one is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        notes().print(printable(self.format(record)))


def set_verbosity(*, verbose: bool = False, quiet: bool = False) -> None:
    """Which of notes, progress and log lines are printed: the usual, all of them, or none but errors."""
    global _quiet
    _quiet = quiet
    for handler in [handler for handler in _log.handlers if isinstance(handler, _LogToStderr)]:
        _log.removeHandler(handler)
    _log.addHandler(_LogToStderr())
    _log.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING)


@functools.cache
def notes() -> Console:
    """The one console on stderr. What is printed goes above a bar that is shown, and is text: nothing is markup."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def is_quiet() -> bool:
    return _quiet


def note(line: str) -> None:
    """One line for people on stderr."""
    if not _quiet:
        notes().print(one_line(line))


def bar(*columns: ProgressColumn) -> Progress:
    """A bar on stderr that vanishes when it is done; without a terminal there is none. By default with time left."""
    # Not the console's is_terminal, which FORCE_COLOR sets for log files too.
    wanted = sys.stderr.isatty() and not _quiet
    return Progress(*(columns or _usual_columns()), console=notes(), transient=True, disable=not wanted)


def described() -> TextColumn:
    """The column with the description of a bar, as it is."""
    return TextColumn("{task.description}", markup=False)


def _usual_columns() -> tuple[ProgressColumn, ...]:
    return described(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


def print_answer(text: str) -> None:
    text = printable(text)
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Prints lines of which each stays one, whatever the names in it."""
    print_answer("\n".join(map(one_line, lines)))


def print_json(answer: object) -> None:
    """Prints an answer for programs: see `training.machine.files.answer_text`."""
    from training.machine.files import answer_text

    print_answer(answer_text(answer))


def print_table(
    headings: Sequence[str], cells: Sequence[Sequence[str]], *, expendable: Sequence[str] = ()
) -> list[str]:
    """Prints a table, leaving out `expendable` columns, first named first, until it fits the terminal.

    Into a pipe everything goes, at any width. Returns the headings left out.
    """
    rows = [[one_line(cell) for cell in row] for row in cells]
    if not sys.stdout.isatty():
        sys.stdout.write(_plain_table([one_line(heading) for heading in headings], rows))
        return []
    drawn = io.StringIO()
    console = Console(
        file=drawn,
        force_terminal=True,
        # Not rich's own measure, which is 80 for a dumb terminal whatever COLUMNS says.
        width=shutil.get_terminal_size().columns,
        height=25,
        markup=False,
        highlight=False,
        emoji=False,
    )
    widths = {
        heading: max(cell_len(one_line(heading)), *(min(cell_len(row[column]), FOLDED_WIDTH) for row in rows), 0)
        for column, heading in enumerate(headings)
    }
    left_out = _left_out(widths, expendable, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        if heading not in left_out:
            table.add_column(Text(one_line(heading)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for heading, cell in zip(headings, row, strict=True) if heading not in left_out))
    console.print(table)
    sys.stdout.write(drawn.getvalue())
    return left_out


def _plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as wide as it is. Ten thousand rows take rich half a minute, and there is nothing to fold here."""
    from training.machine.memory import collector_paused

    lines = [headings, *rows]
    # Most cells are ASCII, of which each letter is one column wide.
    sizes = [[len(cell) if cell.isascii() else cell_len(cell) for cell in line] for line in lines]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    with collector_paused():
        return "".join(
            "  ".join(c + " " * (width - size) for c, size, width in zip(line, taken, widths, strict=True)).rstrip()
            + "\n"
            for line, taken in zip(lines, sizes, strict=True)
        )


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
    with bar() as progress:
        task = None

        def count(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = progress.add_task(description, total=total)
            progress.update(task, completed=done, total=total)

        yield count
