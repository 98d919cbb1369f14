"""The one way to torchvision and timm.

Where torch is a CPU build and torchvision a CUDA build, torchvision's compiled operators can't load, and importing it
fails as it describes their shapes (`operator torchvision::nms does not exist`). Models, weights and transforms need
none of them. Both libraries take a second to import, so nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import types
import warnings

import torch

from search_spaces import InputError

_DESCRIPTIONS = "torchvision._meta_registrations"


def torchvision() -> types.ModuleType:
    """The module `torchvision`, with its operators where they load and without them where they don't."""
    if "torchvision" not in sys.modules and _DESCRIPTIONS not in sys.modules and not _operators_load():
        sys.modules[_DESCRIPTIONS] = types.ModuleType(_DESCRIPTIONS)
    return importlib.import_module("torchvision")


def timm() -> types.ModuleType:
    """The module `timm`.

    Raises:
        InputError: timm is not installed.
    """
    torchvision()
    try:
        # A deprecation among its thousand models is nothing that our user could act on.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("timm")
    except ModuleNotFoundError as missing:
        if missing.name != "timm":
            raise
        raise InputError("backbones named timm:... need timm: pip install 'pomona[timm]'") from None


def has_timm() -> bool:
    return importlib.util.find_spec("timm") is not None


def _operators_load() -> bool:
    """Loads torchvision's library of operators as torchvision itself does on import (torchvision/extension.py)."""
    spec = importlib.util.find_spec("torchvision")
    loader = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        library = importlib.machinery.FileFinder(folder, loader).find_spec("_C")
        if library is not None and library.origin is not None:
            try:
                torch.ops.load_library(library.origin)  # type: ignore[no-untyped-call]
            except OSError:
                return False
            return True
    return False
