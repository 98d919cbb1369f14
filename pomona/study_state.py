"""Where a study stands, in a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def state_text(status: Mapping[str, Any]) -> str:
    """`running`, `done` or `stopped`, from what `studies.status_of` says."""
    if status["running"]:
        return "running"
    return "stopped" if status["done"] is None else "done"
