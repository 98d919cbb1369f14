"""A task from a file of the user's own, which holds a `Task` in plain Python as the files beside this one do."""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from .errors import InputError
from .task import Task

CHOSEN = "TASK"


def task_file(name: str) -> Path | None:
    """The file that `name` means, as an absolute path; None where `name` is that of a task."""
    return Path(os.path.abspath(name)) if name.endswith(".py") else None


def load_task(file: Path, own: Sequence[Task]) -> Task:
    """The task in `file`, which is run: the only one, or the one called TASK. Those of `own` that it imports count not.

    Raises:
        InputError: there is no such file, it can't be run, it holds no task or several, or its task has the name of one
            of `own`.
    """
    held = vars(_run(file))
    tasks = [held[CHOSEN]] if isinstance(held.get(CHOSEN), Task) else _distinct(held, own)
    if not tasks:
        raise InputError(f"{file} holds no task: give it one search_spaces.Task")
    if len(tasks) > 1:
        names = ", ".join(repr(task.name) for task in tasks)
        raise InputError(f"{file} holds {len(tasks)} tasks ({names}): call the one that is meant {CHOSEN}")
    (task,) = tasks
    if any(task.name == other.name for other in own):
        raise InputError(f"{file} holds a task named {task.name!r}, as one of pomona's own is: give it another name")
    return task


def _distinct(held: dict[str, object], own: Sequence[Task]) -> list[Task]:
    """The tasks among the values of a module, each once whatever its names, without those of `own`."""
    known = {id(task) for task in own}
    return list({id(v): v for v in held.values() if isinstance(v, Task) and id(v) not in known}.values())


def _run(file: Path) -> ModuleType:
    """The file as a module, run anew each time, so that a notebook sees what was changed. It prints to stderr."""
    name = f"_pomona_task_{hashlib.sha256(os.fsencode(file)).hexdigest()[:16]}"
    loader = SourceFileLoader(name, str(file))
    try:
        # Not exec_module(): it would leave a __pycache__ in the user's folder, and might run that instead.
        code = loader.source_to_code(loader.get_data(str(file)), str(file))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no task file {str(file)!r}: put it there, its studies need it too") from None
    except OSError as problem:
        raise InputError(f"task file {str(file)!r} can't be read: {problem.strerror}") from None
    except SyntaxError as problem:
        raise InputError(f"{_place(file, problem.lineno)}: not Python, {problem.msg}") from None
    except ValueError as problem:
        raise InputError(f"{file} is not Python: {problem}") from None
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    # Known by its name while it runs, as dataclasses want it.
    sys.modules[name] = module
    try:
        # What it prints is for people: stdout is for the answer.
        with redirect_stdout(sys.stderr):
            exec(code, vars(module))
    except BaseException as problem:
        del sys.modules[name]
        if isinstance(problem, Exception | SystemExit):
            raise InputError(_where_and_what(file, problem)) from problem
        raise
    return module


def _where_and_what(file: Path, problem: BaseException) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == str(file)]
    what = str(problem) if isinstance(problem, InputError) else f"{type(problem).__name__}: {problem}"
    return f"{_place(file, lines[-1] if lines else None)}: {' '.join(what.split())}"


def _place(file: Path, line: int | None) -> str:
    return f"{file}, line {line}" if line else str(file)
