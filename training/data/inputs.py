"""What a config says about the inputs: the side of the images."""

from __future__ import annotations

import re

from search_spaces import Config

_IMAGES = re.compile(r":\d+x(\d+)x\d+")


def resolution_of(config: Config) -> int:
    """In pixels a side: what the config or the backbone (`residual:3x32x32`) says; 0 of what is no image."""
    if "resolution" in config:
        return int(config["resolution"])
    named = _IMAGES.search(str(config["backbone"]))
    return int(named[1]) if named else 0
