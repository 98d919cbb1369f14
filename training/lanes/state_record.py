"""What a state file says of itself, read without its tensors and without torch; `state_file.py` has all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors

from ..machine.digest import is_whole

FORMAT = 4
"""1 to 3 were formats of checkpoints and of lanes while they had one each."""

KEY = "state"
MADE_BY, HOLDS = "made_by", "holds"


class StateError(ValueError):
    """The file is damaged, or of a format that this version of pomona does not know."""


def read_record(path: Path, holds: str) -> dict[str, Any]:
    """The record alone, checked against its own digest; whether the tensors are whole is not looked at.

    Raises:
        StateError: it is not what `write_state` wrote.
        OSError: there is no such file, or it can't be read.
    """
    try:
        with safetensors.safe_open(path, "np") as file:
            described = description_in(file.metadata(), KEY)
    except (ValueError, safetensors.SafetensorError) as problem:
        raise StateError(str(problem)) from None
    check_description(described, holds)
    record: dict[str, Any] = described["record"]
    return record


def description_in(metadata: dict[str, str] | None, key: str) -> dict[str, Any]:
    """The JSON object under `key`, not checked. Raises StateError where there is none."""
    try:
        described = json.loads((metadata or {})[key])
    except KeyError:
        raise StateError("it says nothing of what it holds") from None
    except ValueError as problem:
        raise StateError(str(problem)) from None
    if not isinstance(described, dict):
        raise StateError("it says nothing of what it holds")
    return described


def check_description(described: dict[str, Any], holds: str) -> None:
    """Raises StateError where it is of another format, not whole, or of something else than `holds`."""
    if described.get("format") != FORMAT:
        raise StateError(f"it is of format {described.get('format')!r}, and this version of pomona reads {FORMAT}")
    if not is_whole(described):
        raise StateError("its digest is not that of its contents")
    if described["holds"] != holds:
        raise StateError(f"it holds a {described['holds']}, not a {holds}")
