"""A lowered backbone computes what the backbone does, to rounding, and leaves it as it is."""

from __future__ import annotations

import ast
import copy
import gc
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from search_spaces import InputError
from training import Numerics
from training.models.backbones import BACKBONES, build
from training.models.backbones.backbone import Backbone, Preprocessing
from training.models.kernels import uncompiled_depthwise
from training.models.kernels.clamped_convolution import ClampedConv2d
from training.models.kernels.pointwise_convolution import PointwiseConv2d
from training.models.kernels.uncompiled_depthwise import UncompiledDepthwise
from training.models.lowering import Lowered, in_the_long_run, lower

from ...toys import toy_backbone

ROOT = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")
LAST = Numerics("fp32", channels_last=True)
# The large ones have the parts of the small ones.
NAMES = [name for name in BACKBONES if name not in ("vgg16", "resnet101", "resnet152")]


def with_statistics(backbone: Backbone) -> Backbone:
    """Batch-norms of random weights change next to nothing: these have something to say."""
    generator = torch.Generator().manual_seed(1)
    for module in nn.ModuleList(backbone.stages).modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.weight is not None:
                module.weight.data.uniform_(0.5, 2, generator=generator)
                module.bias.data.normal_(0, 0.1, generator=generator)
    return backbone


def backbone_of(stage: nn.Module, channels: int = 3) -> Backbone:
    toy = toy_backbone()
    preprocessing = Preprocessing((0.5,) * channels, (0.25,) * channels)
    return Backbone((stage,), (4,), preprocessing, toy.pool, toy.source_head, "b", "0", "made up")


def a_backbone(name: str) -> Backbone:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    return with_statistics(toy_backbone() if name == "toy" else build(name))


def images(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(2))


# --- frozen stages


@pytest.mark.parametrize("name", ["toy", *NAMES, "timm:tf_efficientnet_lite0"])
@pytest.mark.parametrize("numerics", [Numerics(), LAST], ids=str)
@torch.no_grad()
def test_frozen_stages_compute_the_same(name: str, numerics: Numerics) -> None:
    backbone = a_backbone(name)
    before = copy.deepcopy(nn.ModuleList(backbone.stages).state_dict())
    seen = images(2, 96).contiguous(memory_format=numerics.memory_format)
    norms = 0
    for lowered, stage in zip(
        lower(backbone, len(backbone.stages), numerics, CPU).frozen, backbone.stages, strict=True
    ):
        assert not any(parameter.requires_grad for parameter in lowered.parameters())
        mine, seen = lowered(seen), stage(seen)
        torch.testing.assert_close(mine, seen, rtol=1e-3, atol=1e-4 * float(seen.abs().max()))
        norms += sum(isinstance(module, nn.BatchNorm2d) for module in stage.modules())
        folded = [m for m in lowered.modules() if isinstance(m, nn.BatchNorm2d) and "forward" in m.__dict__]
        # Every stage of these was folded: a norm that no convolution could take over would show here.
        if norms:
            assert len(folded) == sum(isinstance(module, nn.BatchNorm2d) for module in stage.modules())
    after = nn.ModuleList(backbone.stages).state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_convolutions_clamp_their_own_output() -> None:
    backbone = with_statistics(build("mobilenet_v2"))
    frozen = lower(backbone, 2, LAST, CPU).frozen
    assert all(type(m) is ClampedConv2d for m in frozen.modules() if isinstance(m, nn.Conv2d))


