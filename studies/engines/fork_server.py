"""Where workers come from: one process that has imported everything, and is copied for each of them.

A worker that died is replaced within a moment, where a new Python would import torch for seconds first. The process
that is copied does nothing but import: it computes nothing and touches no GPU, so that neither torch's threads nor CUDA
have begun when it forks. Requests come through a socket, each a line of JSON and its answer another one; a worker's end
of its pipe comes along with the request.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

_UNKNOWN = 255
_LONGEST = 1 << 16


class Handle(Protocol):
    """A worker's process, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...
    def wait(self) -> int: ...
    def kill(self) -> None: ...


class Child:
    """A `Handle` of a worker that the server started."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self._code: int | None = None

    def wait(self) -> int:
        """The exit code once it has ended, negative for a signal; 255 where nobody knows."""
        if self._code is None:
            self._code = self._server.wait(self.pid)
        return self._code

    def kill(self) -> None:
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """Starts workers, and says how they ended. It is a process of its own, which ends with this object's."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from studies.engines.fork_server import serve; "
            f"serve({theirs.fileno()})"
        )
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", code],
                # What is computed in a worker is in as many threads as it is told.
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Ctrl-C in the terminal reaches the driver alone.
                start_new_session=True,
            )

    def start(self, descriptor: int, cores: Sequence[int], threads: int, environment: Mapping[str, str]) -> Child:
        """A worker that serves the pipe at `descriptor`.

        Raises:
            OSError: the server is gone.
        """
        request = {"cores": list(cores), "threads": threads, "environment": dict(environment)}
        return Child(self, int(self._asked(request, [descriptor])["pid"]))

    def wait(self, pid: int) -> int:
        """The exit code of a worker that it started, once that has ended; 255 where nobody knows."""
        try:
            return int(self._asked({"wait": pid}, [])["code"])
        except OSError:
            return _UNKNOWN

    def close(self) -> None:
        """Ends the server; workers live on."""
        # A fork of the caller's program may hold the socket too.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._popen.wait()

    def _asked(self, request: Mapping[str, Any], descriptors: list[int]) -> dict[str, Any]:
        line = json.dumps(request).encode() + b"\n"
        answer = b""
        try:
            socket.send_fds(self._socket, [line], descriptors)
            while not answer.endswith(b"\n"):
                if not (part := self._socket.recv(_LONGEST)):
                    raise OSError("the process that starts workers is gone")
                answer += part
        except BaseException:
            # The answer to come would be taken for that to the next request.
            self._socket.close()
            raise
        found: dict[str, Any] = json.loads(answer)
        return found


def serve(control: int) -> NoReturn:
    """Starts workers until nobody asks any more."""
    from training.machine.interrupts import leave_stops_to_others
    from training.machine.process import configure

    leave_stops_to_others()

    configure()
    import torch

    from .process import main

    asks = socket.socket(fileno=control)
    while True:
        line, descriptors, _, _ = socket.recv_fds(asks, _LONGEST, 1)
        while line and not line.endswith(b"\n"):
            line += asks.recv(_LONGEST) or os._exit(0)
        if not line:
            os._exit(0)
        request = json.loads(line)
        if "wait" in request:
            answer = {"code": _code_of(request["wait"])}
        else:
            (descriptor,) = descriptors
            assert not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
            if not (pid := os.fork()):
                asks.close()
                life = functools.partial(main, descriptor, tuple(request["cores"]), request["threads"])
                _live(life, request["environment"])
            # Where this copy stayed open, the worker's death would not be heard of.
            os.close(descriptor)
            answer = {"pid": pid}
        asks.sendall(json.dumps(answer).encode() + b"\n")


def _live(life: Callable[[], None], environment: Mapping[str, str]) -> NoReturn:
    """The life of a worker, from the fork to its end."""
    code = 1
    try:
        os.setsid()
        os.environ.clear()
        os.environ.update(environment)
        life()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


def _code_of(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return _UNKNOWN
