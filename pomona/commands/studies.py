"""`pomona studies`: the studies of a storage, listed, deleted and renamed."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from search_spaces import InputError, interval_text, value_text

from ..console import note, print_answer, print_json, print_table
from ..study_state import state_text
from .options import AsJson, Storage

studies = typer.Typer(name="studies", help="List the studies of a storage, delete or rename one.")

_Study = Annotated[str, typer.Argument(metavar="STUDY", help="A study of the storage, by its name.")]


@studies.callback(invoke_without_command=True)
def _studies(context: typer.Context, storage: Storage = None, as_json: AsJson = False) -> None:
    """List the studies of a storage, delete or rename one. Without a command it lists them.

    Example: pomona studies rename fruit-1 fruit-night
    """
    if (command := context.invoked_subcommand) is None:
        list_(storage, as_json)
        return
    # They would be taken for the list's, and the command would act on another storage.
    for name, flag in (("storage", "--storage"), ("as_json", "--json")):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(f"write {flag} after {command}: pomona studies {command} ... {flag}")


@studies.command("list")
def list_(storage: Storage = None, as_json: AsJson = False) -> None:
    """List the studies with their task, how far they are, and their best trial.

    Example: pomona studies list --json
    """
    from studies import list_studies

    payload = list_studies(storage)
    if as_json:
        print_json(payload)
    elif payload:
        headings = ["study", "task", "data", "trials", "state", "best"]
        print_table(headings, [_cells(study) for study in payload], expendable=["data"])
    else:
        print_answer("no studies yet: pomona search TASK makes one")


@studies.command()
def delete(
    study: _Study,
    storage: Storage = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """Delete a study with all its trials and the checkpoints of trials under way. This cannot be undone.

    Example: pomona studies delete fruit-1 --yes
    """
    from studies import delete_study, open_study

    ended = open_study(study, storage).ended
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"deleting study {study!r} needs a yes: add --yes")
        if not typer.confirm(f"Delete study {study} with its {ended} ended trials for good?", err=True):
            raise InputError(f"study {study!r} was not deleted")
    delete_study(study, storage)
    note(f"deleted study {study} with its {ended} ended trials")


@studies.command()
def rename(
    study: _Study,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name: letters, digits, - and _.")],
    storage: Storage = None,
) -> None:
    """Give a study another name. Its trials keep their numbers, and it can be resumed under the new name.

    Hyperband deals trials to its brackets by the study's name, so later trials may be pruned in other epochs.

    Example: pomona studies rename fruit-1 fruit-night
    """
    from studies import rename_study

    rename_study(study, new, storage)
    note(f"study {study} is now {new}")


def _cells(payload: dict[str, Any]) -> list[str]:
    if payload["task"] is None:
        return [payload["study"], "", "", "", "not pomona's", ""]
    best = ""
    if (trial := payload["best"]) is not None:
        interval = f" ({interval_text(payload['metric'], trial['ci95'])})" if trial["ci95"] else ""
        best = f"{payload['metric']} {value_text(payload['metric'], trial['value'])}{interval}"
        best += ", interrupted" if trial["state"] == "interrupted" else ""
    done = str(payload["ended"]) if payload["trials"] is None else f"{payload['ended']} of {payload['trials']}"
    return [payload["study"], payload["task"], payload["data"], done, state_text(payload), best]
