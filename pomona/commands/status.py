"""`pomona status`"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from search_spaces import interval_text, value_text

from ..console import print_answer
from ..hints import command_line
from .options import AsJson, Storage


def status(
    study: Annotated[str, typer.Argument(metavar="STUDY")],
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """Tell how far a study is, whether it runs, and what is best so far.

    Example: [bold]pomona status fruit-1 --json[/bold]
    """
    from studies import open_study

    told = open_study(study, storage).status()
    if as_json:
        print_answer(json.dumps(told, indent=2))
        return
    state = "running" if told["running"] else "done" if told["ended"] >= told["trials"] else "stopped"
    lines = [
        f"{told['study']}: {told['task']} on {told['data']}, {state}",
        f"  {told['ended']} of {told['trials']} trials of {told['epochs']} epochs: "
        + (", ".join(f"{count} {name}" for name, count in told["states"].items()) or "none"),
    ]
    if (best := told["best"]) is not None:
        metric = told["metric"]
        interval = f" ({interval_text(metric, best['ci95'])})" if best["ci95"] else ""
        lines.append(f"  best: trial {best['number']}, {metric} {value_text(metric, best['value'])}{interval}")
    if state == "stopped":
        lines.append(f"  go on: {command_line('resume', told['study'], storage=storage)}")
    print_answer("\n".join(lines))
