"""Where a study stands, as plain data."""

from __future__ import annotations

from typing import Any

from .cost_report import accuracy_of, costs_of_groups
from .done import why_done
from .records import ENDED
from .rung_report import rank_correlations
from .study import Study


def status_of(study: Study) -> dict[str, Any]:
    """What `pomona status --json` prints; docs/json.md says what each field is."""
    settings, running, ended = study.settings, study.is_running(), study.ended
    best, records = study.best(running=running), study.records(running=running)
    confirmed = next(iter(study.confirmed()), None)
    return {
        "study": study.name,
        "task": settings.task,
        "data": settings.source,
        "fingerprint": settings.fingerprint,
        "metric": settings.metric,
        "target": settings.target,
        "running": running,
        "trials": settings.trials,
        "epochs": settings.epochs,
        "budget": str(study.budget),
        "stop_at": settings.stop_at,
        "commands": [settings.command, *settings.later_commands],
        "ended": ended,
        "done": why_done(settings, ended, best) or None,
        "states": study.counts(running=running),
        "confirmations": sum(record.confirms is not None and record.state in ENDED for record in records),
        "seconds": round(sum(record.seconds for record in records), 1),
        "recipe": study.recipe_note or None,
        "cost_predictions": None
        if (costs := accuracy_of(costs_of_groups(records))) is None
        else {"groups": costs.groups, "trials": costs.trials, "median_error": costs.error, "drift": costs.drift},
        "rank_correlations": [
            {"lower": one.lower, "higher": one.higher, "pairs": one.pairs, "correlation": one.correlation}
            for one in rank_correlations(records, settings.direction)
        ],
        "best": best
        and {
            "number": best.number,
            "state": best.state,
            "epochs": best.epochs,
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
