"""A method in a process of its own, which starts clean and stays for all of the method's blocks."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from search_spaces import Config, InputError
from training.machine.process import configure

from .job import Job
from .methods import Method

_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Ended:
    """A config of a block that was trained: its position in the block, seconds and accuracy."""

    position: int
    seconds: float
    accuracy: float | None


class Process:
    """`startup` counts the seconds from the start of the process until the method was ready for its first config.

    Caches of ours and of torch's compiler lie in `cache`, where nothing is computed yet.
    """

    def __init__(self, method: Method, job: Job, cache: Path) -> None:
        self._method = method
        started = time.monotonic()
        self._child = Child(_serve, (method, job), cache)
        self._child.receive()
        self.startup = time.monotonic() - started
        self._idle = True

    def train(self, configs: Sequence[Config], on_ended: Callable[[Ended], None]) -> list[Ended]:
        """Trains a block; `on_ended` hears of each config as it ends. The sum of seconds is the block's wall time."""
        self._idle = False
        started = last = time.monotonic()
        self._child.send(list(configs))
        ended: list[Ended] = []
        while (answer := self._child.receive()) is not None:
            now = time.monotonic()
            ended.append(Ended(answer[0], now - last, answer[1]))
            last = now
            on_ended(ended[-1])
        self._idle = True
        if self._method.together:
            share = (time.monotonic() - started) / len(configs)
            ended = [Ended(one.position, share, one.accuracy) for one in ended]
        return sorted(ended, key=lambda one: one.position)

    def close(self) -> None:
        self._child.close(patience=30 if self._idle else 0)


class Child:
    """A process that runs `target(connection, *arguments)`; what it raises is raised here by `receive`."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...], cache: Path) -> None:
        self._connection, theirs = _SPAWN.Pipe()
        environment = {
            "POMONA_CACHE": str(cache / "pomona"),
            "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
            # Its configs were found on the tasks that are searched here.
            "POMONA_PORTFOLIO": "off",
        }
        self._process = _SPAWN.Process(target=_run, args=(target, theirs, arguments))
        with _environment(environment):
            self._process.start()
        theirs.close()

    def send(self, message: object) -> None:
        self._connection.send(message)

    def receive(self) -> Any:
        """
        Raises:
            InputError: the child did.
            RuntimeError: it failed otherwise, or ended.
        """
        try:
            kind, value = self._connection.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the process ended with code {self._process.exitcode}") from None
        if kind == "input error":
            raise InputError(value)
        if kind == "failure":
            raise RuntimeError(f"the process failed:\n{value}")
        return value

    def close(self, patience: float = 30) -> None:
        """Ends the process: by itself within `patience` seconds, as it does when it waits for us, or else for sure."""
        self._connection.close()
        self._process.join(patience)
        self._process.terminate()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _run(target: Callable[..., None], connection: Connection, arguments: tuple[Any, ...]) -> None:
    # Of ours and of its peers alike: they differ in their method, not in what their process is told.
    configure()
    # The parent decides when to stop, also on Ctrl-C; what this process started ends with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # What this process starts, such as a loader's workers, it forks, as a process that was not spawned itself would.
    multiprocessing.set_start_method("fork", force=True)
    # stdout is for the answer of the benchmark, and some tools print to it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        target(Sender(connection), *arguments)
    except InputError as problem:
        connection.send(("input error", str(problem)))
    except Exception:
        connection.send(("failure", traceback.format_exc()))


class Sender:
    """The child's end of the line."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, value: object) -> None:
        self._connection.send(("value", value))

    def receive(self) -> Any:
        """Raises EOFError when the parent has gone."""
        return self._connection.recv()


def _serve(parent: Sender, method: Method, job: Job) -> None:
    train = method.prepare(job)
    parent.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            for ended in train(parent.receive()):
                parent.send(ended)
            parent.send(None)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
