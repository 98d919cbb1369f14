"""The engine on a Ray cluster: long-lived actors, each with its share of a GPU or of the cores, wherever Ray has them.

Ray places the actors and says when one is gone; which trial is next, and what becomes of lost ones, is decided by the
driver as with any engine. An actor's method trains until an answer is wanted and gives back what was said until then,
so that nothing is ever pushed to the driver. Actors end with the driver: Ray sees to that.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, final

import torch

from search_spaces import InputError
from training.lanes.jobs import Epoch, Job, Ready, Verdict, Working
from training.lanes.runner import Events
from training.machine.errors import Interrupted
from training.machine.process import configure

from ..placement import Placement
from ..plan import Plan
from .engine import AbstractEngine, Done, Heard, Lost, Said
from .process import Crashed, FromWorker, Refused, Started, Stopped
from .worker import Setup, Worker

_WAIT_SECONDS = 0.2
_LOOK_SECONDS = 0.5
# Until the cluster has room for the workers, and until it has started them.
_START_SECONDS = 120.0
# Until somebody answers at an address.
_REACH_SECONDS = 5.0


# The thread of each method of an actor.
_THREADS = {"open": "train", "train": "train", "leave": "train", "stop": "ask", "working": "ask", "process": "ask"}


class _Actor:
    """What runs in an actor's process, in two threads: one trains, the other one is there to be asked meanwhile."""

    def __init__(self, setup: Setup) -> None:
        configure()
        self._setup = setup
        self._worker: Worker | None = None
        self._events: Events | None = None
        self._stopping = threading.Event()
        self._working: Working | None = None

    def open(self) -> list[FromWorker]:
        """Opens the data."""
        return self._answered(self._open)

    def train(self, message: Job | Verdict) -> list[FromWorker]:
        """Goes on until an answer is wanted, or the job is done; what was said meanwhile."""
        return self._answered(lambda said: self._go_on(message, said))

    def leave(self) -> list[FromWorker]:
        """Ends the job that waits for an answer, its group saved."""

        def close(said: list[FromWorker]) -> None:
            if self._events is not None:
                events, self._events = self._events, None
                events.close()
            said.append(Stopped())

        return self._answered(close)

    def stop(self) -> None:
        """Ends the work under way as soon as it is looked whether it should go on."""
        self._stopping.set()

    def working(self) -> Working | None:
        """What the actor is doing."""
        return self._working

    def process(self) -> int:
        """Its process id, on whatever machine it is."""
        return os.getpid()

    def _open(self, said: list[FromWorker]) -> None:
        self._worker = Worker(self._setup, self._setup.open_data(), self._check)
        said.append(Started())

    def _go_on(self, message: Job | Verdict, said: list[FromWorker]) -> None:
        assert self._worker is not None
        verdict: Verdict | None = None
        if isinstance(message, Job):
            self._events = self._worker.run(message)
        else:
            verdict = message
        assert self._events is not None
        while True:
            try:
                event = self._events.send(verdict)
            except StopIteration:
                self._events = self._working = None
                said.append(Done())
                return
            said.append(event)
            if isinstance(event, Ready | Epoch):
                return
            verdict = None

    def _check(self, working: Working | None) -> None:
        if self._stopping.is_set():
            raise Interrupted("asked to stop")
        if working is not None:
            self._working = working

    def _answered(self, do: Callable[[list[FromWorker]], None]) -> list[FromWorker]:
        """What `do` says, and how it ended where that was not as usual."""
        said: list[FromWorker] = []
        try:
            do(said)
        except Interrupted:
            said.append(Stopped())
        except InputError as problem:
            said.append(Refused(str(problem)))
        except Exception:
            said.append(Crashed(traceback.format_exc()))
        return said


class _Call(NamedTuple):
    """To whom a call went whose result is to come. A worker that was lost is replaced by another actor."""

    worker: int
    actor: Any


