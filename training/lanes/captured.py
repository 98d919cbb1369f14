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
        self._device = device
        worth = capture is Capture.ALWAYS or (capture is Capture.MEASURED and ahead >= WORTH)
        self._capture = capture if worth and device.type == "cuda" else Capture.NEVER
        self._by_shape: dict[tuple[torch.Size, ...], _OneShape] = {}

    def __call__(self, *inputs: Tensor) -> None:
        if self._capture is Capture.NEVER:
            self._step(*inputs)
            return
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._by_shape:
            self._by_shape[shapes] = _OneShape(
                self._step, self._undo, self._device, always=self._capture is Capture.ALWAYS
            )
        self._by_shape[shapes](*inputs)

    def forget(self) -> None:
        """To be called when tensors that the step reads or writes were replaced: what was captured is dropped."""
        self._by_shape.clear()


class _OneShape:
    """Steps on inputs of one combination of shapes: called at first, then captured, then whichever is faster."""

    def __init__(self, step: Step, undo: Callable[[], None], device: torch.device, *, always: bool) -> None:
        self._step = step
        self._undo = undo
        self._device = device
        self._always = always
        self._calls = 0
        self._called: list[float] = []
        self._replayed: list[float] = []
        self._inputs: tuple[Tensor, ...] = ()
        self._graph: torch.cuda.CUDAGraph | None = None
        # Whether nothing is left to be found out.
        self._settled = False

    def __call__(self, *inputs: Tensor) -> None:
        self._calls += 1
        if self._settled or self._calls <= _WARM_UP:
            self._fastest(*inputs)
        elif self._graph is not None:
            self._replayed.append(self._seconds(self._replay, inputs))
            self._decide()
        elif len(self._called) < _TIMED and not self._always:
            self._called.append(self._seconds(self._step, inputs))
        else:
            self._try_to_capture(inputs)

    def _fastest(self, *inputs: Tensor) -> None:
        if self._graph is None:
            self._step(*inputs)
        else:
            self._replay(*inputs)

    def _decide(self) -> None:
        if len(self._replayed) == _TIMED:
            self._settled = True
            if statistics.median(self._called) < _FASTER * statistics.median(self._replayed):
                self._give_up()

    def _give_up(self) -> None:
        self._graph, self._inputs, self._settled = None, (), True

    def _seconds(self, run: Step, inputs: tuple[Tensor, ...]) -> float:
        torch.cuda.synchronize(self._device)
        started = time.perf_counter()
        run(*inputs)
        torch.cuda.synchronize(self._device)
        return time.perf_counter() - started

    def _replay(self, *inputs: Tensor) -> None:
        assert self._graph is not None
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._graph.replay()

    def _try_to_capture(self, inputs: tuple[Tensor, ...]) -> None:
        """Takes the step, and captures it for those to come if that can be done."""
        if not self._always and not self._fits():
            self._step(*inputs)
            self._give_up()
        elif self._waits(inputs) or not self._captured(inputs):
            self._give_up()
        else:
            self._settled = self._always

    def _fits(self) -> bool:
        """Whether a step fits once more into the device's memory: a graph keeps its own."""
        free, _ = torch.cuda.mem_get_info(self._device)
        allocated = torch.cuda.memory_allocated(self._device)
        spare = free + torch.cuda.memory_reserved(self._device) - allocated
        return torch.cuda.max_memory_allocated(self._device) - allocated < _SHARE * spare

    def _waits(self, inputs: tuple[Tensor, ...]) -> bool:
        """Takes the step, on a stream of its own as a capture does; whether it waited for the device, which a captured
        step can't."""
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as warned, torch.cuda.stream(stream):
                warnings.simplefilter("always")
                self._step(*inputs)
        finally:
            torch.cuda.set_sync_debug_mode(before)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        waited = any(_WAITED in str(warning.message) for warning in warned)
        if waited and self._always:
            raise RuntimeError("a step waits for the device, which can't be captured")
        return waited

    def _captured(self, inputs: tuple[Tensor, ...]) -> bool:
        """Whether the step could be captured; it is not taken."""
        index = torch.cuda.current_device() if self._device.index is None else self._device.index
        generator = torch.cuda.default_generators[index]
        # A capture that fails may leave the generator unusable.
        spare = generator.clone_state()
        graph = torch.cuda.CUDAGraph()
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        try:
            with torch.cuda.graph(graph):
                self._step(*self._inputs)
        # It fails in as many ways as there are operations, and the step can be called all the same.
        except Exception as problem:
            generator.graphsafe_set_state(spare)
            self._undo()
            if self._always:
                raise
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:120]
            note(f"training steps are not captured as a CUDA graph: {reason}")
            return False
        self._graph = graph
        return True
