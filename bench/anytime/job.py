"""What a system is given, and what it gives back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .runs import Point


@dataclass(frozen=True)
class Job:
    """One run. `started` is when its command was started, as `time.time` has it, and `folder` is its own, for files.

    `searched` and `whole` are the photos without and with those that were held back.
    """

    task: str
    system: str
    seed: int
    seconds: float
    epochs: int
    searched: Path
    whole: Path
    weights_dir: Path
    folder: Path
    started: float = 0.0

    @property
    def deadline(self) -> float:
        return self.started + self.seconds


@dataclass(frozen=True)
class Answer:
    """What a run gave. `ended` counts from its start; `pending` as in `Run`."""

    points: tuple[Point, ...]
    ended: float
    command: str
    commit: str
    pending: bool = False
    failure: str = ""
    notes: tuple[str, ...] = ()


def cold(job: Job, code: Path) -> dict[str, str]:
    """The environment of a process that runs the modules in `code` and finds nothing that was computed before."""
    own = {
        "PYTHONPATH": str(code),
        "POMONA_CACHE": str(job.folder / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(job.folder / "inductor"),
        # Its configs were found on some of these tasks.
        "POMONA_PORTFOLIO": "off",
        # The peers train on processors.
        "CUDA_VISIBLE_DEVICES": "",
    }
    left = {name: value for name, value in os.environ.items() if name not in ("POMONA_STORAGE", "PYTHONPATH")}
    return left | own


def started(command: Sequence[str], job: Job, code: Path, output: BinaryIO) -> subprocess.Popen[bytes]:
    """Starts a run's command with the modules in `code`, cold, as the leader of a session; what it says is `output`."""
    return subprocess.Popen(
        command,
        # Not the folder that we are in: modules of ours may lie there.
        cwd=job.folder,
        env=cold(job, code),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that leads a session of its own, and every process that it has started in there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


PYTHON = sys.executable
