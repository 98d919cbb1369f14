"""A group of lanes on disk: one folder an epoch that appears as a whole, so that all lanes go on from the same epoch.

They have to: neighbours change a lane's sums in their last digits. A folder is named after its epoch and holds a file
a lane.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ..machine.files import write_error
from ..machine.leftovers import remove_files
from .group import LaneGroup
from .jobs import Member, part_folder
from .lane_state import LaneState, load_lane, save_lane
from .results import State
from .saved_lanes import lane_file

_UNFINISHED = "unfinished-"
_LANE_FILES = r"\d{5,}\.safetensors"


class Saves(Protocol):
    """Where a runner keeps its group."""

    def wanted(self, group: LaneGroup) -> bool:
        """Whether the group is to be saved whatever the clock says."""

    def save(self, group: LaneGroup, *, leaving: bool = False) -> bool:
        """Keeps all lanes as they are after the last whole epoch; False where that was not needed.

        `leaving`: nobody may go on with them, so how well they did is kept too.

        Raises:
            InputError: no room or no permission; what was kept before stays.
        """

    def load(self, members: Sequence[Member]) -> tuple[int, dict[int, LaneState]]:
        """The epoch from which the group goes on, and the lanes as they were; 0 and none where it begins."""

    def part(self, key: int) -> Saves:
        """For the lanes that go on without the others; `key` is the first of them."""


class GroupFolder:
    """The saved lanes of a group.

    Args:
        folders: see `Job`.
        about: plain data that must be the same when the lanes are loaded.
        latest: see `Job`.
    """

    def __init__(self, folders: Sequence[Path], about: dict[str, Any], latest: int) -> None:
        self._folders = tuple(folders)
        self._about = about
        self._latest = latest

    def wanted(self, group: LaneGroup) -> bool:
        return False

    def save(self, group: LaneGroup, *, leaving: bool = False) -> bool:
        lanes = [lane for lane in group.lanes if lane.curve]
        if not lanes:
            return False
        folder = self._folders[0]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
        except OSError as problem:
            raise write_error(folder, problem) from None
        before = _saves_in(folder)
        try:
            for lane in lanes:
                # With an interval that takes a while to find, too much for a save now and then.
                result = group.result(lane.key, State.PRUNED) if leaving else None
                about = self._about | {"config": lane.config}
                save_lane(_file(unfinished, lane.key), group.state(lane.key), about, result)
            # Later than all that are there: a stop may come again and again within one epoch.
            turn = 1 + max((turn for epoch, turn, _ in before if epoch == group.epoch), default=-1)
            unfinished.rename(folder / f"{group.epoch:06d}-{turn}")
        except BaseException as problem:
            remove_files(unfinished, _LANE_FILES)
            if isinstance(problem, OSError):
                raise write_error(folder, problem) from None
            raise
        for _, _, path in before:
            remove_files(path, _LANE_FILES)
        return True

    def load(self, members: Sequence[Member]) -> tuple[int, dict[int, LaneState]]:
        for folder in self._folders:
            for epoch, _, path in _saves_in(folder):
                there = [member for member in members if member.left is None or member.left > epoch]
                states = {member.key: self._load(path, member) for member in there}
                found = {key: state for key, state in states.items() if state is not None}
                if epoch <= self._latest and len(found) == len(there):
                    return epoch, found
        return 0, {}

    def part(self, key: int) -> GroupFolder:
        # Below the folder of the whole group, the last one, also where a part is divided: whoever goes on looks there.
        return GroupFolder((part_folder(self._folders[-1], key), *self._folders), self._about, self._latest)

    def _load(self, folder: Path, member: Member) -> LaneState | None:
        return load_lane(_file(folder, member.key), self._about | {"config": member.config})


def _saves_in(folder: Path) -> list[tuple[int, int, Path]]:
    """Epochs, which save of each it is, and folders, latest first."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            epoch, dash, turn = path.name.partition("-")
            if dash and epoch.isdigit() and turn.isdigit():
                found.append((int(epoch), int(turn), path))
    return sorted(found, reverse=True)


def _file(folder: Path, key: int) -> Path:
    return folder / lane_file(key)
