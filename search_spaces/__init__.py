"""What can be searched: plain data, one file a task. Imports nothing of ours and no torch."""

from .dimensions import Choice as Choice
from .dimensions import Config as Config
from .dimensions import Dimension as Dimension
from .dimensions import Float as Float
from .dimensions import Integer as Integer
from .dimensions import Value as Value
from .dimensions import When as When
from .errors import InputError as InputError
from .errors import PomonaError as PomonaError
from .fruit import FRUIT as FRUIT
from .space import SearchSpace as SearchSpace
from .task import Target as Target
from .task import Task as Task

__owner__ = "pomona"

TASKS: tuple[Task, ...] = (FRUIT,)


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        InputError: there is none.
    """
    for task in TASKS:
        if task.name == name:
            return task
    raise InputError(f"unknown task {name!r}; there is {', '.join(task.name for task in TASKS)}")
