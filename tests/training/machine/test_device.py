"""Which device a name means."""

from __future__ import annotations

import platform

import pytest
import torch

from search_spaces import InputError
from training import resolve_device
from training.machine import device
from training.machine.device import describe_device, is_processor
from training.models.numerics import emulates_bf16


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


@pytest.mark.usefixtures("three_gpus")
def test_one_of_several_gpus() -> None:
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:2") == torch.device("cuda", 2)
    with pytest.raises(InputError, match="there is cuda:0 to cuda:2"):
        resolve_device("cuda:3")


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:-1", "cuda:x", "cuda1", "CPU", "cuda:٣", ""])
@pytest.mark.usefixtures("three_gpus")
def test_what_is_no_device_is_said(name: str) -> None:
    with pytest.raises(InputError, match="unknown device"):
        resolve_device(name)


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:0"):
        with pytest.raises(InputError, match="no CUDA device"):
            resolve_device(name)


@pytest.mark.parametrize(
    ("amx", "avx512", "named"),
    [
        (True, True, "a processor with AMX"),
        (False, True, "a processor with AVX-512 bf16"),
        (False, False, "a processor"),
    ],
)
def test_a_processor_is_told_from_another_of_its_name(
    monkeypatch: pytest.MonkeyPatch, *, amx: bool, avx512: bool, named: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(device, "_processor", lambda: "a processor")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    cpu = torch.device("cpu")
    assert describe_device(cpu) == f"{named}, {torch.get_num_threads()} threads"
    assert is_processor(describe_device(cpu))
    assert emulates_bf16(cpu) == (not amx and not avx512)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert not emulates_bf16(cpu)
