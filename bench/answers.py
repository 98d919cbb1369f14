"""How benchmarks answer programs: `--json` prints, as everywhere in pomona, and `--results FILE` keeps. And how they go
on from what they kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

JSON_HELP = "print JSON instead of tables"


def with_results(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the `--json FILE` of earlier versions as `--results FILE`, and a note that says so."""
    renamed = []
    for position, argument in enumerate(arguments):
        following = arguments[position + 1] if position + 1 < len(arguments) else "-"
        old = argument == "--json" and not following.startswith("-")
        if old or argument.startswith("--json="):
            sys.stderr.write("--json FILE is called --results FILE now\n")
            argument = argument.replace("--json", "--results", 1)
        renamed.append(argument)
    return renamed


def figures_before(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier run with the same `settings` wrote; empty where there is none."""
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if kept.get("settings") == settings else {}
