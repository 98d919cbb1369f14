"""Commands that are shown to be typed next: they can be pasted into a shell as they are."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from studies import Study


def pomona_command(command: str, *arguments: str, storage: str | None = None, **options: str | Literal[True]) -> str:
    """`pomona COMMAND` with its options (`from_study` is --from-study, True a flag), where the studies are, and its
    arguments.

    `storage` is what the user named; where `$POMONA_STORAGE` says the same it is not repeated. A password in it is
    replaced by ***.
    """
    from studies.location import STORAGE_VARIABLE, without_password

    named: dict[str, str | Literal[True]] = {name.replace("_", "-"): value for name, value in options.items()}
    if storage and storage != os.environ.get(STORAGE_VARIABLE):
        named["storage"] = without_password(storage)
    flat = [part for name, value in named.items() for part in _words(f"--{name}", value)]
    if any(argument.startswith("-") for argument in arguments):
        return shlex.join(["pomona", *command.split(), *flat, "--", *arguments])
    return shlex.join(["pomona", *command.split(), *arguments, *flat])


def _words(name: str, value: str | Literal[True]) -> tuple[str, ...]:
    if value is True:
        return (name,)
    # A value that starts with a dash would be read as an option of its own.
    return (f"{name}={value}",) if value.startswith("-") else (name, value)


def go_on_command(command: str, study: Study, *, storage: str | None, **options: int) -> str:
    """`pomona resume` or `confirm` for a study; what does the same in Python where the study has a `Task` object.

    It trusts the study's task file: who did not name that in this very command is to be shown `runs_file` too.
    """
    from studies.going_on import is_of_object, needs_trust, python_call

    if is_of_object(study.settings):
        return python_call(command, study.name, storage, **options)
    words: dict[str, str | Literal[True]] = {name: str(value) for name, value in options.items()}
    if needs_trust(study.settings, storage):
        words["trust_task_file"] = True
    return pomona_command(command, study.name, storage=storage, **words)


def runs_file(study: Study, storage: str | None) -> str:
    """Behind such a command: which file of a storage it runs, to be looked at before; empty where it runs none."""
    from studies.going_on import needs_trust

    if not needs_trust(study.settings, storage):
        return ""
    return f" (runs {shlex.quote(study.settings.task_file or '')}: look at it before)"


def typed_command() -> str:
    """The command line of this process, to be kept with a study: without passwords."""
    from studies.location import without_password

    return shlex.join(["pomona", *map(without_password, sys.argv[1:])])
