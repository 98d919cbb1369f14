import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from training.lanes import heads
from training.lanes.heads import stacked
from training.lanes.optimisation import Update, make_optimizer, schedule
from training.models.spec import OptimizerSpec, Phase, Spec, spec_of


def spec(rate: float) -> Spec:
    return spec_of({"backbone": "toy", "learning_rate": rate})


@given(st.integers(1, 2000))
def test_the_schedule_rises_then_falls_within_its_peak(steps: int) -> None:
    shares = [schedule(step, steps) for step in range(steps)]
    assert all(0 <= share <= 1 for share in shares)
    assert max(shares) == 1
    top = shares.index(1)
    assert shares[:top] == sorted(shares[:top])
    assert shares[top:] == sorted(shares[top:], reverse=True)


@given(st.integers(1, 6), st.integers(1, 5), st.floats(1e-5, 1.0), st.floats(1e-3, 1.0), st.data())
def test_the_rates_of_an_epoch_are_those_of_the_whole_schedule(
    epochs: int, batches: int, peak: float, factor: float, data: st.DataObject
) -> None:
    phase, steps = Phase(1, epochs, 1, factor), epochs * batches
    whole = [peak * factor * schedule(step, steps) for step in range(steps)]
    done = data.draw(st.integers(0, epochs - 1))
    head = stacked(0, spec(peak), phase, batches, seed=0, done=done)
    assert head.rates(batches).tolist() == whole[done * batches : (done + 1) * batches]


def test_what_an_epoch_costs_to_prepare_does_not_follow_the_epochs_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(heads, "schedule", lambda step, steps: asked.append(step) or schedule(step, steps))
    head = stacked(0, spec(0.1), Phase(1, 10**12, 1, 1.0), 4, seed=0, done=10**11)
    assert asked == []
    assert len(head.rates(4)) == 4
    assert asked == [4 * 10**11 + number for number in range(4)]


def test_only_matrices_decay() -> None:
    layer = nn.Linear(3, 2)
    optimizer = make_optimizer(OptimizerSpec(learning_rate=0.1, weight_decay=0.5, name="sgd"), layer.parameters())
    decays = {
        parameter.ndim: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]
    }
    assert decays == {2: 0.5, 1: 0.0}


def test_frozen_parameters_are_left_out() -> None:
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    optimizer = make_optimizer(OptimizerSpec(learning_rate=0.1), layer.parameters())
    assert [group["params"] for group in optimizer.param_groups] == [[layer.weight]]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_direct_update_is_the_optimizers_step(name: str) -> None:
    chosen = OptimizerSpec(name=name, learning_rate=0.1, weight_decay=0.1, momentum=0.8)
    models = [nn.Linear(3, 2), nn.Linear(3, 2)]
    models[1].load_state_dict(models[0].state_dict())
    ours, theirs = (make_optimizer(chosen, model.parameters()) for model in models)
    update = Update(ours)
    for step in range(5):
        for optimizer, model in ((ours, models[0]), (theirs, models[1])):
            model(torch.full((4, 3), step + 1.0)).square().mean().backward()
            optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        update()
        theirs.step()
        theirs.zero_grad()
        assert all(parameter.grad is None for parameter in models[0].parameters())
        torch.testing.assert_close(models[0].state_dict(), models[1].state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


def test_without_momentum_the_rate_is_read_at_each_step_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A captured step would go on at the rate that it was captured with, if it were torch's own."""
    chosen = OptimizerSpec(name="sgd", learning_rate=0.1, weight_decay=0.1, momentum=0.0)
    models = [nn.Linear(3, 2), nn.Linear(3, 2)]
    models[1].load_state_dict(models[0].state_dict())
    ours, theirs = (make_optimizer(chosen, model.parameters()) for model in models)
    monkeypatch.setattr(ours, "step", lambda: pytest.fail("a step of torch's"))
    rate = torch.zeros(())
    update = Update(ours, rate)
    for step in range(5):
        for model in models:
            model(torch.full((4, 3), step + 1.0)).square().mean().backward()
        rate.fill_(0.1 / (step + 1))
        for group in theirs.param_groups:
            group["lr"] = 0.1 / (step + 1)
        update()
        theirs.step()
        theirs.zero_grad()
        torch.testing.assert_close(models[0].state_dict(), models[1].state_dict())
