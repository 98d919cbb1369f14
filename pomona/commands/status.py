"""`pomona status`"""

from __future__ import annotations

from search_spaces import interval_text, value_text

from ..confirmed_text import mean_text
from ..console import print_json, print_lines
from ..hints import go_on_command, runs_file
from ..study_state import state_text
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
    from training.lanes.results import interrupted_after

    opened = open_study(study, storage)
    payload = status_of(opened)
    if as_json:
        print_json(payload)
        return
    state = state_text(payload)
    trials = payload["ended"] if payload["trials"] is None else f"{payload['ended']} of {payload['trials']}"
    lines = [
        f"{payload['study']}: {payload['task']} on {payload['data']}, {state}"
        + (f": {payload['done']}" if state == "done" else ""),
        f"  {trials} trials of {payload['epochs']} epochs: "
        + (", ".join(f"{count} {name}" for name, count in payload["states"].items()) or "none"),
    ]
    if (best := payload["best"]) is not None:
        metric = payload["metric"]
        interval = f" ({interval_text(metric, best['ci95'])})" if best["ci95"] else ""
        how_far = f", {interrupted_after(best['epochs'], payload['epochs'])}" if best["state"] == "interrupted" else ""
        lines.append(f"  best: trial {best['number']}, {metric} {value_text(metric, best['value'])}{interval}{how_far}")
    if (confirmed := payload["confirmed"]) is not None:
        figure = mean_text(payload["metric"], confirmed["mean"], confirmed["ci95"], confirmed["seeds"])
        lines.append(f"  confirmed: trial {confirmed['number']}, {figure}")
    if state in ("stopped", "time used"):
        command = go_on_command("resume", opened, storage=storage)
        lines.append(f"  go on: {command}{runs_file(opened, storage)}")
    print_lines(lines)
