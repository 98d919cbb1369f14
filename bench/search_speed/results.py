"""What was measured, and the file it is kept in: saved after every block, so that a run can be taken up again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from search_spaces import Config, InputError
from training import write_versioned_json
from training.machine.decode import decoded


@dataclass(frozen=True)
class Trained:
    """A config (its place in the list) that was trained; `seconds` without the start of the process."""

    config: int
    seconds: float
    accuracy: float | None


@dataclass(frozen=True)
class Block:
    """Configs trained one after another by one method; `startup` is 0 where its process was there already."""

    method: str
    number: int
    startup: float
    trained: tuple[Trained, ...]

    @property
    def seconds(self) -> float:
        """Wall time of the block without `startup`."""
        return sum(one.seconds for one in self.trained)


@dataclass(frozen=True)
class Search:
    """One search until its target; `seconds` is None where it was not reached. `complete` trials ran to their end."""

    method: str
    seed: int
    seconds: float | None
    complete: int


@dataclass
class Results:
    """`settings` decide what is measured: results of others can't be continued. `about` is for the reader.

    `growth` are blocks of ours over longer lists, each by a process of its own.
    """

    settings: dict[str, Any]
    about: dict[str, Any]
    configs: list[Config]
    blocks: list[Block] = field(default_factory=list)
    growth: list[Block] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)

    def of(self, method: str) -> list[Block]:
        return sorted((block for block in self.blocks if block.method == method), key=lambda block: block.number)

    @property
    def methods(self) -> list[str]:
        """Methods that were measured, in the order asked for."""
        measured = {block.method for block in self.blocks}
        return [name for name in self.settings["methods"] if name in measured]


def save(path: Path, results: Results, derived: dict[str, Any]) -> None:
    """Writes the results with what was `derived` from them."""
    write_versioned_json(path, derived | asdict(results))


def load(path: Path) -> Results:
    """Raises InputError where the file is not of this benchmark."""
    try:
        return decoded(json.loads(path.read_text()), Results)
    except (OSError, ValueError) as problem:
        raise InputError(f"{path} holds no results of this benchmark ({problem}): choose another --results") from None
