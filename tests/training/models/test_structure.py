import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Config, InputError
from training.models.structure import phases_of, structure_of


def config(**changes: float | int | str) -> Config:
    return {"backbone": "toy", "resolution": 16, "learning_rate": 0.1} | changes


@given(st.integers(1, 60), st.integers(0, 60))
def test_the_cut_follows_from_the_unfrozen_stages(stages: int, unfrozen: int) -> None:
    cut = structure_of(config(unfrozen_stages=unfrozen), stages).cut
    assert 0 <= cut <= stages
    assert stages - cut == min(unfrozen, stages)


def test_all_means_every_stage() -> None:
    assert structure_of(config(unfrozen_stages="all"), 19).cut == 0
    with pytest.raises(InputError, match="'all'"):
        structure_of(config(unfrozen_stages="most"), 19)


@given(st.integers(1, 100), st.integers(0, 5), st.floats(0, 1))
def test_the_phases_cover_the_epochs_and_the_head_comes_first(epochs: int, unfrozen: int, share: float) -> None:
    chosen = config(unfrozen_stages=unfrozen, fine_tune_share=share, fine_tune_rate=0.01)
    phases = phases_of(chosen, structure_of(chosen, 5), 5, epochs)
    covered = [epoch for phase in phases for epoch in range(phase.first, phase.first + phase.epochs)]
    assert covered == list(range(1, epochs + 1))
    assert phases[0].cut == 5
    assert phases[0].rate_factor == 1
    assert len(phases) == (2 if unfrozen and epochs > 1 else 1)
    if len(phases) == 2:
        assert phases[1].cut == 5 - unfrozen
        assert phases[1].rate_factor == 0.01
