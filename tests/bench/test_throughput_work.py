"""Both sides of the throughput benchmark do equal work, and as much of it as is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.throughput import core, reference, work
from bench.throughput.cases import ALL, CLASSES, INFERENCE, Case, Variant, cases_of
from bench.throughput.work import work_of
from training.lanes.optimisation import make_optimizer
from training.lanes.suffix import SuffixTrainer
from training.models.backbones import decompose
from training.models.classifier import Head

from .throughput_examples import CASE, CPU

PLAIN = Variant(channels_last=False)


def trained(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


# --- what is computed


def test_cases_are_every_combination_and_inference_has_no_depth() -> None:
    cases = cases_of(["a", "b"], [64], [2, 4], ["0", "all"], ["fp32"])
    assert len(set(cases)) == len(cases) == 2 * 2 * 3
    assert {case.depth for case in cases if case.mode == INFERENCE} == {""}


def a_core(case: Case, variant: Variant = PLAIN, strength: int = 2) -> core.Core:
    return core.Core(case, variant, core.resident(case, CPU), strength, CPU)


@pytest.mark.parametrize("depth", ["0", "2", ALL])
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "squeezenet1_1"])
def test_both_sides_train_the_same_stages(name: str, depth: str) -> None:
    case = replace(CASE, backbone=name, depth=depth)
    runner = a_core(case).runner
    theirs = reference.Reference(case, CPU).model
    parts = decompose(name, theirs)
    if isinstance(runner, SuffixTrainer):
        assert [trained(stage) for stage in runner.model.stages] == [trained(stage) for stage in parts.stages]
    else:
        assert depth == "0"
        assert not any(trained(stage) for stage in parts.stages)
    assert trained(parts.source_head) > 0


@pytest.mark.parametrize("depth", ["0", "2"])
def test_a_step_changes_what_is_trained_and_nothing_else(depth: str) -> None:
    one = a_core(replace(CASE, backbone="resnet18", depth=depth), Variant(channels_last=True))

    def state() -> dict[str, torch.Tensor]:
        if isinstance(one.runner, SuffixTrainer):
            tensors = dict(one.runner.model.state_dict())
        else:
            stages = one.prefixes.backbone("resnet18").stages
            tensors = {f"stages.{n}.{name}": t for n, s in enumerate(stages) for name, t in s.state_dict().items()}
            spec = one.case.spec()
            head = Head(512, CLASSES, spec.head)
            one.runner.copy_to(0, head, make_optimizer(spec.optimizer, head.parameters()))
            tensors |= {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
        return {name: tensor.clone() for name, tensor in tensors.items()}

    before = state()
    next(one.epoch())
    after = state()
    frozen = tuple(f"stages.{number}." for number in range(one.structure.cut))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith(frozen) for name in changed)
    assert {name for name in before if name.startswith("head.")} <= changed
    if depth != "0":
        assert any(name.startswith("stages.") for name in changed)


def test_inference_changes_nothing() -> None:
    one = a_core(replace(CASE, backbone="resnet18", mode=INFERENCE, depth=""))
    stages = nn.ModuleList(one.prefixes.backbone("resnet18").stages)
    before = {name: tensor.clone() for name, tensor in stages.state_dict().items()}
    assert sum(1 for _ in one.scoring()) == len(one.split) // CASE.batch_size
    assert all(torch.equal(before[name], tensor) for name, tensor in stages.state_dict().items())


def test_an_epoch_sees_every_image_once_in_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    one = a_core(CASE)
    seen: list[int] = []
    monkeypatch.setattr(one.runner, "step", lambda batch: seen.extend(batch.index.tolist()))
    monkeypatch.setattr(one.runner, "end", lambda _: [])
    for _ in range(2):
        for _ in one.epoch():
            pass
    first, second = seen[: len(one.split)], seen[len(one.split) :]
    assert sorted(first) == sorted(second) == list(range(len(one.split)))
    assert first != second


def test_the_reference_sees_the_images_that_ours_does() -> None:
    one = a_core(CASE, strength=0)
    batch = next(one.unchanged().batches())
    torch.testing.assert_close(reference._normalised(one.split.inputs[batch.index]), batch.at(0))


# --- how much work that is


def test_operations_are_those_that_others_count() -> None:
    """torchvision's own figure for ResNet-18 at 224 is 1.814 billion multiplications with their additions."""
    case = Case("resnet18", 224, 8, INFERENCE, "", "fp32")
    assert work_of(case, CPU).flops == pytest.approx(2 * 1.814e9, rel=0.002)


@pytest.mark.parametrize(
    "name", ["squeezenet1_1", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenet_v2", "resnet18"))]
)
def test_more_stages_that_train_are_more_work(name: str) -> None:
    case = replace(CASE, backbone=name)
    head, some, everything = (work_of(replace(case, depth=depth), CPU) for depth in ("0", "2", ALL))
    inference = work_of(replace(case, mode=INFERENCE, depth=""), CPU)
    # Backward is twice forward, save the gradient of the first layer's input.
    assert inference.flops < head.flops < some.flops < everything.flops < 3 * inference.flops
    assert everything.flops > 2.5 * inference.flops
    assert inference.bytes < head.bytes < some.bytes < everything.bytes
    half = work_of(replace(case, precision="bf16"), CPU)
    assert half.flops == everything.flops
    assert half.bytes < everything.bytes


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (2, 1), (8, 2)])
@pytest.mark.parametrize("wants_input", [True, False])
def test_a_backward_pass_of_a_convolution_is_twice_its_forward_pass(
    groups: int, stride: int, wants_input: bool
) -> None:
    layer = nn.Conv2d(8, 16, 3, stride=stride, groups=groups)
    images = torch.zeros(2, 8, 9, 9, requires_grad=wants_input)
    with work.counting_flops() as forward:
        out = layer(images)
    with work.counting_flops() as backward:
        out.sum().backward()
    assert forward.get_total_flops() == 2 * out.numel() * 3 * 3 * 8 // groups
    assert backward.get_total_flops() == (1 + wants_input) * forward.get_total_flops()


def test_traffic_of_layers_is_what_they_read_and_write() -> None:
    frozen, trained_layer = nn.Linear(4, 8), nn.Linear(8, 2)
    frozen.requires_grad_(False)
    model = nn.Sequential(frozen, nn.ReLU(), nn.Identity(), trained_layer)
    with work._traffic(model) as traffic:
        model(torch.zeros(5, 4))
    assert traffic == [4 * 5 * (4 + 8), 4 * 5 * (8 + 8), 3 * 4 * 5 * (8 + 2)]
    assert not any(module._forward_hooks for module in model.modules())
