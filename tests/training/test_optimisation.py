import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from search_spaces import InputError
from training.optimisation import make_optimizer, schedule


@given(st.integers(1, 2000))
def test_the_schedule_rises_then_falls_within_its_peak(steps: int) -> None:
    shares = [schedule(step, steps) for step in range(steps)]
    assert all(0 <= share <= 1 for share in shares)
    assert max(shares) == 1
    top = shares.index(1)
    assert shares[:top] == sorted(shares[:top])
    assert shares[top:] == sorted(shares[top:], reverse=True)


def test_only_matrices_decay() -> None:
    layer = nn.Linear(3, 2)
    optimizer = make_optimizer({"learning_rate": 0.1, "weight_decay": 0.5, "optimizer": "sgd"}, layer.parameters())
    decays = {
        parameter.ndim: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]
    }
    assert decays == {2: 0.5, 1: 0.0}


def test_frozen_parameters_are_left_out() -> None:
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    optimizer = make_optimizer({"learning_rate": 0.1, "optimizer": "adamw"}, layer.parameters())
    assert [group["params"] for group in optimizer.param_groups] == [[layer.weight]]


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(InputError, match="lion"):
        make_optimizer({"learning_rate": 0.1, "optimizer": "lion"}, [nn.Parameter(torch.zeros(2))])
