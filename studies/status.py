"""Where a study stands, as plain data: a pure function of its settings and records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .confirmed import best_of, confirmed_trials
from .plan import Budget
from .records import ENDED, STATE_ORDER, TrialRecord
from .settings import Settings


def status_of(name: str, settings: Settings, records: Sequence[TrialRecord], *, running: bool) -> dict[str, Any]:
    """What `pomona status --json` prints of the study `name`; docs/json.md says what each field is."""
    searched = [record for record in records if record.confirms is None]
    confirmations = [record for record in records if record.confirms is not None]
    states = Counter(record.state for record in searched)
    best = next(iter(best_of(searched, settings.direction)), None)
    confirmed = next(iter(confirmed_trials(records, direction=settings.direction, metric=settings.metric)), None)
    return {
        "study": name,
        "task": settings.task,
        "data": settings.source,
        "fingerprint": settings.fingerprint,
        "metric": settings.metric,
        "target": settings.target,
        "running": running,
        "trials": settings.trials,
        "epochs": settings.epochs,
        "budget": str(Budget(settings.trials, settings.epochs, settings.timeout)),
        "commands": [settings.command, *settings.later_commands],
        "ended": sum(states[state] for state in ENDED),
        "states": {state: states[state] for state in STATE_ORDER if states[state]},
        "confirmations": sum(record.state in ENDED for record in confirmations),
        "seconds": round(sum(record.seconds for record in records), 1),
        "best": best
        and {
            "number": best.number,
            "value": best.value,
            "n": best.n,
            "ci95": best.ci95,
            "groups_ci95": best.groups_ci95,
            "params": best.config,
        },
        "confirmed": confirmed
        and {
            "number": confirmed.number,
            "mean": confirmed.mean,
            "ci95": confirmed.ci95,
            "seeds": confirmed.seeds,
            "luck": confirmed.luck,
            "params": confirmed.config,
        },
    }
