"""Several drivers on one study in a database: no trial is lost with its driver, and none counts twice.

Time passes only where a test moves the beats that a database has back.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import studies.drivers
from search_spaces import InputError
from studies import Interrupted, Study, open_storage
from studies.proposals import Proposal, Proposer
from studies.records import RETRIES

from ..toys import TOY
from .drivers import a_driver, ask, asked, has_beat, killed, let_beats_grow_old, trials_of
from .small_studies import a_study, result

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def url(database: str) -> str:
    return database


def test_drivers_give_different_trials_and_no_more_than_all(url: str) -> None:
    a_study(url)
    with a_driver(url, joins=False) as first, a_driver(url) as second, a_driver(url) as third:
        given_out = [asked(study, 6) for study in (first, second, third, third, second, first)]
        assert [proposal.number for proposal in given_out] == list(range(6))
        assert len({str(proposal.config) for proposal in given_out}) == 6
        assert [ask(study, 6) for study in (first, second, third)] == [None] * 3
        for study, proposal in zip((first, second, third, third, second, first), given_out, strict=True):
            study.recording.finish(proposal.number, result())
    assert [trial.state.name for trial in trials_of(url)] == ["COMPLETE"] * 6


def test_a_trial_beats_from_the_moment_it_is_given(url: str) -> None:
    a_study(url)
    with a_driver(url) as study:
        assert has_beat(url, asked(study).number)
        assert has_beat(url, asked(study).number)


def test_a_trial_that_lost_its_driver_is_tried_once_more(url: str) -> None:
    a_study(url)
    with a_driver(url, joins=False) as first, a_driver(url) as second:
        recipe, lost = asked(first), asked(second)
        first.recording.finish(recipe.number, result())
        killed(second)
        assert asked(first).number == 2  # nobody waits for it yet
        let_beats_grow_old(url, only=lost.number)
        retry = asked(first)
        assert (retry.number, retry.config, retry.seed) == (3, lost.config, lost.seed)
        first.recording.finish(retry.number, result())
    records = Study.open("s", url).records()
    assert (records[1].state, records[1].reason) == ("failed", "its driver was lost")
    assert records[3].note == "retries trial 1: its driver was lost"
    assert [trial.user_attrs.get(RETRIES) for trial in trials_of(url)] == [None, None, None, 1]


def test_a_lost_retry_is_not_tried_again_and_a_retried_trial_does_not_count(url: str) -> None:
    a_study(url)
    with a_driver(url, joins=False) as first, ExitStack() as others:
        for _ in range(2):
            other = others.enter_context(a_driver(url))
            assert asked(other, 1).number < 2
            killed(other)
            let_beats_grow_old(url)
        # The one trial that there may be has ended: it failed for good.
        assert ask(first, 1) is None
        assert first.ended == 1
        assert first.trials_left(3) == 2
    assert [trial.state.name for trial in trials_of(url)] == ["FAIL", "FAIL"]


def test_a_trial_whose_driver_died_before_the_first_beat_is_found_too(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_study(url)
    with a_driver(url, joins=False) as first, a_driver(url) as second:
        first.recording.finish(asked(first).number, result())
        monkeypatch.setattr(second._proposer, "opened", lambda _trial: None)
        silent = asked(second)
        killed(second)
        assert not has_beat(url, silent.number)
        first.recording.finish(asked(first).number, result())
        assert has_beat(url, silent.number)  # from here on its time runs
        let_beats_grow_old(url, only=silent.number)
        assert asked(first).config == silent.config


def test_a_retry_that_a_kill_prevented_is_made_later(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a_study(url)
    with a_driver(url, joins=False) as first, a_driver(url) as second:
        recipe = asked(second)
        killed(second)
        let_beats_grow_old(url)
        assert first.drivers is not None
        with monkeypatch.context() as patch:
            patch.setattr(first.drivers, "_retry", lambda: None)
            first.drivers._recover()
        assert trials_of(url)[0].state.name == "FAIL"
        assert asked(first).config == recipe.config


def test_what_asked_for_the_end_does_not_keep_trials_from_being_given_back(url: str) -> None:
    """As where several drivers are stopped at once, and one waits for the lock of another."""
    a_study(url)

    def stop() -> None:
        raise Interrupted("by the user")

    with a_driver(url, joins=False) as first, ExitStack() as busy:

        def stopped_while_another_asks() -> None:
            with a_driver(url) as second:
                second.wait_with(stop)
                given.append(asked(second))
                second.groups.release()
                busy.enter_context(first._asking())
                # It is free again once it was waited for.
                second._patience.sleep = lambda _seconds: busy.close()
                stop()

        given: list[Proposal] = []
        with pytest.raises(Interrupted):
            stopped_while_another_asks()
        assert first.trial(given[0].number).reason == "its driver ended and gave it back"
        assert asked(first).config == given[0].config


def test_a_group_is_named_after_the_number_that_its_trial_got(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program makes a trial while the sampler thinks."""
    study = a_study(url)
    draft = Proposer._draft

    def slow(self: Proposer, *arguments: Any) -> Any:
        found = draft(self, *arguments)
        optuna.load_study(study_name="s", storage=open_storage(url)).enqueue_trial({"batch_size": 8})
        return found

    with study.running():
        asked(study)
        with monkeypatch.context() as patch:
            patch.setattr(Proposer, "_draft", slow)
            late = asked(study)
    assert (late.number, late.group) == (2, 2)
    assert Study.open("s", url).trial(2).group == 2


