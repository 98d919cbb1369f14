"""Where a study stands, in a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def state_text(status: Mapping[str, Any]) -> str:
    """`running`, `done`, `time used` or `stopped`, from what `studies.status_of` says.

    A search by time that left no trial under way has used it; one that was stopped has interrupted trials.
    """
    if status["running"]:
        return "running"
    if status["done"] is not None:
        return "done"
    used = status["trials"] is None and status["ended"] and not status["states"].get("interrupted")
    return "time used" if used else "stopped"
