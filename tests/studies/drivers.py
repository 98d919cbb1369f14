"""Drivers of one study in a database, in one process. Time passes only where a test moves the beats back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy

from studies import Study, open_storage
from studies.database import GRACE_SECONDS, database_of
from studies.proposals import Proposal

from ..toys import TOY


@contextmanager
def a_driver(url: str, *, joins: bool = True) -> Iterator[Study]:
    study = Study.open("s", url, to_run=True)
    with study.joined() if joins else study.running():
        yield study


def ask(study: Study, trials: int | None = 9) -> Proposal | None:
    return study.ask(TOY.space, trials)


def asked(study: Study, trials: int | None = 9) -> Proposal:
    proposal = ask(study, trials)
    assert proposal is not None
    return proposal


def killed(study: Study) -> None:
    """A driver of the test's whose process is gone: nothing that it does at its end may happen."""
    study._open.clear()
    study._attempts.driver = ""


def let_beats_grow_old(url: str, seconds: float = GRACE_SECONDS + 60, only: int | None = None) -> None:
    """As if nobody had beaten for so long; of all trials, or of one by its number."""
    engine = database_of(open_storage(url)).engine
    which = "" if only is None else f" WHERE trial_id IN (SELECT trial_id FROM trials WHERE number = {only})"
    with engine.begin() as connection:
        past = f"datetime(heartbeat, '-{seconds} seconds')"
        if engine.dialect.name == "postgresql":
            past = f"heartbeat - interval '{seconds} seconds'"
        connection.execute(sqlalchemy.text(f"UPDATE trial_heartbeats SET heartbeat = {past}{which}"))


def has_beat(url: str, number: int) -> bool:
    engine = database_of(open_storage(url)).engine
    query = "SELECT COUNT(*) FROM trial_heartbeats JOIN trials USING (trial_id) WHERE number = :number"
    with engine.connect() as connection:
        return connection.execute(sqlalchemy.text(query), {"number": number}).scalar() == 1


def trials_of(url: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=open_storage(url)).get_trials(deepcopy=False)


def quiet_watch(_progress: object) -> None:
    """Of a run that nobody looks at."""
