"""Where pomona keeps what can be computed again: decoded photos, rendered data, measurements of the machine."""

from __future__ import annotations

import os
from pathlib import Path

from search_spaces import InputError

from .digest import note
from .files import WriteError, write_error

ROOT = "POMONA_CACHE"
"""The variable that names the folder."""

TAG = "CACHEDIR.TAG"
"""Marks a folder that we made and may empty; tools for backups know the name (https://bford.info/cachedir/)."""

_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of pomona: `pomona cache --clear` empties it.\n"


def cache_folder(*parts: str) -> Path:
    """A folder below `$POMONA_CACHE`, or below the user's cache folder. Not created here."""
    root = os.environ.get(ROOT)
    if root:
        return Path(root, *parts)
    # Later than usual: the throughput benchmark runs without it.
    import platformdirs

    return platformdirs.user_cache_path("pomona").joinpath(*parts)


def make_cache_folder(folder: Path) -> None:
    """Makes one of the folders below the cache folder, and marks it unless it holds something already.

    Never the cache folder itself: `$POMONA_CACHE` may name a folder of the user's, whose other files belong in backups.

    Raises:
        WriteError: it can't be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            (folder / TAG).write_text(_SIGNATURE)
    except OSError as problem:
        raise WriteError(another_folder(write_error(folder, problem))) from None


def is_marked(folder: Path) -> bool:
    """Whether `make_cache_folder` marked it; a symbolic link never is."""
    try:
        return not folder.is_symlink() and (folder / TAG).read_text().startswith(_SIGNATURE)
    except (OSError, ValueError):
        return False


def without_cache(problem: InputError) -> None:
    """Says once that the work goes on though the cache can't be written."""
    note(f"going on without a cache: {another_folder(problem)}")


def another_folder(problem: InputError) -> str:
    hint = f"{ROOT} can name another folder"
    return str(problem) if hint in str(problem) else f"{problem}; {hint}"
