"""Which names a study can have: each is the name of a folder, and is pasted into command lines."""

from __future__ import annotations

import shlex

from search_spaces import InputError

ENSEMBLE = "ensemble"
"""What the mean of several trials is called: the state of its row, and in the place of a trial's number."""

# What file systems take is 255 bytes; some that encrypt names take fewer, and files beside a folder add an ending.
_MOST_BYTES = 200
# The default storage lies in the folder in which its studies have theirs.
_TAKEN = "journal.log"
_ADVICE = "use letters, digits, - and _"


def check_name(name: str) -> str:
    """Returns `name` where a study of that name can be opened: its folder lies below the storage's and nowhere else.

    Raises:
        InputError: it is empty, leads to another folder, holds what cannot be printed, or is too long.
    """
    if not isinstance(name, str):
        raise InputError(f"a study's name is a text, not {name!r}: {_ADVICE}")
    if not name or name in (".", ".."):
        raise InputError(f"a study's name can't be {name!r}: {_ADVICE}")
    if "/" in name or "\\" in name:
        raise InputError(f"a study's name can't be {shown(name)}, it would lie in another folder: {_ADVICE}")
    # Control characters, halves of characters (a name that is not UTF-8), marks that turn the direction of writing.
    if not name.isprintable():
        raise InputError(f"a study's name can't be {shown(name)}, parts of it can't be printed: {_ADVICE}")
    if (length := len(name.encode())) > _MOST_BYTES:
        raise InputError(f"a study's name can't have {length} bytes, at most {_MOST_BYTES}: {_ADVICE}")
    if name.casefold().startswith(_TAKEN):
        raise InputError(f"a study's name can't begin with {_TAKEN}, the storage's own files do: {_ADVICE}")
    return name


def check_new_name(name: str) -> str:
    """Returns `name` where a new study may have it; what is merely awkward is refused too.

    Raises:
        InputError: see `check_name`; or it begins with a dot, a dash or a blank, or ends with a dot or a blank.
    """
    check_name(name)
    if name[0] in ".- ":
        raise InputError(f"a study's name can't begin as {name!r} does: {_ADVICE}")
    if name[-1] in ". ":
        raise InputError(f"a study's name can't end as {name!r} does: {_ADVICE}")
    return name


def shown(name: str) -> str:
    """`name` for a message: quoted, in one line, and not longer than one."""
    text = shlex.quote(name) if name.isprintable() else repr(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
