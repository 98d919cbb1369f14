"""What a study takes for one run is one run for training: neither a result is answered from another run's record, nor
is a run trained twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Config
from studies.records import run_key
from training import Run, resolve

from ..strategies import configs
from ..toys import TOY, TOY_SPACE


@given(configs(TOY_SPACE), st.data())
def test_runs_of_one_key_are_equal_runs(config: Config, data: st.DataObject) -> None:
    other = data.draw(st.one_of(configs(TOY_SPACE), st.permutations([*config.items()]).map(dict)))
    seeds = data.draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
    keys = {run_key(config, seeds[0]), run_key(other, seeds[1])}
    runs = {Run(resolve(TOY, config), seeds[0]), Run(resolve(TOY, other), seeds[1])}
    assert len(keys) == len(runs)
