"""Commands that messages suggest, as they can be pasted into a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping


def command_line(
    command: str, *arguments: str, storage: str | None = None, options: Mapping[str, str | None] | None = None
) -> str:
    """`pomona COMMAND ARGUMENTS --OPTION VALUE --storage URL`, quoted; options without a value are left out.

    `storage` is what the user named; where `$POMONA_STORAGE` says the same it is not repeated. A password in it is
    replaced by ***.
    """
    from studies.location import STORAGE_VARIABLE, without_password

    words = ["pomona", *command.split()]
    named = dict(options or {})
    if storage is not None and storage != os.environ.get(STORAGE_VARIABLE):
        named["--storage"] = without_password(storage)
    # An argument that begins with a dash would be taken for an option.
    dashed = any(argument.startswith("-") for argument in arguments)
    if not dashed:
        words += arguments
    for name, value in named.items():
        if value is not None:
            words += [f"{name}={value}"] if value.startswith("-") else [name, value]
    if dashed:
        words += ["--", *arguments]
    return shlex.join(words)
