"""A run's seed decides all that is random: order, initial weights, dropout, and for fresh seeds augmented views."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training import Prefixes, fit, load_checkpoint, spec_of
from training.data.batches import order_of
from training.frozen.source import training_pass
from training.frozen.views import view_at
from training.lanes.heads import HeadShape, HeadStack, stacked
from training.lanes.optimisation import make_optimizer
from training.machine.seeds import SEEDS_OF_A_BANK, fresh_seed, related_seed
from training.models.classifier import Head
from training.models.spec import Phase, Structure

from ...toys import TOY, toy_backbone, toy_splits

CONFIG = TOY.space.activate(TOY.recipe | {"unfrozen_stages": 0, "augmentation": 2, "dropout": 0.5})
STRUCTURE = spec_of(CONFIG).structure(3)


def with_views(views: int) -> Structure:
    return replace(STRUCTURE, input=replace(STRUCTURE.input, views=views))


SEARCHED = st.integers(0, SEEDS_OF_A_BANK - 1)
FRESH = (fresh_seed(0, 1), fresh_seed(0, 2))


@given(SEARCHED, st.lists(st.integers(1, 1000), min_size=2, unique=True))
def test_fresh_seeds_are_none_that_was_searched_with_and_no_two_are_equal(seed: int, numbers: list[int]) -> None:
    fresh = [fresh_seed(seed, number) for number in numbers]
    assert len({seed, *fresh}) == 1 + len(fresh)
    assert min(fresh) >= SEEDS_OF_A_BANK


@given(SEARCHED, SEARCHED, st.integers(1, 9), st.integers(1, 30), st.integers(1, 30))
def test_searches_share_views_and_each_fresh_seed_has_views_of_its_own(
    seed: int, other: int, number: int, epoch: int, later: int
) -> None:
    assert view_at(STRUCTURE, epoch, seed) == view_at(STRUCTURE, epoch, other) == (epoch - 1) % STRUCTURE.views
    one, two = fresh_seed(seed, number), fresh_seed(seed, number + 1)
    assert len({view_at(STRUCTURE, epoch, of) for of in (seed, one, two)}) == 3
    assert view_at(STRUCTURE, epoch, two) != view_at(STRUCTURE, later, one)
    # A bank is as large for a fresh seed.
    assert view_at(STRUCTURE, epoch + STRUCTURE.views, one) == view_at(STRUCTURE, epoch, one)
    assert view_at(with_views(0), epoch, one) is None


@given(st.integers(0, 2**40), st.lists(st.integers(1, 1000), min_size=2, unique=True), st.integers(1, 30))
def test_related_seeds_share_views_and_no_two_are_equal(seed: int, numbers: list[int], epoch: int) -> None:
    related = [related_seed(seed, number) for number in numbers]
    assert len({seed, *related}) == 1 + len(related)
    assert {view_at(STRUCTURE, epoch, one) for one in related} == {view_at(STRUCTURE, epoch, seed)}


def images_of(seed: int, views: int) -> torch.Tensor:
    """What the network sees of each example in the first epoch, in the examples' order."""
    prefixes, train = Prefixes(backbones=toy_backbone), toy_splits().train
    way = training_pass(prefixes, with_views(views), train, seed=seed, epoch=1)
    seen = {int(i): image for batch in way.batches() for i, image in zip(batch.index, batch.at(0), strict=True)}
    return torch.stack([seen[i] for i in range(len(train))])


@pytest.mark.parametrize("views", [0, 2, 3])
def test_a_fresh_seed_sees_other_changes_of_every_image(views: int) -> None:
    searched, *fresh = (images_of(seed, views) for seed in (0, *FRESH))
    for one, other in ((searched, fresh[0]), (fresh[0], fresh[1])):
        assert all(not torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_fresh_seed_begins_with_other_weights(tmp_path: Path) -> None:
    """Of which a short training at a low rate, whatever its order, leaves most."""
    calm = TOY.space.activate(CONFIG | {"augmentation": 0, "dropout": 0.0, "learning_rate": 1e-4})
    weights = []
    for number, seed in enumerate((0, *FRESH)):
        folder = tmp_path / str(number)
        fit(TOY, calm, toy_splits(), epochs=1, seed=seed, backbones=toy_backbone, checkpoint_to=folder)
        tensors = load_checkpoint(folder).tensors
        weights.append(torch.cat([t.flatten() for name, t in tensors.items() if name.startswith("model.head.")]))
    for one, other in itertools.combinations(weights, 2):
        assert (one - other).abs().max() > 0.05


def test_a_fresh_seed_sees_the_examples_in_another_order() -> None:
    orders = [torch.cat(order_of(48, 8, seed=seed, epoch=1)).tolist() for seed in (0, *FRESH)]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def loss_of(seed: int, dropout: float) -> float:
    """Of one batch, from the same weights whatever the seed."""
    spec = spec_of(CONFIG | {"dropout": dropout})
    torch.manual_seed(0)
    head = Head(16, 3, spec.head)
    stack = HeadStack(HeadShape.of(spec, 16, 3), torch.device("cpu"))
    phase = Phase(first=1, epochs=1, cut=3, rate_factor=1.0)
    place = stacked(0, spec, phase, 1, seed=seed, done=0)
    stack.add(place, head, make_optimizer(spec.optimizer, head.parameters()))
    stack.begin(1, [torch.arange(8)])
    stack.train(0, torch.rand(8, 16, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3)
    return stack.end(8)[0]


def test_a_fresh_seed_drops_other_inputs() -> None:
    assert len({loss_of(seed, 0.0) for seed in (0, *FRESH)}) == 1
    assert len({loss_of(seed, 0.5) for seed in (0, *FRESH)}) == 3


def test_one_fresh_seed_gives_one_result() -> None:
    one, again = (fit(TOY, CONFIG, toy_splits(), epochs=2, seed=FRESH[0], backbones=toy_backbone) for _ in range(2))
    assert [epoch.loss for epoch in one.curve] == [epoch.loss for epoch in again.curve]
