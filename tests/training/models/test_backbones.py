from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from search_spaces import InputError
from training.machine import vision
from training.models.backbones import BACKBONES, Backbone, assemble, build, decompose, freeze, source_model
from training.models.backbones.backbone import RANDOM, AveragePool, digest_of
from training.models.weights import load_backbone

from ...contracts.backbone import BackboneCase, BackboneContract, measure_statistics
from ...shared import SHARED_DATA, SHARED_WEIGHTS, needs_data, needs_weights

needs_timm = pytest.mark.skipif(not vision.has_timm(), reason="timm is not installed")
TIMM_NAMES = (
    "tf_efficientnet_lite0",
    "resnet18",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "test_vit2",
    "mambaout_femto",
)
SIZE = 64
# Built as resnet50 is, only deeper.
_DEEP = ("resnet101", "resnet152")
_PARAMS = [pytest.param(name, marks=pytest.mark.slow) if name in _DEEP else name for name in BACKBONES]


@pytest.fixture(
    scope="module", params=[*_PARAMS, *(pytest.param(f"timm:{name}", marks=needs_timm) for name in TIMM_NAMES)]
)
def case(request: pytest.FixtureRequest) -> BackboneCase:
    torch.manual_seed(0)
    model = source_model(request.param)
    measure_statistics(model, torch.randn(2, 3, SIZE, SIZE))
    backbone = assemble(request.param, decompose(request.param, model), RANDOM)
    return BackboneCase(backbone, model, torch.randn(2, 3, SIZE, SIZE))


class TestEveryBackbone(BackboneContract):
    pass


@pytest.mark.parametrize(
    ("name", "stages"),
    [("squeezenet1_1", 13), ("mobilenet_v2", 19), pytest.param("timm:tf_efficientnet_lite0", 9, marks=needs_timm)],
)
def test_build_makes_random_weights_from_torchs_random_state(name: str, stages: int) -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(build(name))
    first, again, other = made
    assert first.name == name
    assert len(first.stages) == stages
    assert first.origin == RANDOM
    assert not first.trained
    assert first.weights_digest == again.weights_digest != other.weights_digest
    assert not any(module.training for stage in first.stages for module in stage.modules())


def test_vgg16_has_a_stage_for_each_pooling() -> None:
    with torch.device("meta"):
        parts = decompose("vgg16", source_model("vgg16"))
    assert len(parts.stages) == 5
    assert all(isinstance(list(stage.modules())[-1], nn.MaxPool2d) for stage in parts.stages)


def test_a_cut_outside_the_stages_is_refused() -> None:
    backbone = build("squeezenet1_1")
    for cut in (-1, 14):
        with pytest.raises(InputError, match="squeezenet1_1 can be cut at 0 to 13"):
            backbone.split(cut)


def test_an_unknown_name_is_answered_with_the_names() -> None:
    with pytest.raises(InputError, match=r"did you mean mobilenet_v2\?") as caught:
        build("mobilenetv2")
    assert all(name in str(caught.value) for name in BACKBONES)


@lru_cache(maxsize=1)
def _squeezenet() -> Backbone:
    return build("squeezenet1_1")


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_the_digest_sees_every_value(data: st.DataObject) -> None:
    backbone = _squeezenet()
    tensors = list(nn.ModuleList(backbone.stages).state_dict().values())
    flat = data.draw(st.sampled_from(tensors)).view(-1)
    position = data.draw(st.integers(0, len(flat) - 1))
    kept = flat[position].clone()
    flat[position] = kept + 1e-3
    changed = digest_of(backbone.stages)
    flat[position] = kept
    assert changed != backbone.weights_digest == digest_of(backbone.stages)


def test_the_digest_leaves_out_what_no_result_depends_on() -> None:
    stage = nn.BatchNorm2d(3)
    digest = digest_of([stage])
    stage.num_batches_tracked += 1
    assert digest_of([stage]) == digest
    stage.running_mean += 1
    assert digest_of([stage]) != digest


def test_freezing_is_undone_by_a_lower_cut() -> None:
    stages = [nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)) for _ in range(3)]
    freeze(stages, 3)
    freeze(stages, 1)
    assert [next(stage.parameters()).requires_grad for stage in stages] == [False, True, True]
    assert [stage[1].training for stage in stages] == [False, True, True]


@given(channel_axis=st.sampled_from([1, -1]), normalise=st.booleans())
def test_average_pool_is_the_mean_of_each_channel(channel_axis: int, normalise: bool) -> None:
    features = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    pooled = AveragePool(channel_axis, normalise)(features)
    expected = features.mean((2, 3)) if channel_axis == 1 else features.mean((1, 2))
    if normalise:
        expected = (expected - expected.mean(1, keepdim=True)) / expected.std(1, correction=0, keepdim=True)
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)


def test_convnexts_pool_is_its_own_layer_norm_before_scale_and_shift() -> None:
    torch.manual_seed(0)
    model = source_model("convnext_tiny")
    backbone = assemble("convnext_tiny", decompose("convnext_tiny", model), RANDOM)
    features = torch.randn(2, 768, 2, 2)
    with torch.no_grad():
        own = model.classifier[0](model.avgpool(features)).flatten(1)
    torch.testing.assert_close(backbone.pool(features), own)


