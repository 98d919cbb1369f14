"""Names of studies. A study's files lie in a folder of its name."""

from __future__ import annotations

from pathlib import Path

from search_spaces import InputError


def check_name(name: str) -> None:
    """Raises InputError where no folder can have the name of the study."""
    if not name or name != Path(name).name or name.startswith("."):
        raise InputError(f"a study's name can't be {name!r}: use letters, digits, - and _")
