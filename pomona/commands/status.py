"""`pomona status`"""

from __future__ import annotations

from search_spaces import interval_text, value_text

from ..confirmed_text import mean_text
from ..console import print_json, print_lines
from ..hints import pomona_command
from .options import AsJson, Storage, Study


def status(
    study: Study,
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """Tell how far a study is, whether it runs, and what is best so far.

    Example: pomona status fruit-1 --json
    """
    from studies import open_study, status_of

    told = status_of(open_study(study, storage))
    if as_json:
        print_json(told)
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
    if (confirmed := told["confirmed"]) is not None:
        figure = mean_text(told["metric"], confirmed["mean"], confirmed["ci95"], confirmed["seeds"])
        lines.append(f"  confirmed: trial {confirmed['number']}, {figure}")
    if state == "stopped":
        lines.append(f"  go on: {pomona_command('resume', told['study'], storage=storage)}")
    print_lines(lines)