@torch.no_grad()
def test_a_convolution_whose_output_is_seen_elsewhere_is_left_alone() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            assert self.norm.running_mean is not None
            self.norm.running_mean.fill_(0.3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen = self.conv(images)
            return torch.as_tensor(self.norm(seen) + seen)

    (frozen,) = lower(backbone_of(Branching()), 1, Numerics(), CPU).frozen
    assert type(frozen.conv) is nn.Conv2d
    assert "forward" not in frozen.norm.__dict__


# --- stages that train


def trained_twice(backbone: Backbone, count: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The last stages in torch's own modules, and lowered."""
    stages = LAST.place(nn.Sequential(*copy.deepcopy(backbone.stages[-count:])), CPU)
    return stages, nn.Sequential(*lower(backbone, len(backbone.stages) - count, LAST, CPU).trained)


@pytest.mark.parametrize("own_statistics", [False, True], ids=["pretrained", "batch"])
@pytest.mark.parametrize(
    "name",
    [
        "toy",
        *(pytest.param(n, marks=pytest.mark.slow) if n == "resnet50" else n for n in NAMES),
        "timm:tf_efficientnet_lite0",
    ],
)
def test_trained_stages_are_the_same_layers(name: str, own_statistics: bool) -> None:
    backbone = a_backbone(name)
    count = min(3, len(backbone.stages) - 1)
    before = nn.Sequential(*backbone.stages[:-count])
    stages, mine = trained_twice(backbone, count)
    assert mine.state_dict().keys() == stages.state_dict().keys()
    assert [name for name, _ in mine.named_parameters()] == [name for name, _ in stages.named_parameters()]
    with torch.no_grad():
        seen = before(images(6, 96)).contiguous(memory_format=torch.channels_last)
    for part in (stages, mine):
        part.train()
        for module in part.modules():
            if isinstance(module, nn.BatchNorm2d) and not own_statistics:
                module.eval()
    results = []
    for part in (stages, mine):
        torch.manual_seed(3)  # for the dropout that some hold
        given = seen.clone().requires_grad_()
        found = part(given)
        found.square().mean().backward()
        results.append([found, given.grad, *(parameter.grad for parameter in part.parameters())])
    # Some gradients are nothing but rounding: what a norm's input is shifted by, its output doesn't see.
    noise = 1e-6 * max(float(theirs.detach().abs().max()) for theirs in results[0] if theirs is not None)
    for theirs, ours in zip(*results, strict=True):
        assert theirs is not None
        assert ours is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.detach().abs().max()) + noise)
    torch.testing.assert_close(mine.state_dict(), stages.state_dict(), rtol=1e-4, atol=1e-5)


def test_which_convolutions_are_fused() -> None:
    _, mine = trained_twice(build("mobilenet_v2"), 3)
    assert sum(isinstance(module, PointwiseConv2d) for module in mine.modules()) == 5


def test_other_convolutions_stay_what_they_are() -> None:
    others = nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, stride=2), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 1, padding=1)
    )
    (mine,) = lower(backbone_of(others, 4), 0, LAST, CPU).trained
    assert all(type(module) is nn.Conv2d for module in mine)
    (alone,) = lower(backbone_of(nn.Conv2d(4, 8, 1), 4), 0, LAST, CPU).trained
    assert isinstance(alone, PointwiseConv2d)


def test_trained_stages_are_copies() -> None:
    backbone = toy_backbone()
    stages = nn.ModuleList(backbone.stages)
    before = copy.deepcopy(stages.state_dict())
    mine = lower(backbone, 0, LAST, CPU).trained
    with torch.no_grad():
        for parameter in mine.parameters():
            parameter.add_(1)
    assert all(torch.equal(before[key], tensor) for key, tensor in stages.state_dict().items())


def test_gradients_reach_the_input_only_where_they_are_wanted() -> None:
    backbone = toy_backbone()
    _, mine = trained_twice(backbone, 1)
    with torch.no_grad():
        seen = nn.Sequential(*backbone.stages[:-1])(images(2, 16))
    mine(seen.contiguous(memory_format=torch.channels_last)).sum().backward()
    assert all(parameter.grad is not None for parameter in mine.parameters())


# --- both


