"""Which device a name means."""

from __future__ import annotations

import pytest
import torch

from search_spaces import InputError
from training import resolve_device


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
