"""What a run that was short of memory needed: what is predicted is what a whole batch takes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.graph import saved_tensors_hooks

from search_spaces import Config
from training import LaneGroup, Numerics, Prefixes
from training.lanes.memory_need import MemoryWatch, in_use, memory_need, step_bytes
from training.lanes.results import MemoryNeed
from training.machine.memory import machine_memory
from training.models.spec import resolve

from ...toys import TOY, toy_backbone, toy_splits

CPU = torch.device("cpu")
BATCH = 96


def a_group(**chosen: Any) -> LaneGroup:
    """One lane that trains its last stage, after its first epoch."""
    config: Config = TOY.space.activate(TOY.recipe | chosen)
    prefixes = Prefixes(backbones=toy_backbone)
    spec = resolve(TOY, config)
    structure = spec.structure(len(prefixes.backbone(spec.backbone.name).stages))
    group = LaneGroup(TOY, toy_splits(), structure, epochs=2, seed=3, prefixes=prefixes)
    group.add(0, config)
    group.train_epoch()
    return group


def kept_by_a_whole_batch(group: LaneGroup) -> int:
    """Bytes that autograd keeps of a batch of 96, counted tensor by tensor."""
    model, cut = copy.deepcopy(group.model(0)), group.cut_of(0)
    weights = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    with torch.no_grad():
        activations = model.prefix(torch.zeros(BATCH, 3, 16, 16), cut)
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = model.head(model.suffix(activations, cut))
    assert outputs.requires_grad
    return sum(kept.values())


def test_a_few_examples_tell_what_a_whole_batch_takes() -> None:
    group = a_group()
    model, cut = group.model(0), group.cut_of(0)
    predicted = step_bytes(model, torch.zeros(4, 3, 16, 16), cut, BATCH, Numerics())
    weights = sum(p.nbytes for module in (*model.stages[cut:], model.head) for p in module.parameters())
    kept = kept_by_a_whole_batch(group)
    # Gradients come on top: those of weights, and of the largest activations, which are no more than all.
    assert kept + weights <= predicted <= 3 * kept + weights


def test_twice_the_batch_takes_twice_as_much_besides_what_it_does_not_depend_on() -> None:
    group = a_group()
    model, cut = group.model(0), group.cut_of(0)
    sizes = [step_bytes(model, torch.zeros(4, 3, 16, 16), cut, batch, Numerics()) for batch in (100, 200, 300)]
    assert sizes[2] - sizes[1] == pytest.approx(sizes[1] - sizes[0], abs=2)
    assert sizes[1] > sizes[0]


def test_asking_draws_no_random_numbers_and_trains_nothing() -> None:
    group = a_group()
    torch.manual_seed(5)
    before = {name: tensor.clone() for name, tensor in group.model(0).named_parameters()}
    numbers = torch.get_rng_state()
    need = memory_need(group, 0, (1, 2))
    assert need.predicted is not None
    assert need.predicted > 0
    assert torch.equal(torch.get_rng_state(), numbers)
    assert all(torch.equal(tensor, before[name]) for name, tensor in group.model(0).named_parameters())
    assert all(parameter.grad is None for parameter in group.model(0).parameters())


def test_a_prediction_that_breaks_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    group = a_group()

    def breaks(_self: LaneGroup, _key: int) -> int:
        raise MemoryError

    monkeypatch.setattr(LaneGroup, "cut_of", breaks)
    assert memory_need(group, 0, (3, 2)) == MemoryNeed(3, None, 2)


def test_the_machine_s_own_error_says_how_much_was_asked_for() -> None:
    asked = 2**50
    with pytest.raises(RuntimeError) as caught:
        torch.empty(asked, dtype=torch.uint8)
    actual, limit = MemoryWatch(CPU).needed(caught.value)
    assert limit == machine_memory()
    assert asked < actual < asked + machine_memory()
    assert MemoryNeed(actual, None, limit).excess == actual / limit - 1


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB", 2.5 * 2**30),
        ("CUDA out of memory. Tried to allocate 512.00 MiB (GPU 0; 79.11 GiB total capacity", 2**29),
        ("CUDA out of memory. Tried to allocate 20.00 KiB.", 20 * 2**10),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12", 4096),
        ("", 0),
    ],
)
def test_what_was_asked_for_is_read_from_what_allocators_say(text: str, asked: float) -> None:
    before = in_use(CPU)
    actual, _ = MemoryWatch(CPU).needed(torch.OutOfMemoryError(text))
    assert actual - asked == pytest.approx(before, rel=0.05)


sizes = st.integers(0, 2**40)


@given(sizes, st.none() | sizes, st.integers(1, 2**40))
def test_the_excess_is_by_how_much_the_larger_figure_passes_the_limit(
    actual: int, predicted: int | None, limit: int
) -> None:
    need = MemoryNeed(actual, predicted, limit)
    assert need.excess >= 0
    assert (need.excess > 0) == (max(actual, predicted or 0) > limit)
    assert ("predicted" in str(need)) == (predicted is not None)


def test_a_need_reads_as_people_write_it() -> None:
    assert str(MemoryNeed(81 * 2**30, 84 * 2**30, 79 * 2**30)) == "at least 81 GiB of 79 GiB, 84 GiB predicted"
