"""The modalities. To add one: a module with a subclass of `Modality`, and its line in `TABLE`."""

from __future__ import annotations

from pathlib import Path

from search_spaces import InputError

from .grey import GreyImages
from .modality import InputSignature as InputSignature
from .modality import Kind as Kind
from .modality import Modality as Modality
from .modality import ModelInput as ModelInput
from .modality import Reading as Reading
from .photos import RENDERED as RENDERED
from .photos import Photos
from .tables import Tables
from .texts import Texts

TABLE: list[tuple[str, Modality]] = [
    ("image", GreyImages()),
    ("image", Photos()),
    ("tabular", Tables()),
    ("text", Texts()),
]
"""The name of a modality, as tasks and checkpoints say it, and what has that name. Of several with one name the first
that recognises a source opens it; the last stands for the name where there is no source."""


def register(name: str, modality: Modality) -> None:
    """Adds a modality from outside, for example from the file of a task; it is asked before others of its name.

    One that was registered before from a class of the same name and module is replaced, as its file was run again.
    """

    def named(other: Modality) -> tuple[str, str]:
        return type(other).__module__, type(other).__qualname__

    TABLE[:] = [(name, modality), *(line for line in TABLE if line[0] != name or named(line[1]) != named(modality))]


def modality_named(name: str) -> Modality:
    """What does not depend on where the data comes from: signatures, previews, examples to predict.

    Raises:
        InputError: there is none of that name.
    """
    return _all_named(name)[-1]


def modality_for(name: str, source: str | Path) -> Modality:
    """What opens `source`.

    Raises:
        InputError: there is none of that name.
    """
    found = _all_named(name)
    return next((modality for modality in found if modality.recognises(source)), found[-1])


def _all_named(name: str) -> list[Modality]:
    found = [modality for other, modality in TABLE if other == name]
    if not found:
        names = ", ".join(dict.fromkeys(other for other, _ in TABLE))
        raise InputError(f"unknown modality {name!r}: there are {names}")
    return found
