"""What the best trials of a search said of the validation examples, a file each, for ensembles of them."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from training.lanes.results import Outputs
from training.machine.decode import decoded
from training.machine.digest import Digest, is_whole, sealed
from training.machine.files import atomic_write_bytes, json_text

MOST = 50
"""The outputs of so many trials are kept, those with the best values of each kind."""

FOLDER = "outputs"
"""Of a study's own folder."""

_FORMAT = 1
_KEY = "state"
_SHIFTED = "shifted"
_ENDING = ".safetensors"
_NOT_ONE = (OSError, ValueError, KeyError, safetensors.SafetensorError)


@dataclass(frozen=True)
class _Record:
    """What a file says beside its arrays."""

    format: int
    value: float
    classes: tuple[str, ...]
    split: str
    arrays: str
    kind: str = ""


class KeptOutputs:
    """The outputs in a folder; made when the first are kept. One process writes, others may read meanwhile.

    `direction` says which values are the best. A file that is damaged or absent is as if the trial had none.
    """

    def __init__(self, folder: Path, direction: str) -> None:
        self.folder = folder
        self._sign = -1.0 if direction == "maximize" else 1.0
        self._kept: dict[int, tuple[str, float]] | None = None

    def keep(self, number: int, value: float, outputs: Outputs, *, kind: str = "") -> None:
        """Keeps what a trial with this value said, as one of at most `MOST`.

        Beyond that the worst one goes, of the `kind` that most are of: models of different kinds err in different
        places, and a thousand variations of one head would leave no others to average them with.

        Raises:
            InputError: there is no room or no permission.
        """
        if self._kept is None:
            self._kept = {kept: self._known(kept) for kept in self.numbers()}
        kept = self._kept | {number: (kind, value)}
        gone = []
        while len(kept) > MOST:
            counts = Counter(of for of, _ in kept.values())
            worst = max(kept, key=lambda one: (counts[kept[one][0]], self._sign * kept[one][1], one))
            gone.append(worst)
            del kept[worst]
        if number in kept:
            atomic_write_bytes(self._path(number), _packed(value, outputs, kind))
        for other in gone:
            with contextlib.suppress(OSError):
                self._path(other).unlink(missing_ok=True)
        self._kept = kept

    def kinds(self) -> dict[int, str]:
        """The kinds of the trials whose outputs are kept."""
        return {number: self._known(number)[0] for number in self.numbers()}

    def numbers(self) -> list[int]:
        """The trials whose outputs are kept."""
        names = (path.name.removesuffix(_ENDING) for path in self.folder.glob(f"*{_ENDING}"))
        return sorted(int(name) for name in names if name.isdecimal())

    def read(self, number: int) -> tuple[float, Outputs] | None:
        """A trial's value and its outputs."""
        try:
            with safetensors.safe_open(self._path(number), "np") as file:
                record = _record_in(file)
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if record.arrays != _digest(arrays):
                return None
            outputs = Outputs(
                arrays["values"],
                arrays["labels"],
                arrays["groups"],
                classes=record.classes,
                split=record.split,
                shifted=arrays.get(_SHIFTED),
            )
        except _NOT_ONE:
            return None
        return record.value, outputs

    def _known(self, number: int) -> tuple[str, float]:
        """The kind and the value of a trial. What is damaged is the worst of its kind, of which nothing is known."""
        try:
            with safetensors.safe_open(self._path(number), "np") as file:
                record = _record_in(file)
                return record.kind, record.value
        except _NOT_ONE:
            return "", -np.inf if self._sign < 0 else np.inf

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}{_ENDING}"


def _packed(value: float, outputs: Outputs, kind: str) -> bytes:
    arrays = {"values": outputs.values, "labels": outputs.labels, "groups": outputs.groups}
    if outputs.shifted is not None:
        arrays[_SHIFTED] = outputs.shifted
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    record = _Record(_FORMAT, value, outputs.classes, outputs.split, _digest(plain), kind)
    return safetensors.numpy.save(plain, {"made_by": "pomona", _KEY: json_text(sealed(vars(record)), indent=None)})


def _record_in(file: Any) -> _Record:
    """Raises ValueError or KeyError where the file holds no outputs."""
    described = json.loads((file.metadata() or {})[_KEY])
    record = decoded(described, _Record)
    if not is_whole(described) or record.format != _FORMAT:
        raise ValueError("its digest is not that of its contents")
    return record


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = Digest()
    for name in sorted(arrays):
        array = arrays[name]
        digest.add(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.add(array.tobytes())
    return digest.text
