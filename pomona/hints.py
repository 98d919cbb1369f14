"""Commands that are shown to be typed next: they can be pasted into a shell as they are."""

from __future__ import annotations

import os
import shlex
import sys


def pomona_command(command: str, *arguments: str, storage: str | None = None, **options: str) -> str:
    """`pomona COMMAND` with its options (`from_study` is --from-study), where the studies are, and its arguments.

    `storage` is what the user named; where `$POMONA_STORAGE` says the same it is not repeated. A password in it is
    replaced by ***.
    """
    from studies.location import STORAGE_VARIABLE, without_password

    named = {name.replace("_", "-"): value for name, value in options.items()}
    if storage and storage != os.environ.get(STORAGE_VARIABLE):
        named["storage"] = without_password(storage)
    # A value that starts with a dash would be read as an option of its own.
    words = [f"--{name}={value}" if value.startswith("-") else (f"--{name}", value) for name, value in named.items()]
    flat = [part for word in words for part in ([word] if isinstance(word, str) else word)]
    if any(argument.startswith("-") for argument in arguments):
        return shlex.join(["pomona", *command.split(), *flat, "--", *arguments])
    return shlex.join(["pomona", *command.split(), *arguments, *flat])


def typed_command() -> str:
    """The command line of this process, to be kept with a study: without passwords."""
    from studies.location import without_password

    return shlex.join(["pomona", *map(without_password, sys.argv[1:])])
