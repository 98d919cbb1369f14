"""Commands that are shown to be typed next: they can be pasted into a shell as they are."""

from __future__ import annotations

import shlex


def pomona_command(command: str, *arguments: str, storage: str | None = None, **options: str) -> str:
    """`pomona COMMAND` with its options (`from_study` is --from-study), where the studies are, and its arguments."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    if storage:
        named["storage"] = storage
    # A value that starts with a dash would be read as an option of its own.
    words = [f"--{name}={value}" if value.startswith("-") else (f"--{name}", value) for name, value in named.items()]
    flat = [part for word in words for part in ([word] if isinstance(word, str) else word)]
    if any(argument.startswith("-") for argument in arguments):
        return shlex.join(["pomona", command, *flat, "--", *arguments])
    return shlex.join(["pomona", command, *arguments, *flat])


def in_memory(storage: str | None) -> bool:
    """Whether the studies of a storage are gone when the process ends, so that no later command finds them."""
    if storage is None or not storage.startswith("sqlite"):
        return False
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(storage)
    except ArgumentError:
        return False
    return url.get_backend_name() == "sqlite" and (not url.database or ":memory:" in url.database)
