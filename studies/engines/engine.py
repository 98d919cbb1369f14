"""What every engine promises."""

from __future__ import annotations

import abc
from collections.abc import Iterator

from ..plan import Outcome, Plan, Watch
from ..study import Study


class AbstractEngine(abc.ABC):
    """Runs the trials of a study. The contract is in `tests/contracts/engine.py`."""

    @abc.abstractmethod
    def run(self, study: Study, plan: Plan, watch: Watch) -> Iterator[Outcome]:
        """Yields each trial that ended, recorded in the study, until the plan is fulfilled.

        Nothing is raised for a trial: one that breaks is `failed` with its reason. The plan's timeout, and
        `Interrupted` raised by `watch`, end the run with the trial under way kept at its last whole epoch; a later run
        goes on from there.

        Raises:
            InputError: the study can't go on at all (a full disk, weights that vanished).
            Interrupted: it was asked to end before the plan was fulfilled.
        """
