"""A driver of a study of a toy task, as a process: `python -m tests.studies.driver_process URL TRIALS runs|joins`.

It beats every second and is taken for lost after three, so that a test need not wait for minutes. Each trial that it
records is a line on stdout. After each it waits for a line on stdin, so that a test can keep trials for what is to
happen; once stdin is closed it goes on by itself.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

import studies.database
import studies.drivers
from studies import Study

from .toy_plans import STAGES, plan, run_inline, use_toy_backbone

GRACE_SECONDS = 3
# Enough for somebody to come in between.
EPOCHS = 80


def impatient() -> None:
    for module in (studies.database, studies.drivers):
        module.BEAT_SECONDS, module.GRACE_SECONDS = 1, GRACE_SECONDS  # type: ignore[attr-defined]
    studies.drivers._LOOK_SECONDS = 0.5
    studies.drivers._PAUSE_SECONDS = 0.1


def main(url: str, trials: int, how: str) -> None:
    impatient()
    with pytest.MonkeyPatch.context() as patch:
        use_toy_backbone(patch)
        study = Study.open("s", url, to_run=True)
        held: AbstractContextManager[None] = study.joined() if how == "joins" else study.running()
        with held:
            for outcome in run_inline(study, replace(plan(STAGES, 1, trials), epochs=EPOCHS), lambda _progress: None):
                print(outcome.number, outcome.result.value, flush=True)
                sys.stdin.readline()
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
