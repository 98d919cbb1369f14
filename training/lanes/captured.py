"""A training step that a GPU replays by itself, as one CUDA graph, where that was measured to be faster.

A step of small batches or of many layers waits for Python to launch its kernels one by one. Captured once, all of them
are launched by the device. See docs/decisions/0016-one-step-captured.md.
"""

from __future__ import annotations

import enum
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ..machine.digest import note

Step = Callable[..., None]
"""A function of tensors that reads and writes nothing but them and tensors that stay where they are."""

# Steps that make what a step needs (the optimizer's state, the libraries' choices of kernels) before any is timed.
_WARM_UP = 3
# Steps of each kind that are timed; the median counts.
_TIMED = 7
WORTH = 200
"""Steps over which a capture pays for itself."""
# How much faster a replay has to be, so that noise does not decide.
_FASTER = 1.05
# Of the memory that is free, what a capture may take.
_SHARE = 0.9
# What torch warns of where an operation waits for the device.
_WAITED = "called a synchronizing CUDA operation"


class Capture(enum.StrEnum):
    """Whether steps are captured: where that was measured to be faster, always (or it fails), or never."""

    MEASURED = "measured"
    ALWAYS = "always"
    NEVER = "never"


class CapturedStep:
    """`step`, which is called as it is or replayed; both compute the same.

    On a device other than a CUDA GPU, and where fewer than some hundred steps are `ahead`, it is always called. Random
    numbers come from the device's default generator, in a replay as in a call, so its state may be set between steps.
    Inputs of every combination of shapes are captured for themselves.
    """

    def __init__(
        self,
        step: Step,
        undo: Callable[[], None],
        device: torch.device,
        ahead: int,
        capture: Capture = Capture.MEASURED,
    ) -> None:
        """`undo` drops what a step leaves that fails in the middle, such as gradients."""
        self._step = step
        self._undo = undo
        worth = capture is Capture.ALWAYS or (capture is Capture.MEASURED and ahead >= WORTH)
        self._gpu = Cuda(device) if worth and device.type == "cuda" else None
        self._always = capture is Capture.ALWAYS
        self._by_shape: dict[tuple[torch.Size, ...], _OneShape] = {}

    def __call__(self, *inputs: Tensor) -> None:
        if self._gpu is None:
            self._step(*inputs)
            return
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._by_shape:
            self._by_shape[shapes] = _OneShape(self._step, self._undo, self._gpu, always=self._always)
        self._by_shape[shapes](*inputs)

    def forget(self) -> None:
        """To be called when tensors that the step reads or writes were replaced: what was captured is dropped."""
        self._by_shape.clear()


class Gpu(Protocol):
    """What capturing asks of a device; tests put another one in its place."""

    def seconds(self, run: Callable[[], None]) -> float:
        """From an idle device to an idle device."""

    def has_room(self) -> bool:
        """Whether a step fits once more into the device's memory: a graph keeps its own."""

    def waits(self, run: Callable[[], None]) -> bool:
        """Runs it, and says whether it waited for the device, which nothing that is captured can."""

    def captured(self, run: Callable[[], None]) -> Callable[[], None]:
        """What replays `run`, which is not run.

        Raises:
            Exception: it can't be captured; there are as many reasons as there are operations.
        """


class _OneShape:
    """Steps on inputs of one combination of shapes: called at first, then captured, then whichever is faster."""

    def __init__(self, step: Step, undo: Callable[[], None], gpu: Gpu, *, always: bool) -> None:
        self._step = step
        self._undo = undo
        self._gpu = gpu
        self._always = always
        self._calls = 0
        self._called: list[float] = []
        self._replayed: list[float] = []
        # What the graph reads from.
        self._inputs: tuple[Tensor, ...] = ()
        self._graph: Callable[[], None] | None = None
        # Whether nothing is left to be found out.
        self._settled = False

    def __call__(self, *inputs: Tensor) -> None:
        self._calls += 1
        if self._settled or self._calls <= _WARM_UP:
            self._take(*inputs)
        elif self._graph is not None:
            self._replayed.append(self._gpu.seconds(lambda: self._take(*inputs)))
            self._decide()
        elif len(self._called) < _TIMED and not self._always:
            self._called.append(self._gpu.seconds(lambda: self._take(*inputs)))
        elif self._always or self._gpu.has_room():
            self._capture(*inputs)
        else:
            self._settled = True
            self._take(*inputs)

    def _take(self, *inputs: Tensor) -> None:
        if self._graph is None:
            self._step(*inputs)
            return
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._graph()

    def _decide(self) -> None:
        if len(self._replayed) == _TIMED:
            self._settled = True
            if statistics.median(self._called) < _FASTER * statistics.median(self._replayed):
                self._graph, self._inputs = None, ()

    def _capture(self, *inputs: Tensor) -> None:
        """Takes the step, and captures it for those to come if that can be done."""
        self._settled = self._always
        if self._gpu.waits(lambda: self._step(*inputs)):
            if self._always:
                raise RuntimeError("a step waits for the device, which can't be captured")
            self._settled = True
            return
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        try:
            self._graph = self._gpu.captured(lambda: self._step(*self._inputs))
        except Exception as problem:
            self._undo()
            if self._always:
                raise
            self._settled, self._inputs = True, ()
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:120]
            note(f"training steps are not captured as a CUDA graph: {reason}")


class Cuda:
    """A CUDA GPU, as `Gpu` has it. Everything runs on a stream of its own, as a capture must."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None

    def seconds(self, run: Callable[[], None]) -> float:
        torch.cuda.synchronize(self._device)
        started = time.perf_counter()
        run()
        torch.cuda.synchronize(self._device)
        return time.perf_counter() - started

    def has_room(self) -> bool:
        free, _ = torch.cuda.mem_get_info(self._device)
        allocated = torch.cuda.memory_allocated(self._device)
        spare = free + torch.cuda.memory_reserved(self._device) - allocated
        return torch.cuda.max_memory_allocated(self._device) - allocated < _SHARE * spare

    def waits(self, run: Callable[[], None]) -> bool:
        stream = self._own_stream()
        current = torch.cuda.current_stream(self._device)
        stream.wait_stream(current)
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as warned, torch.cuda.stream(stream):
                warnings.simplefilter("always")
                run()
        finally:
            torch.cuda.set_sync_debug_mode(before)
        current.wait_stream(stream)
        return any(_WAITED in str(warning.message) for warning in warned)

    def captured(self, run: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device):
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            # A capture that fails may leave the generator unusable.
            spare = generator.clone_state()
            try:
                with torch.cuda.graph(graph, stream=self._own_stream()):
                    run()
            except Exception:
                generator.graphsafe_set_state(spare)
                raise
        return graph.replay

    def _own_stream(self) -> torch.cuda.Stream:
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return self._stream
