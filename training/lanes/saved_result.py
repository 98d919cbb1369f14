"""What a lane had come to when its group was left: kept in its file, and read without its tensors and without torch."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..machine.decode import decoded
from ..machine.files import json_text
from ..scoring.intervals import Estimate
from .results import FitResult, State, curve_from_json
from .state_record import read_record

LANE = "lane"
"""What the file of a lane holds, as state files name it."""

_SCORES = "scores"


@dataclass(frozen=True)
class _Scores:
    """Of a `FitResult`, what does not follow from the lane's curve."""

    estimate: dict[str, Any] | None
    grouped: dict[str, Any] | None
    secondary: dict[str, float | None]
    parameters: int
    environment: dict[str, Any] = field(default_factory=dict)


def scores_record(result: FitResult) -> dict[str, Any]:
    """For the record of a lane's file: how well the lane did, as plain data."""
    scores = _Scores(
        estimate=None if result.estimate is None else asdict(result.estimate),
        grouped=None if result.grouped is None else asdict(result.grouped),
        secondary=dict(result.secondary),
        parameters=result.parameters,
        environment=result.environment,
    )
    return {_SCORES: asdict(scores)}


def read_saved_result(path: Path, about: dict[str, Any]) -> FitResult | None:
    """How the lane in `path` stood after its last whole epoch: `pruned`, as nobody trained it further.

    None where there is no such file, it is damaged or about something else, the loss was not finite any more, or it was
    written while its group went on: then nothing but the curve is in it. `predictions` are left out.
    """
    try:
        record = read_record(path, LANE)
        if _SCORES not in record or record.get("about") != json.loads(json_text(about)):
            return None
        scores, curve = decoded(record[_SCORES], _Scores, _SCORES), curve_from_json(record.get("curve"))
        if not curve or not math.isfinite(curve[-1].loss):
            return None
        seconds = decoded(record.get("seconds"), float, "seconds")
        return FitResult(
            state=State.PRUNED,
            reason="interrupted",
            value=curve[-1].value,
            curve=curve,
            seconds=seconds,
            seed=int(about["seed"]),
            estimate=_estimate(scores.estimate),
            grouped=_estimate(scores.grouped),
            secondary={name: math.nan if value is None else value for name, value in scores.secondary.items()},
            parameters=scores.parameters,
            environment=scores.environment,
        )
    except (OSError, ValueError):
        return None


def _estimate(raw: dict[str, Any] | None) -> Estimate | None:
    """With NaN again where JSON, which lacks it, held null. Raises DecodeError."""
    if raw is None:
        return None
    return decoded({name: math.nan if value is None else value for name, value in raw.items()}, Estimate, "estimate")
