"""What can be searched: plain data, one file a task. Imports nothing of ours and no torch."""

from .bonus import BONUS as BONUS
from .cats_dogs import CATS_DOGS as CATS_DOGS
from .cifar10 import CIFAR10 as CIFAR10
from .clothing import CLOTHING as CLOTHING
from .dimensions import Choice as Choice
from .dimensions import Config as Config
from .dimensions import Dimension as Dimension
from .dimensions import Float as Float
from .dimensions import Integer as Integer
from .dimensions import Value as Value
from .dimensions import When as When
from .errors import InputError as InputError
from .errors import PomonaError as PomonaError
from .fashion_cnn import FASHION_CNN as FASHION_CNN
from .fashion_mlp import FASHION_MLP as FASHION_MLP
from .fashion_transfer import FASHION_TRANSFER as FASHION_TRANSFER
from .flowers import FLOWERS as FLOWERS
from .fruit import FRUIT as FRUIT
from .images import IMAGES as IMAGES
from .metrics import interval_text as interval_text
from .metrics import is_numeric as is_numeric
from .metrics import limits_of as limits_of
from .metrics import positive_class as positive_class
from .metrics import value_text as value_text
from .mnist_mlp import MNIST_MLP as MNIST_MLP
from .narrowing import Narrowing as Narrowing
from .narrowing import Part as Part
from .sms_spam import SMS_SPAM as SMS_SPAM
from .space import SearchSpace as SearchSpace
from .task import Target as Target
from .task import Task as Task
from .user_file import load_task as load_task
from .user_file import task_file as task_file

__owner__ = "pomona"

TASKS: tuple[Task, ...] = (
    FRUIT,
    CATS_DOGS,
    CIFAR10,
    FLOWERS,
    CLOTHING,
    IMAGES,
    MNIST_MLP,
    FASHION_MLP,
    FASHION_CNN,
    FASHION_TRANSFER,
    BONUS,
    SMS_SPAM,
)


def task_named(name: str) -> Task:
    """The task of that name, or, where `name` ends in .py, the one that this file of the user's holds.

    Raises:
        InputError: there is none, or as from `load_task`.
    """
    if (file := task_file(name)) is not None:
        return load_task(file, TASKS)
    for task in TASKS:
        if task.name == name:
            return task
    raise InputError(
        f"unknown task {name!r}; there is {', '.join(task.name for task in TASKS)}, or a file of your own, my_task.py"
    )
