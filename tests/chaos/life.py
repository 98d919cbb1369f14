"""A driver from its start to its end, as who disturbs it sees it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from .place import Orders, Place
from .said import Said

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Process:
    """A worker's process. A descriptor names it and no other one, even when it is gone and its number is used again."""

    descriptor: int

    @staticmethod
    def of(pid: int) -> Process | None:
        """None where it is gone already."""
        try:
            return Process(os.pidfd_open(pid))
        except ProcessLookupError:
            return None

    def has_ended(self, seconds: float = 0.0) -> bool:
        """Whether it ends within so many seconds."""
        return bool(select.select([self.descriptor], [], [], seconds)[0])

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)


class Life:
    """A driver that was started. `processes` are all that its workers had."""

    def __init__(self, place: Place, orders: Orders) -> None:
        with place.errors.open("ab") as errors:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.driver", json.dumps(asdict(orders))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=place.environment,
                cwd=_ROOT,
            )
        assert self._popen.stdout is not None
        self._output = self._popen.stdout
        self._rest = b""
        self.processes: list[Process] = []
        self._workers: dict[int, Process] = {}
        self._is_killed = self.is_at_work = False
        """Whether all its workers have started and one of them was given a trial, until nothing is left to do."""

    def __enter__(self) -> Life:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._popen.kill()
        self._popen.wait()
        self._output.close()

    @property
    def code(self) -> int:
        """How it ended, which it has."""
        return self._popen.wait()

    def heard(self, seconds: float) -> list[Said] | None:
        """What it says within so many seconds; None when it has ended."""
        if not select.select([self._output], [], [], max(seconds, 0.0))[0]:
            return []
        if not (more := os.read(self._output.fileno(), 1 << 16)):
            return None
        *lines, self._rest = (self._rest + more).split(b"\n")
        said = [Said.of(line) for line in lines]
        for one in said:
            self._follow(one)
        return said

    def _follow(self, said: Said) -> None:
        if said.event in ("job", "finished"):
            self.is_at_work = said.event == "job" and not self._is_killed
        if said.event == "process":
            self._workers.pop(said.worker, None)
            if (process := Process.of(said.pid)) is not None:
                self._workers[said.worker] = process
                self.processes.append(process)

    def workers(self) -> dict[int, Process]:
        """Those that live, by their numbers."""
        return {worker: process for worker, process in self._workers.items() if not process.has_ended()}

    def kill(self) -> float:
        """Kills the driver; says when."""
        self._popen.kill()
        self._is_killed, self.is_at_work = True, False
        return time.monotonic()