@final
class RayEngine(AbstractEngine):
    """Actors of an existing cluster, or of one that is started here where no address is given."""

    name = "ray"

    def __init__(self, placement: Placement) -> None:
        self.workers = placement.workers
        self._placement = placement
        self._address = placement.ray_address
        self._actors: dict[int, Any] = {}
        # Those of them that have a place in the cluster, and opened the data.
        self._started: set[Any] = set()
        self._calls: dict[Any, _Call] = {}
        # Those that ask what a worker is doing.
        self._looks: dict[Any, _Call] = {}
        self._looked = 0.0
        self._said: deque[Said] = deque()
        self._started_here = False

    def check(self) -> None:
        _imported()
        if self._address:
            refuse_unreachable(self._address)

    def start(self, plan: Plan, heard: Heard) -> None:
        self.check()
        self._ray = _imported()
        # Of whatever GPUs there are, an actor sees its own alone.
        setup = Setup.of(plan, self._placement)
        self._heard, self._setup = heard, replace(setup, device=torch.device(setup.device.type))
        self._connect()
        gpus = self._setup.memory_share if self._setup.device.type == "cuda" else 0
        nodes = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        cores = 1 if gpus else cores_each(nodes, self.workers)
        self._class = _remote(self._ray).options(num_gpus=gpus, num_cpus=cores, max_restarts=0)
        for worker in range(self.workers):
            self._begin(worker)
        began = time.monotonic()
        while self._calls:
            self._listen()
            if self._calls and time.monotonic() - began > _START_SECONDS:
                each = f"{cores} {'core' if cores == 1 else 'cores'}{f' and {gpus:.3g} of a GPU' if gpus else ''}"
                raise InputError(
                    f"the Ray cluster has no room for {self.workers} workers with {each} each",
                    "make room",
                    "use fewer --workers",
                )
        if lost := [said.reason for _, said in self._said if isinstance(said, Lost)]:
            raise InputError(f"a worker can't be started ({lost[0]})")

    def submit(self, worker: int, job: Job) -> None:
        if worker not in self._actors:
            # An actor's calls are done one after the other: the job waits for the data.
            self._begin(worker)
        self._train(worker, job)

    def answer(self, worker: int, verdict: Verdict) -> None:
        self._train(worker, verdict)

    def receive(self) -> Said | None:
        if not self._said:
            self._listen()
        return self._said.popleft() if self._said else None

    def stop(self) -> list[Said]:
        refused: InputError | None = None
        try:
            for worker, actor in list(self._actors.items()):
                if actor not in self._started:
                    # It has no place, and would not answer before it has one.
                    self._ray.kill(actor)
                    self._forget(_Call(worker, actor))
            for actor in self._actors.values():
                actor.stop.remote()
            for worker, actor in self._actors.items():
                self._calls[actor.leave.remote()] = _Call(worker, actor)
            while self._calls:
                for worker, message in self._results():
                    if isinstance(message, Refused):
                        refused = InputError(message.message)
                    elif not isinstance(message, Started | Stopped | Crashed | Working | Lost):
                        self._said.append((worker, message))
        finally:
            # Left early by whoever does not want to wait for what is saved.
            self._end()
        said = list(self._said)
        self._said.clear()
        if refused is not None:
            raise refused
        return said

    def processes(self) -> dict[int, int]:
        """The workers' process ids, by their numbers."""
        return {worker: self._ray.get(actor.process.remote()) for worker, actor in self._actors.items()}

    # ---

    def _connect(self) -> None:
        """Raises InputError where no cluster answers at the address."""
        if self._ray.is_initialized():
            return
        options: dict[str, Any] = {"address": self._address or "local"}
        if not self._address:
            # Of its own: another program's cluster may be running here.
            options["include_dashboard"] = False
        try:
            self._ray.init(log_to_driver=False, **options)
        except (ConnectionError, RuntimeError, ValueError) as problem:
            line = str(problem).strip().partition("\n")[0]
            where = f"at {self._address}" if self._address else "can be started here"
            raise InputError(f"no Ray cluster {where}: {line}") from None
        self._started_here = True

    def _begin(self, worker: int) -> None:
        self._actors[worker] = actor = self._class.remote(self._setup)
        self._calls[actor.open.remote()] = _Call(worker, actor)

    def _train(self, worker: int, message: Job | Verdict) -> None:
        actor = self._actors[worker]
        self._calls[actor.train.remote(message)] = _Call(worker, actor)

    def _results(self) -> list[tuple[int, FromWorker | Lost]]:
        """What came within a moment; `Lost` once from a worker that is gone."""
        ready, _ = self._ray.wait(list(self._calls), timeout=_WAIT_SECONDS)
        found: list[tuple[int, FromWorker | Lost]] = []
        for call in ready:
            if (to := self._calls.pop(call, None)) is None:
                continue
            try:
                messages = self._ray.get(call)
                if any(isinstance(message, Started) for message in messages):
                    self._started.add(to.actor)
                found += [(to.worker, message) for message in messages]
            except self._ray.exceptions.RayError as problem:
                self._forget(to)
                found.append((to.worker, Lost(str(problem).strip().partition("\n")[0])))
        return found

    def _forget(self, gone: _Call) -> None:
        """Of an actor that is gone nothing more is to come."""
        self._calls = {call: to for call, to in self._calls.items() if to.actor is not gone.actor}
        if self._actors.get(gone.worker) is gone.actor:
            del self._actors[gone.worker]

    def _listen(self) -> None:
        for worker, message in self._results() if self._calls else ():
            match message:
                case Refused(text):
                    raise InputError(text)
                case Crashed(text):
                    raise RuntimeError(f"a worker found a bug:\n{text}")
                case Started() | Stopped() | Working():
                    pass
                case _:
                    self._said.append((worker, message))
        # Last, as it may raise, and what the others said must not be lost with it.
        for worker, working in self._looks_of_workers():
            self._heard(worker, working)
        self._heard(0, None)

    def _looks_of_workers(self) -> list[tuple[int, Working]]:
        """What the workers that train are doing, asked now and then."""
        if (now := time.monotonic()) - self._looked < _LOOK_SECONDS:
            return []
        self._looked = now
        found: list[tuple[int, Working]] = []
        ready = self._ray.wait(list(self._looks), num_returns=len(self._looks), timeout=0)[0] if self._looks else []
        for call in ready:
            to = self._looks.pop(call)
            # Whoever is gone is found out by what it trains.
            with contextlib.suppress(self._ray.exceptions.RayError):
                if (working := self._ray.get(call)) is not None:
                    found.append((to.worker, working))
        asked = [to.actor for to in self._looks.values()]
        for to in {to.worker: to for to in self._calls.values()}.values():
            if to.actor not in asked:
                self._looks[to.actor.working.remote()] = to
        return found

    def _end(self) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._started.clear()
        self._calls.clear()
        self._looks.clear()
        if self._started_here:
            self._ray.shutdown()
            self._started_here = False