def test_late_beats_of_a_driver_that_lives_cost_it_nothing(url: str) -> None:
    a_study(url)
    with a_driver(url, joins=False) as study:
        first = asked(study)
        let_beats_grow_old(url)
        asked(study)
        assert study.recording.finish(first.number, result())


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_drivers_in_different_time_zones_do_not_take_each_other_for_lost(url: str, zone: str) -> None:
    if "://" not in url:
        pytest.skip("SQLite knows no time zones")
    a_study(url)
    elsewhere = f"{url}?options=-c%20timezone%3D{zone.replace('/', '%2F')}"
    with a_driver(url, joins=False) as first, a_driver(elsewhere) as second:
        mine, theirs = asked(first), asked(second)
        asked(first)
        asked(second)
        assert first.recording.finish(mine.number, result())
        assert second.recording.finish(theirs.number, result())


def test_a_driver_that_ends_gives_its_trials_back_at_once(url: str) -> None:
    """As often as that happens: nothing is wrong with them."""
    a_study(url)
    with a_driver(url, joins=False) as first:
        for number in range(3):
            with a_driver(url) as second:
                left = asked(second)
                assert left.number == number
        retry = asked(first)
        assert (retry.number, retry.config) == (3, left.config)
        killed(first)
        let_beats_grow_old(url)
        with a_driver(url) as second:
            # It was lost once, and is tried once more for that.
            assert asked(second).config == left.config
            killed(second)
        let_beats_grow_old(url)
        with a_driver(url) as third:
            assert asked(third).config != left.config


def test_a_resumed_study_goes_on_with_its_own_trials_and_leaves_those_of_others(url: str) -> None:
    a_study(url)
    with a_driver(url) as other:
        with a_driver(url, joins=False) as first:
            own, theirs = asked(first), asked(other)
            killed(first)
        with a_driver(url, joins=False) as again:
            assert [proposal.number for proposal in again.left(TOY.space, 9)] == [own.number]
            assert other.left(TOY.space, 9) == []
        assert other.recording.finish(theirs.number, result())


def test_a_study_runs_while_somebody_beats(url: str) -> None:
    a_study(url)
    reader = Study.open("s", url)
    with a_driver(url) as study:
        assert not reader.is_running()
        asked(study)
        assert reader.is_running()
        assert reader.records()[0].state == "running"
        killed(study)
    let_beats_grow_old(url)
    assert not reader.is_running()


def test_what_others_did_is_told_once(url: str) -> None:
    a_study(url)
    with a_driver(url, joins=False) as first, a_driver(url) as second:
        mine, theirs = asked(first), asked(second)
        assert [list(first.elsewhere().begun), list(first.elsewhere().begun)] == [[theirs.config], []]
        first.recording.finish(mine.number, result())
        second.recording.finish(theirs.number, result(right=3))
        news = first.elsewhere()
        assert [(record.number, record.value) for record in news.ended] == [(theirs.number, 0.3)]
        assert list(news.done) == [theirs.config]
        assert first.elsewhere() == studies.drivers.Elsewhere([], [], [])


def test_a_journal_has_one_driver(tmp_path: Path) -> None:
    study = a_study(str(tmp_path / "journal.log"))
    with pytest.raises(InputError, match=r"one driver at a time: several need a database"), study.joined():
        pass


