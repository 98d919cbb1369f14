"""Where a study stands, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .study import Study


def status_of(study: Study) -> dict[str, Any]:
    """What `pomona status --json` prints; docs/json.md says what each field is."""
    best, settings = study.best(), study.settings
    return {
        "study": study.name,
        "task": settings.task,
        "data": settings.source,
        "fingerprint": settings.fingerprint,
        "metric": settings.metric,
        "target": settings.target,
        "running": study.is_running(),
        "trials": settings.trials,
        "epochs": settings.epochs,
        "budget": str(study.budget),
        "commands": [settings.command, *settings.later_commands],
        "ended": study.ended,
        "states": study.counts(),
        "seconds": round(sum(record.seconds for record in study.records()), 1),
        "best": best
        and {
            "number": best.number,
            "value": best.value,
            "n": best.n,
            "ci95": best.ci95,
            "groups_ci95": best.groups_ci95,
            "params": best.config,
        },
    }
