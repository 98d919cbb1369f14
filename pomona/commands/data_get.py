"""`pomona data get`"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..console import bar, described, note, print_json, print_lines
from .options import AsJson


def get(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task whose data is public, such as flowers.")],
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A new folder for it. [default: below the cache folder]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the public data of a task into a folder that --data takes.

    What was fetched is kept in the cache folder (POMONA_CACHE names it); a download that was interrupted goes on.

    Example: pomona data get flowers --to flowers
    """
    from training.data.published.sources import fetch_data

    with _stages() as progress:
        fetched = fetch_data(task, to, progress=progress)
    if as_json:
        payload = {"task": task, "folder": str(fetched.folder), "source": fetched.page, "new": fetched.new}
        print_json(payload)
        return
    print_lines([f"{fetched.folder}: {'from' if fetched.new else 'there already; its source is'} {fetched.page}"])
    note(f"use it: pomona search {shlex.quote(task)} --data {shlex.quote(str(fetched.folder))}")


@contextmanager
def _stages() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage of the work, from its first count on."""
    from rich.progress import BarColumn, TaskID, TaskProgressColumn, TimeRemainingColumn

    bars: dict[str, TaskID] = {}
    with bar(described(), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) as shown:

        def count(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = shown.add_task(stage, total=None)
            shown.update(bars[stage], completed=done, total=total or None)

        yield count