def test_verdicts_of_drivers_are_kept_apart(url: str) -> None:
    from studies.attempts import Verdicts

    a_study(url)
    with a_driver(url, joins=False) as first, a_driver(url) as second:
        first.groups.keep_verdicts({0: Verdicts(1, frozenset())})
        second.groups.keep_verdicts({7: Verdicts(2, frozenset({7}))})
        assert set(first.groups.verdicts()) == {0}
        assert set(second.groups.verdicts()) == {7}
    assert set(Study.open("s", url).groups.verdicts()) == {0}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_whatever_is_killed_all_trials_end_and_each_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, trials: int
) -> None:
    """Drivers ask, report, end and die in any order; whoever is left does the rest."""
    url = str(tmp_path_factory.mktemp("s") / "studies.db")
    a_study(url)
    generator = random.Random(seed)
    with ExitStack() as stack:
        living = [stack.enter_context(a_driver(url, joins=number > 0)) for number in range(3)]
        under_way: list[tuple[Study, Proposal]] = []
        told: Counter[int] = Counter()
        for _ in range(25):
            study = generator.choice(living)
            deed = generator.choice(["ask", "ask", "report", "end", "end", "die"])
            own = [one for one in under_way if one[0] is study]
            if deed == "ask" and (proposal := ask(study, trials)) is not None:
                under_way.append((study, proposal))
            elif deed == "report" and own:
                study.recording.report(own[0][1].number, 1, 0.5)
            elif deed == "end" and own:
                under_way.remove(own[0])
                told[own[0][1].number] += study.recording.finish(own[0][1].number, result())
            elif deed == "die" and study is not living[0]:
                under_way = [one for one in under_way if one[0] is not study]
                killed(study)
                living[living.index(study)] = stack.enter_context(a_driver(url))
                if generator.random() < 0.5:
                    let_beats_grow_old(url)
        last = living[0]
        for study, proposal in under_way:
            told[proposal.number] += study.recording.finish(proposal.number, result())
        let_beats_grow_old(url)
        while (proposal := ask(last, trials)) is not None:
            told[proposal.number] += last.recording.finish(proposal.number, result())
    ended = trials_of(url)
    complete = [trial.number for trial in ended if trial.state.name == "COMPLETE"]
    retried = [trial.user_attrs[RETRIES] for trial in ended if RETRIES in trial.user_attrs]
    failed = {trial.number for trial in ended if trial.state.name == "FAIL"}
    assert len(complete) + len(failed) == len(ended)
    assert sorted(complete) == sorted(number for number, times in told.items() if times)
    assert max(told.values(), default=0) <= 1
    assert len(set(retried)) == len(retried)
    assert set(retried) <= failed
    lost_twice = {number for number in failed if RETRIES in ended[number].user_attrs}
    assert failed == set(retried) | lost_twice
    assert len(complete) + len(lost_twice) == trials


def test_a_retry_takes_the_place_of_its_trial_before_others_that_wait(url: str) -> None:
    study = a_study(url)
    study.enqueue([({"learning_rate": rate}, "mine") for rate in (0.01, 0.02, 0.03)])
    with a_driver(url, joins=False) as first, a_driver(url) as second:
        first.recording.finish(asked(first, 2).number, result())
        lost = asked(second, 2)
        killed(second)
        let_beats_grow_old(url, only=lost.number)
        retry = asked(first, 2)
        assert retry.config == lost.config
        first.recording.finish(retry.number, result())
        assert ask(first, 2) is None
        assert not first.wait_for_others(2)
    assert [trial.state.name for trial in trials_of(url)].count("WAITING") == 2


def test_nobody_waits_for_a_retry_that_has_no_place(url: str) -> None:
    """Another program added trials meanwhile: then there are as many as were wanted, and one that waits."""
    a_study(url)
    with a_driver(url, joins=False) as first, a_driver(url) as second:
        first.recording.finish(asked(first, 2).number, result())
        lost = asked(second, 2)
        killed(second)
        let_beats_grow_old(url, only=lost.number)
        with first.drivers.asking():  # type: ignore[union-attr]
            pass
        foreign = optuna.load_study(study_name="s", storage=open_storage(url))
        foreign.add_trial(optuna.trial.create_trial(value=0.5, params={}, distributions={}))
        first._history.refresh()
        if first.trials_left(2) == 0:
            assert not first.wait_for_others(2)
        else:
            assert asked(first, 2).config == lost.config


def test_whoever_leads_does_not_take_what_rests_for_lost(url: str) -> None:
    """A search was stopped properly some time ago: what was under way waits for whoever leads."""
    a_study(url)
    with a_driver(url, joins=False) as before:
        before.recording.finish(asked(before).number, result())
        resting = asked(before)
        before.groups.release()
    let_beats_grow_old(url)
    with a_driver(url, joins=False) as first:
        first.enqueue([({"learning_rate": 0.0123}, "mine")])
        with first.confirming([]):
            assert ask(first) is None
        assert trials_of(url)[resting.number].state.name == "RUNNING"
        (again,) = first.left(TOY.space, 9)
        assert (again.number, again.config) == (resting.number, resting.config)
        first.recording.finish(again.number, result())
    # Once nobody leads, whoever comes may take it, as before.
    with a_driver(url, joins=False) as before:
        resting = asked(before)
        before.groups.release()
    let_beats_grow_old(url)
    with a_driver(url) as other:
        assert asked(other).config == resting.config