def test_every_stage_is_in_one_half_on_its_device_and_in_its_layout() -> None:
    backbone = build("mobilenet_v2")
    meta = torch.device("meta")
    for cut in (0, 5, len(backbone.stages)):
        lowered = lower(backbone, cut, LAST, meta)
        assert (len(lowered.frozen), len(lowered.trained)) == (cut, len(backbone.stages) - cut)
        for half in (lowered.frozen, lowered.trained):
            assert all(tensor.device == meta for tensor in half.state_dict().values())
            assert all(p.is_contiguous(memory_format=torch.channels_last) for p in half.parameters() if p.ndim == 4)
    # Nothing is fused that was measured on a CPU only.
    trained = lower(backbone, 0, LAST, meta).trained
    assert all(type(module) is nn.Conv2d for module in trained.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize("cut", [-1, 4])
def test_a_backbone_is_cut_between_its_stages(cut: int) -> None:
    with pytest.raises(InputError, match="cut at 0 to 3"):
        lower(toy_backbone(), cut, Numerics(), CPU)


def test_a_backbone_that_nobody_holds_is_freed() -> None:
    backbone = build("mobilenet_v2")
    lowered = lower(backbone, 5, LAST, CPU)
    assert len(lowered.frozen) + len(lowered.trained) == len(backbone.stages)
    gone = [weakref.ref(backbone), *(weakref.ref(stage) for stage in backbone.stages)]
    del backbone, lowered
    gc.collect()
    assert all(ref() is None for ref in gone)


def test_chains_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from training.models.backbones import backbone as module

    calls: list[int] = []
    original = module.find_chains
    monkeypatch.setattr(module, "find_chains", lambda *given: calls.append(1) or original(*given))
    backbone = toy_backbone()
    for cut in (0, 3):
        lowered = lower(backbone, cut, LAST, CPU)
        assert len(lowered.frozen) + len(lowered.trained) == 3
    assert len(calls) == 1


# Besides `lower`: the pool's own mean, what chains are checked with, and what measures operators one by one.
FAST_PATH = {
    "bench/kernels.py",
    "training/models/lowering.py",
    "training/models/backbones/backbone.py",
    "training/models/backbones/chains.py",
}


def test_nobody_else_puts_the_fast_path_together() -> None:
    """Fused operators and folding are imported in one place, and modules are laid out there."""
    found = set()
    for package in ("training", "studies", "bench", "pomona"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = {one.name for one in node.names} if isinstance(node, ast.ImportFrom) else set()
                module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
                # The number of the operators' revision is for the keys of what is kept.
                imports = ("kernels" in module.split(".") and names != {"REVISION"}) or names & {"fold", "bypass"}
                places = isinstance(node, ast.Attribute) and node.attr == "place"
                if (imports or places) and path.parent.name != "kernels":
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == FAST_PATH


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm:tf_efficientnet_lite0"])
def test_with_depthwise_convolutions_that_nothing_is_compiled_for_it_computes_the_same(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(Lowered, "_uncompiled", True)
    backbone = a_backbone(name)
    frozen = lower(backbone, len(backbone.stages), LAST, CPU).frozen
    asked: list[object] = []
    monkeypatch.setattr(uncompiled_depthwise, "uncompiled_depthwise", lambda *values: asked.append(values))
    values = images(1, 64).contiguous(memory_format=torch.channels_last)
    with in_the_long_run():
        for stage in frozen:
            values = stage(values)
    assert not asked
    monkeypatch.undo()
    depthwise = [module for stage in backbone.stages for module in stage.modules() if getattr(module, "groups", 1) > 1]
    assert len(depthwise) == sum(isinstance(module, UncompiledDepthwise) for module in frozen.modules()) > 10
    values, expected = images(2, 64).contiguous(memory_format=torch.channels_last), images(2, 64)
    for mine, stage in zip(frozen, backbone.stages, strict=True):
        values, expected = mine(values), stage.eval()(expected)
        torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-4 * float(expected.detach().abs().max()))