def refuse_unreachable(address: str) -> None:
    """Raises InputError where nobody listens at HOST:PORT or ray://HOST:PORT: Ray would go on trying.

    What else it takes, such as `auto`, it refuses by itself.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise InputError(
            f"no Ray cluster at {address} ({reason})",
            "begin one with `ray start --head`",
            "leave --ray-address out, and one is started here",
        ) from None


def cores_each(nodes: Sequence[int], workers: int) -> int:
    """The most cores that each of the workers can have, all on one node; 1 where there is no room for all of them."""
    fitting = (cores for cores in range(max(nodes, default=1), 0, -1) if sum(n // cores for n in nodes) >= workers)
    return next(fitting, 1)


def _imported() -> Any:
    # What Ray collects about its use is for the user to allow.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise InputError("--engine ray needs the package ray: pip install 'pomona[ray]'") from None
    return ray


def _remote(ray: Any) -> Any:
    """`_Actor` as a class of Ray's, which need not be there to import this module."""
    threads = {name: ray.method(concurrency_group=thread)(getattr(_Actor, name)) for name, thread in _THREADS.items()}
    actor = type("_RayActor", (_Actor,), threads | {"__module__": __name__})
    return ray.remote(concurrency_groups=dict.fromkeys(_THREADS.values(), 1))(actor)
