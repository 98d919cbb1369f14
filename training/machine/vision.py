"""The one way to torchvision and timm.

Where torch is a CPU build and torchvision a CUDA build, torchvision's compiled operators can't load, and importing it
fails as it describes their shapes (`operator torchvision::nms does not exist`). Models, weights and transforms need
none of them. Nothing is imported before it is asked for, as it takes a while; and most of it would be torch's
compiler, which both import for models that are not used here.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from search_spaces import InputError

_DESCRIPTIONS = "torchvision._meta_registrations"
_COMPILER, _QUESTION = "torch._dynamo.utils", "is_compile_supported"


def torchvision() -> types.ModuleType:
    """The module `torchvision`, with its operators where they load and without them where they don't."""
    if "torchvision" not in sys.modules and _DESCRIPTIONS not in sys.modules and not _operators_load():
        sys.modules[_DESCRIPTIONS] = types.ModuleType(_DESCRIPTIONS)
    with _without_compiler():
        return importlib.import_module("torchvision")


@contextmanager
def _without_compiler() -> Iterator[None]:
    """What is imported meanwhile gets torch's compiler only once it uses it.

    torchvision asks it what it supports, for a detector, and timm tells it what to leave alone, in one of its models;
    torch has a lazy form of that for itself. Importing them takes a second less (torch 2.13, torchvision 0.28,
    timm 1.0).
    """
    lazy = getattr(torch, "_disable_dynamo", None)
    if _COMPILER in sys.modules or lazy is None:
        yield
        return

    def disable(fn: Callable[..., object] | None = None, recursive: bool = True, **_reason: object) -> object:
        return lazy(fn, recursive)

    def anything_else(name: str) -> Any:
        # Whoever wants more than that gets the compiler; who only looks at all modules does not.
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_COMPILER) is stand_in:
            del sys.modules[_COMPILER]
        return getattr(importlib.import_module(_COMPILER), name)

    def is_compile_supported(device_type: str) -> bool:
        return bool(anything_else(_QUESTION)(device_type))

    stand_in = types.ModuleType(_COMPILER)
    setattr(stand_in, _QUESTION, is_compile_supported)
    stand_in.__getattr__ = anything_else  # type: ignore[method-assign]
    sys.modules[_COMPILER] = stand_in
    real, torch.compiler.disable = torch.compiler.disable, disable
    try:
        yield
    finally:
        torch.compiler.disable = real
        # Another thread may have imported the true one.
        if sys.modules.get(_COMPILER) is stand_in:
            del sys.modules[_COMPILER]


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
            with _without_compiler():
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
