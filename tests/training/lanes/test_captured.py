"""A captured step: each call takes exactly one, whatever is found out about the device meanwhile.

No GPU is needed: another device stands in, whose graph runs the step again on the tensors that it was captured with.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from training import Numerics, Phase, resolve
from training.lanes import captured, suffix
from training.lanes.captured import WORTH, Capture, CapturedStep
from training.lanes.optimisation import Update, make_optimizer
from training.lanes.suffix import SuffixTrainer
from training.models.classifier import Head
from training.scoring.objectives import CrossEntropy

from ...toys import TOY, toy_backbone

CUDA = torch.device("cuda")
UNTIL_CAPTURED = captured._WARM_UP + captured._TIMED + 1


class FakeGpu:
    """A graph of it takes `replay_seconds`, a call one second."""

    def __init__(
        self, replay_seconds: float = 0.5, room: bool = True, waits: bool = False, breaks: bool = False
    ) -> None:
        self.replay_seconds, self.room, self.waiting, self.breaks = replay_seconds, room, waits, breaks
        self.graphs = 0
        self.replays = 0
        self._replayed = False

    def seconds(self, run: Callable[[], None]) -> float:
        self._replayed = False
        run()
        return self.replay_seconds if self._replayed else 1.0

    def has_room(self) -> bool:
        return self.room

    def waits(self, run: Callable[[], None]) -> bool:
        run()
        return self.waiting

    def captured(self, run: Callable[[], None]) -> Callable[[], None]:
        if self.breaks:
            raise RuntimeError("operation not permitted when stream is capturing\nand a trace")
        self.graphs += 1

        def replay() -> None:
            self.replays += 1
            self._replayed = True
            run()

        return replay


class Trained:
    """A layer with momentum: a step too few, too many or on the wrong numbers shows in its weights."""

    def __init__(
        self,
        gpu: FakeGpu,
        monkeypatch: pytest.MonkeyPatch,
        capture: Capture,
        ahead: int = WORTH,
        device: torch.device = CUDA,
    ) -> None:
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)
        self.optimizer = torch.optim.SGD(self.layer.parameters(), lr=0.01, momentum=0.9)
        self.undone = 0
        monkeypatch.setattr(captured, "Cuda", lambda _: gpu)
        self.step = CapturedStep(self.take, self.undo, device, ahead, capture)

    def take(self, inputs: Tensor, labels: Tensor) -> None:
        (self.layer(inputs) - labels).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def undo(self) -> None:
        self.undone += 1


def batches(sizes: list[int]) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.rand(n, 3, generator=generator), torch.rand(n, 1, generator=generator)) for n in sizes]


@given(
    sizes=st.lists(st.sampled_from([4, 5]), max_size=40),
    capture=st.sampled_from(Capture),
    gpu=st.builds(FakeGpu, st.sampled_from([0.5, 0.99, 2.0]), room=st.booleans(), waits=st.just(False)),
    forgotten=st.integers(0, 40),
)
@settings(max_examples=25)
def test_every_call_is_one_step_on_its_own_inputs(
    sizes: list[int], capture: Capture, gpu: FakeGpu, forgotten: int
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        mine = Trained(gpu, monkeypatch, capture)
        plain = Trained(FakeGpu(), monkeypatch, Capture.NEVER)
        for number, (inputs, labels) in enumerate(batches(sizes)):
            if number == forgotten:
                mine.step.forget()
            mine.step(inputs, labels)
            plain.take(inputs, labels)
    assert torch.equal(mine.layer.weight, plain.layer.weight)


def after(count: int, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, capture: Capture, **more: Any) -> Trained:
    trained = Trained(gpu, monkeypatch, capture, **more)
    for inputs, labels in batches([4] * count):
        trained.step(inputs, labels)
    return trained


def test_what_is_faster_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    count = UNTIL_CAPTURED + captured._TIMED + 10
    for seconds, replays in ((0.5, captured._TIMED + 10), (0.99, captured._TIMED), (2.0, captured._TIMED)):
        gpu = FakeGpu(seconds)
        after(count, gpu, monkeypatch, Capture.MEASURED)
        assert (gpu.graphs, gpu.replays) == (1, replays)


def test_each_shape_has_a_graph_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu()
    trained = Trained(gpu, monkeypatch, Capture.ALWAYS)
    for inputs, labels in batches([4, 5] * 10):
        trained.step(inputs, labels)
    assert gpu.graphs == 2
    assert gpu.replays == 20 - 2 * (captured._WARM_UP + 1)


@pytest.mark.parametrize("why", ["few steps", "no room", "waits", "breaks", "another device"])
def test_where_it_can_not_be_captured_it_is_called(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(room=why != "no room", waits=why == "waits", breaks=why == "breaks")
    ahead = WORTH - 1 if why == "few steps" else WORTH
    device = torch.device("cpu") if why == "another device" else CUDA
    trained = after(2 * UNTIL_CAPTURED, gpu, monkeypatch, Capture.MEASURED, ahead=ahead, device=device)
    assert (gpu.graphs, gpu.replays) == (0, 0)
    assert trained.undone == (why == "breaks")


@pytest.mark.parametrize("gpu", [FakeGpu(waits=True), FakeGpu(breaks=True)], ids=["waits", "breaks"])
def test_a_capture_that_is_wanted_fails_aloud(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="captur"):
        after(UNTIL_CAPTURED, gpu, monkeypatch, Capture.ALWAYS)


# --- what is captured


def a_trainer(device: torch.device, **changes: Any) -> SuffixTrainer:
    backbone = toy_backbone()
    spec = resolve(TOY, TOY.space.activate(TOY.recipe | {"momentum": 0.9, "unfrozen_stages": 2} | changes))
    head = Head(16, 3, spec.head).to(device)
    phase = Phase(first=1, epochs=4, cut=1, rate_factor=1.0)
    numerics, loss = Numerics(), CrossEntropy(3)
    return SuffixTrainer(0, spec, backbone, head, phase, 6, seed=0, done=0, numerics=numerics, device=device, loss=loss)


@pytest.mark.parametrize(
    "changes", [{}, {"dropout": 0.3, "label_smoothing": 0.1, "head_width": 8}], ids=["plain", "all"]
)
def test_nothing_of_a_step_is_made_elsewhere_or_asks_for_a_value(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On torch's `meta` device, where an operation fails that reads a value or meets a tensor of another device."""
    meta = torch.device("meta")
    monkeypatch.setattr(Numerics, "autocast", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(suffix, "make_optimizer", lambda _, parameters: torch.optim.SGD(list(parameters), lr=0.1))
    trainer = a_trainer(meta, **changes)
    updated: list[list[torch.device]] = []
    parameters = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    trainer._update = lambda: updated.append([parameter.grad.device for parameter in parameters])  # type: ignore[assignment,union-attr,return-value]
    trainer._take(torch.empty(8, 8, 8, 8, device=meta), torch.empty(8, dtype=torch.int64, device=meta))
    assert updated == [[meta] * len(parameters)]
    assert trainer._losses.device == meta


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_rate_that_lies_on_the_device_is_read_at_each_step(optimizer: str) -> None:
    torch.manual_seed(0)
    spec = resolve(TOY, TOY.space.activate(TOY.recipe | {"momentum": 0.9, "optimizer": optimizer}))
    weights = [nn.Parameter(torch.rand(4, 3)), nn.Parameter(torch.rand(4))]
    others = copy.deepcopy(weights)
    plain, mine = make_optimizer(spec.optimizer, weights), make_optimizer(spec.optimizer, others)
    rate = torch.zeros(())
    updates = Update(plain), Update(mine, rate)
    called: set[str] = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            called.add(str(function))
            return function(*args, **(kwargs or {}))

    for now in (0.1, 0.05, 0.2):
        for group in (*plain.param_groups, *mine.param_groups):
            group["lr"] = now
        rate.fill_(now)
        for parameters in (weights, others):
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, 0.1)
        updates[0]()
        with Watch():
            updates[1]()
    assert f"aten._fused_{optimizer}_.tensor_lr" in called
    for one, other in zip(weights, others, strict=True):
        torch.testing.assert_close(one, other)
        assert one.grad is None
        assert other.grad is None
