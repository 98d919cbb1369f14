"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Mapping


def load_on_use(package: str, names: Mapping[str, tuple[str, ...]]) -> Callable[[str], object]:
    """The `__getattr__` of a package whose modules define `names`: module -> what it defines.

    So that a command that only reads needs none of what training does, and the throughput benchmark none of what a
    search does.
    """
    home = {name: module for module, defined in names.items() for name in defined}

    class Package(types.ModuleType):
        def __setattr__(self, name: str, value: object) -> None:
            # A loaded module is made an attribute of its package: `training.lanes.fit` is the function nevertheless.
            if isinstance(value, types.ModuleType) and home.get(name) == name:
                value = getattr(value, name)
            super().__setattr__(name, value)

    module = sys.modules[package]
    module.__class__ = Package

    def load(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(importlib.import_module(f".{home[name]}", package), name)
        setattr(module, name, value)
        return value

    return load
