"""Both sides of the throughput benchmark do equal work, and as much of it as is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.throughput import core, reference, work
from bench.throughput.cases import ALL, INFERENCE, Case, Variant, cases_of
from bench.throughput.work import work_of
from training.data.augment import DRAWS
from training.data.batches import to_floats
from training.models.backbones import divide

from .throughput_examples import CASE, CPU


def trained(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


# --- what is computed


def test_cases_are_every_combination_and_inference_has_no_depth() -> None:
    cases = cases_of(["a", "b"], [64], [2, 4], ["0", "all"], ["fp32"])
    assert len(set(cases)) == len(cases) == 2 * 2 * 3
    assert {case.depth for case in cases if case.mode == INFERENCE} == {""}


@pytest.mark.parametrize("depth", ["0", "2", ALL])
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "squeezenet1_1"])
def test_both_sides_train_the_same_stages(name: str, depth: str) -> None:
    case = replace(CASE, backbone=name, depth=depth)
    ours = core.Core(case, Variant(channels_last=False), 0, CPU).model
    theirs = reference.Reference(case, CPU).model
    parts = divide(name, theirs)
    assert [trained(stage) for stage in ours.stages] == [trained(stage) for stage in parts.stages]
    assert (sum(trained(stage) for stage in ours.stages) == 0) == (depth == "0")
    assert trained(parts.source_head) > 0


@pytest.mark.parametrize("depth", ["0", "2"])
def test_a_step_changes_what_is_trained_and_nothing_else(depth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(CASE, backbone="resnet18", depth=depth)
    made: list[core.Core] = []
    class_of = core.Core
    monkeypatch.setattr(core, "Core", lambda *given: made.append(class_of(*given)) or made[-1])
    step = core.step_of(case, Variant(channels_last=True), core.resident(case, CPU), 2, CPU)
    (one,) = made
    before = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
    step()
    after = one.model.state_dict()
    frozen = tuple(f"stages.{number}." for number in range(one.cut))
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith(frozen))
    assert not any(torch.equal(before[n], after[n]) for n, p in one.model.named_parameters() if p.requires_grad)


def test_inference_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(CASE, backbone="resnet18", mode=INFERENCE, depth="")
    made: list[core.Core] = []
    class_of = core.Core
    monkeypatch.setattr(core, "Core", lambda *given: made.append(class_of(*given)) or made[-1])
    step = core.step_of(case, Variant(channels_last=False), core.resident(case, CPU), 2, CPU)
    before = {name: tensor.clone() for name, tensor in made[0].model.state_dict().items()}
    step()
    assert all(torch.equal(before[name], tensor) for name, tensor in made[0].model.state_dict().items())


def test_layouts_give_the_same_loss_and_the_head_only_depth_that_of_all_stages_in_the_same_modes() -> None:
    data = core.resident(CASE, CPU)
    pixels, labels, draws = data.images[:2], data.labels[:2], torch.rand(2, DRAWS)
    losses = []
    for variant in (Variant(channels_last=False), Variant(channels_last=True)):
        for depth in ("0", ALL):
            torch.manual_seed(0)
            one = core.Core(replace(CASE, depth=depth), variant, 2, CPU)
            for module in one.model.modules():
                if isinstance(module, nn.Dropout):
                    module.eval()
            losses.append(one.loss(pixels, labels, draws))
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0])


def test_an_epoch_sees_every_image_once_in_an_order_of_its_own() -> None:
    data = core.Resident(torch.zeros(12, 1), torch.zeros(12))
    batches = core._Batches(data, 4)
    address = batches.index.data_ptr()

    def epoch() -> list[int]:
        seen = []
        for _ in range(3):
            batches.advance()
            seen += batches.index.tolist()
        return seen

    torch.manual_seed(0)
    first, second = epoch(), epoch()
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert batches.index.data_ptr() == address


def test_the_reference_sees_the_images_that_ours_does() -> None:
    data = core.resident(CASE, CPU)
    one = core.Core(CASE, Variant(channels_last=False), 0, CPU)
    torch.testing.assert_close(reference._normalised(data.images), one.model.normalise(to_floats(data.images, CPU)))


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
