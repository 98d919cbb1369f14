"""What the rungs decide, from costs and results alone: nothing is trained and no clock runs."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import Choice, Config, SearchSpace
from studies.costing import OPENING_SECONDS
from studies.strategy import Arm, Finished
from studies.whole import Whole

from .made_up import SPACE, TASK, Machine, N, Search, Seconds, ladder


@settings(max_examples=6, deadline=None)
@given(st.floats(0.05, 50), st.floats(1, 100), st.integers(1, 16), st.integers(0, 5))
def test_every_group_but_the_first_fits_and_promotion_climbs(
    speed: float, seconds: float, lanes: int, seed: int
) -> None:
    search = Search(Machine(speed), seconds / speed, lanes=lanes, seed=seed).run()
    known = {trial.number: trial for trial in search.trials}
    for place, (arm, left, took) in enumerate(search.arms):
        assert place == 0 or took <= left
        assert 1 <= arm.lanes <= lanes
        assert arm.rung == ladder().rung(arm.structure)
        if arm.parent is not None:
            assert ladder().below(known[arm.parent].config, arm.structure)
        if arm.recipe:
            assert arm.first == TASK.recipe
            assert took <= 0.1 * left
    assert sum(arm.recipe for arm, _, _ in search.arms) <= 1


def test_heads_on_frozen_features_come_first_and_the_first_is_quick() -> None:
    search = Search(Machine(), 600).run()
    rungs = [arm.rung for arm, _, _ in search.arms if not arm.recipe]
    assert rungs[:3] == [0, 0, 0]
    assert search.arms[0][2] <= 8.5
    assert 2 in rungs


def test_on_a_slow_machine_the_first_group_is_of_whatever_is_quickest() -> None:
    class Slow(Machine):
        """The first backbone is the slowest."""

        def predict(self, config: Config, lanes: int = 1, **further: bool) -> Seconds:
            slow = 3 if config["backbone"] == SPACE.dimensions["backbone"].options[0] else 1  # type: ignore[union-attr]
            return Seconds(super().predict(config, lanes, **further).seconds * slow)

    quick, slow = Slow(speed=10.0), Slow(speed=0.2)
    first = {machine.speed: Search(machine, 600).rungs.next(600) for machine in (quick, slow)}
    assert first[10.0] is not None
    assert first[0.2] is not None
    assert first[10.0].structure["backbone"] == "timm:tf_efficientnet_lite0"
    cheapest = min(slow.predict(ladder().lowest(base)).seconds for base in ladder().bases())
    assert slow.predict(ladder().lowest(first[0.2].structure)).seconds == cheapest


def test_the_first_group_asks_for_costs_of_one_backbone_where_it_is_quick() -> None:
    """Asking for those of another one measures it, while nobody has a model yet."""
    asked: list[object] = []

    class Asked(Machine):
        def predict(self, config: Config, lanes: int = 1, **further: bool) -> Seconds:
            asked.append(config["backbone"])
            return super().predict(config, lanes, **further)

    search = Search(Asked(speed=10.0), 600)
    search.step()
    assert len(set(asked)) == 1
    search.step()
    assert len(set(asked)) > 1


@pytest.mark.parametrize(("times", "left", "asks_others"), [(1.5, 600, False), (2.5, 600, True), (1.5, 12, True)])
def test_the_first_group_is_of_the_first_backbone_unless_that_takes_long(
    times: float, left: float, asks_others: bool
) -> None:
    """Else the cheapest of all begins, which is the worst one."""
    first = ladder().lowest(ladder().bases()[0])
    machine = Machine()
    speed = machine.predict(first, 16, robust=True, cross_validate=True).seconds / (times * OPENING_SECONDS)
    asked: set[object] = set()

    class Asked(Machine):
        def predict(self, config: Config, lanes: int = 1, **further: bool) -> Seconds:
            asked.add(config["backbone"])
            return super().predict(config, lanes, **further)

    arm = Search(Asked(speed=speed), left).rungs.next(left)
    assert arm is not None
    assert (len(asked) > 1) == asks_others
    if not asks_others:
        assert arm.features == f"{first['backbone']} {first['resolution']}"


@pytest.mark.parametrize("speed", [1.0, 0.4])
def test_the_first_look_at_each_backbone_is_quick_however_much_has_passed(speed: float) -> None:
    """Or at its lowest resolution: the best resolution of one that is known to be good does not wait for the others."""
    machine = Machine(speed=speed)
    search = Search(machine, 6000)
    for _ in range(3):
        search.step()
    arms = search.arms
    lowest = {base["resolution"] for base in ladder().bases()[:1]}
    assert len({arm.structure["backbone"] for arm, _, _ in arms}) == 3
    assert all(took <= OPENING_SECONDS + 0.5 or arm.structure["resolution"] in lowest for arm, _, took in arms[1:])


def test_the_recipe_waits_until_it_is_a_tenth_of_the_time_left() -> None:
    short, long = Search(Machine(), 60).run(), Search(Machine(), 6000)
    assert not any(arm.recipe for arm, _, _ in short.arms)
    assert short.rungs.recipe_seconds is not None
    assert short.rungs.recipe_seconds > 6
    for _ in range(5):
        long.step()
    # After heads on every backbone: whoever looks early on is not to wait for a baseline.
    assert [arm.recipe for arm, _, _ in long.arms[:3]] == [False, False, False]
    long.run()
    (place,) = [place for place, (arm, _, _) in enumerate(long.arms) if arm.recipe]
    _, left, took = long.arms[place]
    # Not before it is a small part of the search either.
    assert took <= 6000 - left + 0.1
    assert place < len(long.arms) / 2


def test_the_recipe_does_not_wait_where_trials_are_counted_or_nothing_else_fits() -> None:
    counted = Search(Machine(), 6000)
    for _ in range(4):
        counted.step(trials=24)
    assert [arm.recipe for arm, _, _ in counted.arms] == [False, False, False, True]
    for count in range(2, 9):
        few, left = Search(Machine(), 6000, lanes=round(math.sqrt(count))), count
        while left > 0 and few.step(trials=left):
            left -= few.arms[-1][0].lanes
        assert sum(arm.recipe for arm, _, _ in few.arms) == 1
    spent = Search(Machine(), 6000)
    for _ in range(3):
        spent.step()
    spent.rungs._candidates = lambda *_: []  # type: ignore[method-assign]
    for _ in range(3):  # every so many decisions go to what was never tried
        spent.step()
    assert any(arm.recipe for arm, _, _ in spent.arms)
    assert not spent.step()


def test_what_was_found_is_never_much_older_than_the_search() -> None:
    """Nothing takes longer than what has passed while cheaper things are worth something."""
    for seed in range(3):
        search = Search(Machine(), 600, seed=seed).run()
        long_ones = [took for _, left, took in search.arms[1:] if took > max(OPENING_SECONDS, 600 - left) + 1.0]
        assert len(long_ones) <= len(search.arms) / 20


def test_heads_are_scored_on_changed_photos_where_that_takes_little() -> None:
    class Dear(Machine):
        def predict(self, config: Config, lanes: int = 1, *, robust: bool = False, **further: bool) -> Seconds:
            shifted = 4.0 * robust
            return Seconds(super().predict(config, lanes, **further).seconds + shifted, shifted)

    search = Search(Dear(), 600).run()
    for arm, left, _ in search.arms:
        if arm.rung == 2:
            assert arm.further.robust
        elif arm.further.robust:
            assert 0.1 * min(left, 600 - left) >= 4
    assert any(arm.further.robust for arm, _, _ in search.arms if arm.rung == 1)


def test_what_is_kept_is_used_before_what_has_to_be_computed() -> None:
    machine = Machine()
    for resolution in (96, 128, 160, 224):
        machine.train({"backbone": "squeezenet1_1", "resolution": resolution})
    search = Search(machine, 600)
    search.step()
    search.step()
    assert search.arms[1][0].structure["backbone"] == "squeezenet1_1"


def test_workers_do_not_compute_the_same_features() -> None:
    """While some compute what many structures need, another one takes something else, as long as there is anything."""
    for seed, workers in itertools.product(range(3), (2, 4, 6)):
        search = Search(Machine(), 600, seed=seed)
        known: set[tuple[object, ...]] = set()
        under_way: list[Arm] = []
        for _ in range(30):
            if len(under_way) == workers:
                arm = under_way.pop(0)
                search.end(arm)
                known.add(base_of(arm))
            arm_or_none = search.rungs.next(search.left, None, 0.0)
            assert arm_or_none is not None
            assert base_of(arm_or_none) in known or all(base_of(arm_or_none) != base_of(each) for each in under_way)
            search.rungs.began(arm_or_none.structure)
            under_way.append(arm_or_none)


def test_several_workers_begin_while_nothing_has_ended_and_the_time_is_short() -> None:
    for speed, workers in itertools.product((0.2, 1.0, 5.0), (2, 3, 5)):
        strategy = Search(Machine(speed), 15).rungs
        begun = 0
        for _ in range(workers):
            # None where nothing fits any more; the first is given whatever it takes.
            if (arm := strategy.next(15, None, 0.0)) is not None:
                strategy.began(arm.structure)
                begun += 1
        assert begun


def base_of(arm: Arm) -> tuple[object, ...]:
    return tuple(arm.structure[name] for name in ladder().base)


def test_better_backbones_get_more_of_the_time() -> None:
    shares = []
    for seed in range(3):
        search = Search(Machine(), 1200, seed=seed).run()
        spent = {name: 0.0 for name in ("mobilenet_v2", "squeezenet1_1", "timm:tf_efficientnet_lite0")}
        for arm, _, took in search.arms:
            spent[str(arm.structure["backbone"])] += took
        shares.append(spent["mobilenet_v2"] / sum(spent.values()))
    assert min(shares) > 0.34


def test_now_and_then_something_is_tried_whatever_is_expected() -> None:
    arms = [arm for seed in range(2) for arm, _, _ in Search(Machine(), 3000, seed=seed).run().arms]
    assert len({str(arm.structure) for arm in arms}) > 30
    assert {arm.structure["resolution"] for arm in arms} == {96, 128, 160, 224}


def test_the_same_results_and_costs_give_the_same_choices() -> None:
    first, second = (Search(Machine(), 300, seed=3).run() for _ in range(2))
    assert [arm for arm, _, _ in first.arms] == [arm for arm, _, _ in second.arms]


def test_few_trials_make_small_groups_and_none_ends_it() -> None:
    search = Search(Machine(), math.inf)
    assert search.step(trials=4)
    # One is left for the recipe.
    assert search.arms[0][0].lanes == 3
    search = Search(Machine(), math.inf)
    assert search.step(trials=1)
    assert search.arms[0][0].lanes == 1


def test_what_goes_on_from_an_earlier_process_knows_its_trials() -> None:
    before = Search(Machine(), 200).run()
    after = Search(before.machine, 200)
    for trial in before.trials:
        after.rungs.ended(trial)
    after.step()
    # No second opening: something that was not tried, or that is worth more heads.
    assert after.arms[0][0].parent is not None or after.arms[0][0].structure != before.arms[0][0].structure


def test_stages_that_make_a_trial_clearly_worse_are_given_up() -> None:
    search = Search(Machine(), 600).run()
    promoted = next(arm for arm, _, _ in search.arms if arm.rung == 2 and arm.parent is not None)
    parent = next(trial for trial in search.trials if trial.number == promoted.parent)
    assert parent.value is not None
    assert not search.rungs.is_hopeless(promoted, parent.value)
    assert search.rungs.is_hopeless(promoted, 0.3)
    heads = next(arm for arm, _, _ in search.arms if arm.rung == 0)
    assert not search.rungs.is_hopeless(heads, 0.0)
    # What another trial of stages came to in the end is no measure of one on its way.
    values = [place / 200 for place in range(200)]
    verdicts = [search.rungs.is_hopeless(promoted, value) for value in values]
    assert 0 < sum(verdicts) < 200
    search.rungs.ended(Finished(10**6, search.config(promoted.structure), 1.0, N))
    assert [search.rungs.is_hopeless(promoted, value) for value in values] == verdicts


def test_more_views_are_tried_after_fewer_of_the_same_strength() -> None:
    search = Search(Machine(5), 600).run()
    seen: set[tuple[object, ...]] = set()
    for arm, _, _ in search.arms:
        views = arm.structure.get("views")
        if views is not None and not arm.recipe:
            of = (arm.structure["backbone"], arm.structure["resolution"], arm.structure["augmentation"])
            assert views == 2 or (*of, {4: 2, 8: 4}[int(views)]) in seen
            seen.add((*of, views))
    assert {views for *_, views in seen} == {2, 4, 8}


SMALL = SearchSpace({"width": Choice(1, 2, 4, 8, 16, 32), "rate": Choice(0.1, 0.2)})


class ByWidth:
    def predict(self, config: Config, lanes: int = 1, **_further: bool) -> Seconds:
        return Seconds(float(config["width"]))


def whole(recipe: Config) -> Whole:
    return Whole(lambda generator: {"width": SMALL.sample(generator)["width"]}, ByWidth(), seed=0, recipe=recipe)


def test_where_nothing_is_frozen_cheap_structures_come_first_and_the_sampler_later() -> None:
    strategy = whole({"width": 32, "rate": 0.1})
    arms = []
    for number in range(8):
        arm = strategy.next(100.0)
        assert arm is not None
        arms.append(arm)
        strategy.began({"width": 1, "rate": number})
    assert all(arm.structure.get("width") in (1, 2) for arm in arms[:4])
    assert any(arm.structure == {} for arm in arms[4:])
    assert not any(arm.recipe for arm in arms)
    assert strategy.recipe_seconds == 32.0


def test_where_nothing_is_frozen_nothing_begins_that_does_not_fit() -> None:
    strategy = whole({"width": 1, "rate": 0.1})
    arm = strategy.next(5.0)
    assert arm is not None
    assert int(arm.structure["width"]) <= 2
    strategy.began({"width": 1, "rate": 0.1})
    assert strategy.next(0.5) is None
    assert whole({"width": 1, "rate": 0.1}).next(10.0).recipe  # type: ignore[union-attr]


def test_the_same_stages_once_more_are_trained_in_another_way() -> None:
    """The head is that of the best trial; the rate is another one, or how stages train is left to the sampler."""
    search = Search(Machine(), 3000).run()
    again = [
        (arm, place)
        for place, (arm, _, _) in enumerate(search.arms)
        if arm.rung == len(ladder().climbs) and arm.structure in [one.structure for one, _, _ in search.arms[:place]]
        if not arm.recipe and not arm.shipped
    ]
    left_open = 0
    for arm, place in again:
        assert arm.parent is not None
        assert "learning_rate" in arm.first
        said = set(arm.first) & set(ladder().descent)
        left_open += not said
        if said:
            assert said == set(ladder().descent)
            before = [one.first for one, _, _ in search.arms[:place] if one.structure == arm.structure]
            assert arm.first not in before
    assert 0 < left_open < len(again)
    assert {"fine_tune_share", "fine_tune_rate", "batch_norm"} == set(ladder().descent)


def test_a_config_of_the_portfolio_brings_others_on_its_features_but_trains_stages_alone() -> None:
    heads = SPACE.validate(ladder().completed(TASK.recipe | {"backbone": "mobilenet_v2", "unfrozen_stages": 0}))
    stages = SPACE.validate(ladder().completed(heads | {"unfrozen_stages": 3}))
    search = Search(Machine(20), 600, portfolio=[heads, stages]).run()
    shipped = {arm.first["unfrozen_stages"]: arm for arm, _, _ in search.arms if arm.shipped}
    assert set(shipped) == {0, 3}
    assert (shipped[0].first, shipped[0].lanes) == (heads, 8)
    assert (shipped[3].first, shipped[3].lanes) == (stages, 1)
    assert [trial.config for trial in search.trials].count(heads) == 1
