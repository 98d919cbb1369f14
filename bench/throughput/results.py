"""What was measured, and the figures that follow from it; kept as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from search_spaces import InputError
from training.machine.files import SCHEMA_VERSION, atomic_write_json

from .cases import Case
from .work import Work

OURS, REFERENCE = "ours", "reference"


@dataclass(frozen=True)
class Spread:
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = [*values]
        return cls(statistics.median(found), min(found), max(found))


@dataclass(frozen=True)
class Candidate:
    """One way to do a case: images/s in each round, none where it could not run, which `note` then explains.

    `peak_bytes` is what it took of the device's memory at most, the photos not counted; None where that is unknown.
    """

    who: str
    layout: str
    variant: str
    rates: tuple[float, ...]
    peak_bytes: int | None = None
    note: str = ""

    @property
    def speed(self) -> Spread:
        return Spread.of(self.rates)


@dataclass(frozen=True)
class Loaded:
    """Images/s of a loader in each round: alone, and with the training that it feeds, whose own rate is `compute`."""

    who: str
    alone: tuple[float, ...]
    together: tuple[float, ...]
    compute: float

    @property
    def limits(self) -> bool:
        return Spread.of(self.alone).median < self.compute


@dataclass(frozen=True)
class Measured:
    """A case; `matmul` (FLOP/s) and `copy` (bytes/s) are the ceilings of the run that measured it."""

    case: Case
    work: Work
    matmul: float
    copy: float
    candidates: tuple[Candidate, ...]
    loaded: tuple[Loaded, ...] = ()

    @property
    def reference(self) -> Candidate | None:
        return next((one for one in self.candidates if one.who == REFERENCE and one.rates), None)

    @property
    def best(self) -> Candidate | None:
        """The fastest of ours."""
        ran = [one for one in self.candidates if one.who == OURS and one.rates]
        return max(ran, key=lambda one: one.speed.median, default=None)

    def ratio(self, candidate: Candidate) -> Spread | None:
        """How many times the reference's rate, by round."""
        peer = self.reference
        if peer is None or not candidate.rates:
            return None
        return Spread.of(a / b for a, b in zip(candidate.rates, peer.rates, strict=True))

    @property
    def compute_bound(self) -> float:
        """Images/s if every operation ran at the rate of matrix products."""
        return self.matmul / self.work.flops

    @property
    def bandwidth_bound(self) -> float:
        """Images/s if memory were accessed at the rate of a copy, by the model of `Work.bytes`."""
        return self.copy / self.work.bytes


@dataclass
class Results:
    """`about` holds the command and the environment."""

    about: dict[str, Any]
    measured: list[Measured] = field(default_factory=list)

    def save(self, path: Path) -> None:
        atomic_write_json(path, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """What a file holds: the measurements with what follows from them."""
        return {
            "schema_version": SCHEMA_VERSION,
            "about": self.about,
            "measured": [_derived(one) for one in self.measured],
        }


def load(path: Path) -> Results:
    """
    Raises:
        InputError: the file can't be read as results.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Results(content["about"], [_measured(entry) for entry in content["measured"]])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(
            f"{path} can't be read as results of this benchmark ({problem}): choose another file"
        ) from None


def _derived(one: Measured) -> dict[str, Any]:
    """The case with what follows from it, so that readers of the file need not compute it."""
    entry = asdict(one) | {"compute_bound": one.compute_bound, "bandwidth_bound": one.bandwidth_bound}
    for candidate, row in zip(one.candidates, entry["candidates"], strict=True):
        ratio = one.ratio(candidate)
        row["images_per_second"] = asdict(candidate.speed) if candidate.rates else None
        row["ratio_to_reference"] = asdict(ratio) if ratio else None
        row["fastest"] = candidate is one.best
    for loaded, row in zip(one.loaded, entry["loaded"], strict=True):
        row["loader_limits"] = loaded.limits
    return entry


def _measured(entry: dict[str, Any]) -> Measured:
    return Measured(
        case=Case(**entry["case"]),
        work=Work(**entry["work"]),
        matmul=entry["matmul"],
        copy=entry["copy"],
        candidates=tuple(
            Candidate(row["who"], row["layout"], row["variant"], tuple(row["rates"]), row["peak_bytes"], row["note"])
            for row in entry["candidates"]
        ),
        loaded=tuple(
            Loaded(row["who"], tuple(row["alone"]), tuple(row["together"]), row["compute"]) for row in entry["loaded"]
        ),
    )
