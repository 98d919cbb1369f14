"""The engine with several workers on this machine: long-lived processes, each with its GPU or its share of the cores.

They are not forked from the driver, as torch's threads and CUDA do not survive that; and not started by
`multiprocessing`, which would run the caller's script once more in each of them. On a CPU they are forked from a
process that has only imported what they need (`fork_server.py`), so that one that died is replaced within a moment.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import final

import torch

from search_spaces import InputError
from training.frozen.store.limits import MEMORY, memory_limit
from training.lanes.jobs import Job, Verdict, Working
from training.machine.memory import out_of_memory_kills

from ..placement import Placement
from ..plan import Plan
from .deaths import death_by
from .engine import AbstractEngine, Done, Heard, Lost, Said
from .fork_server import ForkServer, Handle
from .process import Crashed, FromWorker, Refused, Started, Stop, Stopped
from .worker import Setup

_WAIT_SECONDS = 0.2


class _Process:
    """A worker's process with our end of its pipe."""

    def __init__(self, number: int, workers: int, setup: Setup, start: Starter) -> None:
        self.number = number
        self.busy = self.started = False
        self._kills_before: int | None = None
        self.connection, theirs = Pipe()
        cores = _share(number, workers)
        threads = max(1, min(len(cores), torch.get_num_threads()))
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        # What one process would keep of frozen outputs, for all together; a user's own figure is one for each.
        environment.setdefault(MEMORY, str(memory_limit() // workers))
        if setup.device.type == "cuda":
            index = setup.device.index
            environment["CUDA_VISIBLE_DEVICES"] = gpu_name(number if index is None else index)
            # Its only one there.
            setup = replace(setup, device=torch.device("cuda"))
        with contextlib.closing(theirs):
            self._handle = start(theirs.fileno(), cores, threads, environment)
        self.connection.send(setup)

    @property
    def pid(self) -> int:
        return self._handle.pid

    def begin(self) -> None:
        """It gets a job."""
        self.busy = True
        self._kills_before = out_of_memory_kills()

    def death(self) -> Lost:
        """How the process ended, once its pipe is closed."""
        self.connection.close()
        before, now = self._kills_before, out_of_memory_kills()
        return death_by(self._handle.wait(), None if before is None or now is None else now - before)

    def end(self) -> None:
        """Ends the process whatever it does."""
        self.connection.close()
        self._handle.kill()
        self._handle.wait()


Starter = Callable[[int, tuple[int, ...], int, Mapping[str, str]], Handle]
"""Starts a worker for the pipe at a descriptor, with its cores, threads and environment."""


def _anew(descriptor: int, cores: tuple[int, ...], threads: int, environment: Mapping[str, str]) -> Handle:
    """A worker that imports all for itself."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from studies.engines.process import main; "
        f"main({descriptor}, {cores!r}, {threads})"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        pass_fds=(descriptor,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # Ctrl-C in the terminal reaches the driver alone.
        start_new_session=True,
    )


@final
class LocalEngine(AbstractEngine):
    """Workers that get jobs and give events through pipes."""

    name = "local"

    def __init__(self, placement: Placement) -> None:
        self.workers = placement.workers
        self._placement = placement
        self._processes: dict[int, _Process] = {}
        self._said: deque[Said] = deque()
        self._fork_server: ForkServer | None = None

    def start(self, plan: Plan, heard: Heard) -> None:
        if os.name != "posix":
            raise InputError("several workers need Linux or macOS: leave --workers out")
        self._setup, self._heard = Setup.of(plan, self._placement), heard
        for number in range(self.workers):
            self._begin(number)
        while not all(process.started for process in self._processes.values()):
            self._listen()
            heard(0, None)

    def submit(self, worker: int, job: Job) -> None:
        if worker not in self._processes:
            self._begin(worker)
        self._processes[worker].begin()
        self._send(worker, job)

    def receive(self) -> Said | None:
        if not self._said:
            self._listen()
        return self._said.popleft() if self._said else None

    def answer(self, worker: int, verdict: Verdict) -> None:
        self._send(worker, verdict)

    def stop(self) -> list[Said]:
        refused: InputError | None = None
        try:
            for worker in self._processes:
                self._send(worker, Stop())
            while self._processes:
                for process, message in self._messages():
                    if isinstance(message, Refused):
                        refused = InputError(message.message)
                    if message is None or isinstance(message, Stopped | Refused | Crashed):
                        self._processes.pop(process.number).death()
                    elif not isinstance(message, Started | Working):
                        self._said.append((process.number, message))
        finally:
            # Left early by whoever does not want to wait for what is saved.
            while self._processes:
                self._processes.popitem()[1].end()
            if self._fork_server is not None:
                self._fork_server.close()
                self._fork_server = None
        said = list(self._said)
        self._said.clear()
        if refused is not None:
            raise refused
        return said

    def processes(self) -> dict[int, int]:
        """The workers' process ids, by their numbers."""
        return {number: process.pid for number, process in self._processes.items()}

    def _begin(self, worker: int) -> None:
        self._processes[worker] = _Process(worker, self.workers, self._setup, self._start_process)

    def _start_process(
        self, descriptor: int, cores: tuple[int, ...], threads: int, environment: Mapping[str, str]
    ) -> Handle:
        # What CUDA does when a process forks that has only imported torch was not tried; on macOS forks are not safe.
        if self._setup.device.type == "cuda" or sys.platform != "linux":
            return _anew(descriptor, cores, threads, environment)
        if self._fork_server is not None:
            with contextlib.suppress(OSError):
                return self._fork_server.start(descriptor, cores, threads, environment)
            self._fork_server.close()
        self._fork_server = ForkServer()
        try:
            return self._fork_server.start(descriptor, cores, threads, environment)
        except OSError as problem:
            raise _not_started(str(problem)) from None

    def _send(self, worker: int, message: Job | Verdict | Stop) -> None:
        # One that has died is found out when it is listened to.
        with contextlib.suppress(OSError):
            self._processes[worker].connection.send(message)

    def _messages(self) -> list[tuple[_Process, FromWorker | None]]:
        """What came within a moment; None from a worker that is gone."""
        by_connection: dict[object, _Process] = {p.connection: p for p in self._processes.values()}
        messages: list[tuple[_Process, FromWorker | None]] = []
        for connection in wait([p.connection for p in self._processes.values()], _WAIT_SECONDS):
            assert isinstance(connection, Connection)
            try:
                messages.append((by_connection[connection], connection.recv()))
            except (EOFError, OSError):
                messages.append((by_connection[connection], None))
        return messages

    def _listen(self) -> None:
        working: list[tuple[int, Working]] = []
        for process, message in self._messages():
            match message:
                case None:
                    self._gone(process)
                case Started():
                    process.started = True
                case Working():
                    working.append((process.number, message))
                case Refused(text):
                    raise InputError(text)
                case Crashed(text):
                    raise RuntimeError(f"a worker found a bug:\n{text}")
                case Stopped():
                    pass
                case _:
                    process.busy = process.busy and not isinstance(message, Done)
                    self._said.append((process.number, message))
        # Last, as it may raise, and what the others said must not be lost with it.
        for number, message in working:
            self._heard(number, message)

    def _gone(self, process: _Process) -> None:
        del self._processes[process.number]
        lost = process.death()
        if process.busy:
            self._said.append((process.number, lost))
        elif not process.started:
            raise _not_started(lost.reason)


def _not_started(reason: str) -> InputError:
    return InputError(f"a worker can't be started ({reason})", "leave --workers out", "look above for why")


def _share(number: int, workers: int) -> tuple[int, ...]:
    """The cores of one of `workers`; where there are fewer cores than workers, one core."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    share = cores[number * len(cores) // workers : (number + 1) * len(cores) // workers]
    return tuple(share or [cores[number % len(cores)]])


def gpu_name(number: int) -> str:
    """What `CUDA_VISIBLE_DEVICES` calls the GPU of a worker: one after the other, and again from the first.

    Names that are there already are kept: of the GPUs 0, 1, 2 and 4 the last is not 3. Where there are none, a GPU's
    UUID is its name, which means the same in whatever order CUDA counts them.
    """
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        names = [name.strip() for name in visible.split(",") if name.strip()]
        return names[number % len(names)]
    number %= torch.cuda.device_count()
    uuid = getattr(torch.cuda.get_device_properties(number), "uuid", None)
    return str(number) if uuid is None else f"GPU-{uuid}"
