"""A worker of the local engine: a process of its own, started anew, that trains what comes through a pipe.

It ends by itself when the driver is gone, at once and without saving: whoever goes on with the study may have begun to
by then. Ctrl-C is not its business, nor what a cluster asks of all
processes of a job; the driver says when to stop.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NoReturn

from search_spaces import InputError
from training.lanes.jobs import Epoch, Event, Job, Ready, Verdict, Working
from training.machine.errors import Interrupted
from training.machine.interrupts import leave_stops_to_others
from training.machine.process import configure

from .engine import Done
from .worker import Setup, Worker

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Stop:
    """To a worker: the job ends now, saved, and so does the process."""


@dataclass(frozen=True)
class Started:
    """From a worker: the data are open."""


@dataclass(frozen=True)
class Stopped:
    """From a worker that was asked to stop: its last word."""


@dataclass(frozen=True)
class Refused:
    """From a worker that can't go on; the message of an `InputError`."""

    message: str


@dataclass(frozen=True)
class Crashed:
    """From a worker that found a bug of ours."""

    traceback: str


ToWorker = Job | Verdict | Stop
FromWorker = Started | Working | Event | Done | Stopped | Refused | Crashed


def main(descriptor: int, cores: tuple[int, ...], threads: int) -> None:
    """Serves the driver at the other end of a pipe until it says stop or is gone."""
    leave_stops_to_others()
    configure()
    if cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cores)
    import torch

    torch.set_num_threads(threads)
    _Server(Connection(descriptor)).serve()


class _Server:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._looked = time.monotonic()

    def serve(self) -> None:
        try:
            self._work()
        except Interrupted:
            self._say(Stopped())
        except InputError as problem:
            self._say(Refused(str(problem)))
        except Exception:
            self._say(Crashed(traceback.format_exc()))

    def _work(self) -> None:
        setup = self._hear()
        assert isinstance(setup, Setup)
        worker = Worker(setup, setup.open_data(), self._check)
        self._say(Started())
        while True:
            job = self._hear()
            if isinstance(job, Stop):
                raise Interrupted("asked to stop")
            assert isinstance(job, Job)
            self._train(worker, job)
            self._say(Done())

    def _train(self, worker: Worker, job: Job) -> None:
        verdict: Verdict | None = None
        # Closed in any case, so that the group is saved.
        with contextlib.closing(worker.run(job)) as events:
            while True:
                try:
                    event = events.send(verdict)
                except StopIteration:
                    return
                self._say(event)
                verdict = None
                if isinstance(event, Ready | Epoch):
                    answer = self._hear()
                    if isinstance(answer, Stop):
                        raise Interrupted("asked to stop")
                    assert isinstance(answer, Verdict)
                    verdict = answer

    def _check(self, working: Working | None) -> None:
        if (now := time.monotonic()) - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        if self._connection.poll():
            self._hear()  # nothing but a stop comes uncalled for
            raise Interrupted("asked to stop")
        if working is not None:
            self._say(working)

    def _hear(self) -> Setup | ToWorker:
        try:
            heard: Setup | ToWorker = self._connection.recv()
        except (EOFError, OSError):
            _leave()
        return heard

    def _say(self, message: FromWorker) -> None:
        try:
            self._connection.send(message)
        except OSError:
            _leave()


def _leave() -> NoReturn:
    os._exit(1)