@needs_timm
class TestTimm:
    def test_an_unknown_model_is_answered_with_a_close_one(self) -> None:
        with pytest.raises(InputError, match=r"did you mean timm:resnet18\?"):
            build("timm:resnet_18")

    @pytest.mark.parametrize("name", ["timm:hf_hub:timm/resnet18.a1_in1k", "timm:local-dir:.", "timm:"])
    def test_a_place_is_no_name(self, name: str) -> None:
        with pytest.raises(InputError, match="timm has no model"):
            build(name)

    def test_an_unknown_tag(self) -> None:
        with pytest.raises(InputError, match="nonesuch"):
            build("timm:resnet18.nonesuch")

    @pytest.mark.parametrize("name", ["timm:xcit_nano_12_p16_224", "timm:levit_128s"])
    def test_a_model_that_is_no_chain_is_refused(self, name: str) -> None:
        with pytest.raises(InputError, match="can't be followed"):
            build(name)

    def test_a_norm_without_history_is_not_missed(self) -> None:
        """It moves its input by five millionths, and still is part of the features."""
        model = source_model("timm:test_resnet")
        stages = len(decompose("timm:test_resnet", model).stages)

        class WithNorm(type(model)):  # type: ignore[misc]
            def forward_features(self, x: torch.Tensor) -> torch.Tensor:
                return self.last_norm(super().forward_features(x))

        model.__class__ = WithNorm
        del model.global_pool, model.fc
        model.last_norm = nn.BatchNorm2d(96)
        assert len(decompose("timm:test_resnet", model).stages) == stages + 1

    def test_preprocessing_is_the_models_own(self) -> None:
        preprocessing = build("timm:tf_efficientnet_lite0").preprocessing
        assert preprocessing.mean == preprocessing.std == (0.5, 0.5, 0.5)

    def test_a_vit_equals_timms_own_at_its_own_resolution_and_takes_others(self) -> None:
        torch.manual_seed(0)
        own = vision.timm().create_model("vit_tiny_patch16_224").eval()
        model = source_model("timm:vit_tiny_patch16_224")
        model.load_state_dict(own.state_dict())
        parts = decompose("timm:vit_tiny_patch16_224", model)
        chain = nn.Sequential(*parts.stages, parts.source_head)
        images = torch.randn(1, 3, 224, 224)
        with torch.no_grad():
            torch.testing.assert_close(chain(images), own(images))
            assert chain(images[..., :160, :160]).shape == (1, 1000)
        with pytest.raises(InputError, match=r"multiples of 16 as resolution, not 100"):
            chain(images[..., :100, :100])

    def test_a_model_of_one_resolution_says_so(self) -> None:
        backbone = build("timm:gmixer_12_224")
        with pytest.raises(InputError, match="takes only resolution 224, not 128"):
            backbone.stages[0](torch.zeros(1, 3, 128, 128))

    def test_a_copy_is_independent(self) -> None:
        """Shells share their tables with the model they were taken from; a copy must not."""
        torch.manual_seed(0)
        backbone = build("timm:test_vit2")
        twin = copy.deepcopy(backbone)
        mine = {id(parameter) for part in (*backbone.stages, backbone.source_head) for parameter in part.parameters()}
        assert not any(id(p) in mine for part in (*twin.stages, twin.source_head) for p in part.parameters())
        images = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            before = backbone.source_head(backbone.split(0)[1](images))
            for parameter in nn.ModuleList(twin.stages).parameters():
                parameter.zero_()
            assert torch.equal(backbone.source_head(backbone.split(0)[1](images)), before)

    def test_it_is_asked_for_by_name_where_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(InputError, match=r"pip install 'pomona\[timm\]'"):
            build("timm:resnet18")


@needs_weights
@needs_data
def test_real_photos_through_real_weights_equal_torchvision() -> None:
    import safetensors.torch

    backbone = load_backbone("mobilenet_v2", weights_dir=SHARED_WEIGHTS)
    model = source_model("mobilenet_v2")
    model.load_state_dict(safetensors.torch.load_file(SHARED_WEIGHTS / "mobilenet_v2.safetensors"))
    transforms = vision.torchvision().transforms
    prepare = transforms.Compose([transforms.Resize((160, 160)), transforms.ToTensor()])
    photos = torch.stack([prepare(Image.open(path).convert("RGB")) for path in _photos()])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (backbone.preprocessing.mean, backbone.preprocessing.std))
    images = (photos - mean) / std
    with torch.no_grad():
        expected = model(images)
        for cut in (0, 10, 19):
            prefix, suffix = backbone.split(cut)
            torch.testing.assert_close(backbone.source_head(suffix(prefix(images))), expected)
    names = vision.torchvision().models.get_model_weights("mobilenet_v2").DEFAULT.meta["categories"]
    seen = {names[number] for number in expected.argmax(1)}
    assert seen & {"Granny Smith", "banana", "orange", "lemon"}, f"ImageNet's fruit is not recognised: {seen}"


def _photos() -> Iterator[Path]:
    for folder in sorted((SHARED_DATA / "fruit" / "valid").glob("fresh*")):
        yield from sorted(folder.iterdir())[:3]
