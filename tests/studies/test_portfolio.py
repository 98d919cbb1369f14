"""What is shipped as a portfolio fits every task of photos, and no other."""

from __future__ import annotations

import pytest

from search_spaces import BONUS, FRUIT, TASKS, Task
from studies import portfolio_for
from studies.portfolio import is_transfer_space, shipped_portfolio
from studies.records import config_key

PHOTOS = [task for task in TASKS if is_transfer_space(task.space)]


@pytest.mark.parametrize("task", PHOTOS, ids=lambda task: task.name)
def test_every_shipped_config_is_one_of_the_space(task: Task) -> None:
    configs = portfolio_for(task.space)
    assert 1 <= len(configs) <= len(shipped_portfolio().configs)
    for config in configs:
        assert task.space.validate(config) == config
    assert len({config_key(config) for config in configs}) == len(configs)


@pytest.mark.parametrize("task", [task for task in TASKS if task not in PHOTOS], ids=lambda task: task.name)
def test_other_tasks_have_none(task: Task) -> None:
    assert portfolio_for(task.space) == []


def test_what_is_fixed_stays_so_and_repeats_go() -> None:
    fixed = {"backbone": "mobilenet_v2", "resolution": 96, "unfrozen_stages": 0, "optimizer": "adamw"}
    space = FRUIT.space.fix(fixed)
    configs = portfolio_for(space)
    assert configs
    assert all(config | fixed == config for config in configs)
    everything = {name: value for name, value in configs[0].items() if name not in fixed}
    assert len(portfolio_for(space.fix(everything))) == 1


def test_without_a_pretrained_backbone_there_is_none() -> None:
    assert not is_transfer_space(BONUS.space)


def test_the_file_says_where_its_configs_come_from() -> None:
    shipped = shipped_portfolio().configs
    assert 1 <= len(shipped) <= 12
    for one in shipped:
        assert one.found_on in one.values
        assert all(0 <= value <= 1 for value in one.values.values())
