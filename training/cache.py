"""Where pomona keeps what can be computed again: decoded photos, rendered data, measurements of the machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """A folder below `$POMONA_CACHE`, or below the user's cache folder. Not created here."""
    root = os.environ.get("POMONA_CACHE")
    if root:
        return Path(root, *parts)
    # Later than usual: the throughput benchmark runs without it.
    import platformdirs

    return platformdirs.user_cache_path("pomona").joinpath(*parts)
