"""What an employee's bonus will be: three numbers of a table and one linear layer."""

from __future__ import annotations

from .dimensions import Choice, Float
from .space import SearchSpace
from .task import Target, Task

_NETWORK = "table:3"

BONUS = Task(
    name="bonus",
    title="the bonus of an employee, from a table",
    modality="tabular",
    classes=(),
    # The published table is made by a formula, and so can anyone's be.
    sources=("generated",),
    columns=("performance", "years_of_experience", "projects_completed", "bonus"),
    metric="r2",
    direction="maximize",
    target=Target(
        0.9999, "the table is 12 performance + 6 years + 2 projects + 20 without noise: nothing but rounding"
    ),
    recipe_origin="one linear layer, squared error, plain SGD at 0.001; batch size and standardised features are ours",
    recipe={
        "backbone": _NETWORK,
        "batch_size": 32,
        "optimizer": "sgd",
        "momentum": 0.0,
        "learning_rate": 1e-3,
        "weight_decay": 1e-6,
        "head_width": 0,
        "dropout": 0.0,
    },
    space=SearchSpace(
        {
            "backbone": Choice(_NETWORK),
            "batch_size": Choice(8, 16, 32, 64, 128),
            "optimizer": Choice("sgd"),
            "momentum": Float(0.0, 0.98).when("optimizer", ("sgd",)),
            "learning_rate": Float(1e-5, 1.0, log=True),
            "weight_decay": Float(1e-6, 1e-1, log=True),
            "head_width": Choice(0),
            "dropout": Choice(0.0),
        }
    ),
)
