"""One list for all, blocks in turn, results that can be taken up again, and figures that are what they say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
from hypothesis import given
from hypothesis import strategies as st

from bench.search_speed import figures, report
from bench.search_speed.command import continued, main, parse
from bench.search_speed.configs import draw, draw_configs, fixed_values
from bench.search_speed.measure import Planned, measure, measure_growth, plan
from bench.search_speed.methods import METHODS, Job, Method, Train, methods_named
from bench.search_speed.ours import in_groups
from bench.search_speed.process import Ended, Process
from bench.search_speed.progress import Progress
from bench.search_speed.results import Block, Results, Search, Trained, load, save
from bench.search_speed.time_to_target import (
    Goal,
    Passes,
    Searcher,
    goal_of,
    measure_searches,
    search_in_a_process,
)
from search_spaces import FRUIT, Choice, Config, InputError, Integer, SearchSpace
from training import vision

from ..pomona.photos import tiny_photos
from ..strategies import spaces

FIXED = fixed_values(FRUIT, 128)
SETTINGS = {"methods": ["notebook", "expert", "ours"], "epochs": 2}
ABOUT = {
    "command": "python -m bench.search_speed",
    "data": "made up",
    "environments": [{"device": "none", "python": "3", "versions": {"torch": "2"}, "commit": ""}],
    "target": 0.92,
}
JOB = Job("fruit", Path("photos"), Path("weights"), 128, 2, 0, "cpu")


# --- the list


def test_the_list_is_fixed_by_its_seed_and_begins_with_the_shorter_one() -> None:
    assert draw_configs(FRUIT, FIXED, 24, 0)[:8] == draw_configs(FRUIT, FIXED, 8, 0)
    assert draw_configs(FRUIT, FIXED, 8, 0) != draw_configs(FRUIT, FIXED, 8, 1)


def test_the_list_is_mixed_and_lies_in_the_task() -> None:
    configs = draw_configs(FRUIT, FIXED, 96, 0)
    assert [FRUIT.space.validate(config) for config in configs] == configs
    assert Counter(config["unfrozen_stages"] for config in configs) == dict.fromkeys(range(4), 24)
    assert {config["augmentation"] for config in configs} == {0, 1, 2, 3, 4}
    assert {config["batch_size"] for config in configs} == {16, 32, 64}
    assert {(config["backbone"], config["resolution"]) for config in configs} == {("mobilenet_v2", 128)}
    assert all(1e-3 <= float(config["learning_rate"]) <= 1e-2 for config in configs)


def test_a_dimension_can_be_held() -> None:
    fixed = fixed_values(FRUIT, 96, ["augmentation=3"])
    assert {config["augmentation"] for config in draw_configs(FRUIT, fixed, 10, 0)} == {3}
    with pytest.raises(InputError, match="resolution"):
        fixed_values(FRUIT, 97)


@given(spaces(), st.integers(0, 2**20))
def test_what_is_drawn_lies_in_its_space(space: SearchSpace, seed: int) -> None:
    config = draw(space, (seed, 0))
    assert space.validate(config) == config


def test_a_new_dimension_leaves_the_others_as_they_are() -> None:
    before = SearchSpace({"a": Integer(0, 10**6), "b": Choice(*range(100))})
    after = SearchSpace({"a": Integer(0, 10**6), "new": Integer(0, 3), "b": Choice(*range(100))})
    assert draw(after, (4, 2)) | draw(before, (4, 2)) == draw(after, (4, 2))


@pytest.mark.parametrize("log", [False, True])
def test_both_ends_of_a_range_are_drawn(log: bool) -> None:
    space = SearchSpace({"a": Integer(1, 3, log=log)})
    assert {draw(space, (seed,))["a"] for seed in range(60)} == {1, 2, 3}


# --- blocks


def fake(name: str, *, blocks: int = 2, together: bool = False) -> Method:
    return Method(name, name, _prepare_nothing, together, blocks)


def _prepare_nothing(job: Job) -> Train:
    def train(configs: Sequence[Config]) -> Iterator[tuple[int, float | None]]:
        for position in reversed(range(len(configs))):
            yield position, configs[position]["learning_rate"]  # type: ignore[misc]

    return train


def _prepare_what_fails(job: Job) -> Train:
    raise InputError("no such thing")


def _prepare_what_breaks(job: Job) -> Train:
    raise ZeroDivisionError


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 6)), min_size=1, max_size=4),
)
def test_every_config_is_planned_once_for_each_method(sizes: list[tuple[int, int]]) -> None:
    methods = [fake(str(number)) for number in range(len(sizes))]
    counts = {str(number): count for number, (count, _) in enumerate(sizes)}
    planned = plan(methods, counts, {str(number): blocks for number, (_, blocks) in enumerate(sizes)})
    for method in methods:
        mine = [block for block in planned if block.method is method]
        assert [block.number for block in mine] == list(range(min(*sizes[int(method.name)])))
        assert [place for block in mine for place in block.configs] == list(range(counts[method.name]))


def test_methods_take_turns_and_who_begins_rotates() -> None:
    methods = [fake("a"), fake("b"), fake("c")]
    planned = plan(methods, {"a": 4, "b": 4, "c": 4}, {"a": 2, "b": 2, "c": 1})
    assert [(block.method.name, block.number) for block in planned] == [
        ("a", 0),
        ("b", 0),
        ("c", 0),
        ("b", 1),
        ("a", 1),
    ]


class Trainer:
    """Trains in no time; each trial counts as long as its method's name."""

    startup = 10.0

    def __init__(self, method: Method, job: Job, cache: Path) -> None:
        self.method = method
        self.closed = False

    def train(self, configs: Sequence[Config], on_ended: Callable[[Ended], None]) -> list[Ended]:
        ended = [Ended(position, float(len(self.method.name)), 0.5) for position in range(len(configs))]
        for one in ended:
            on_ended(one)
        return ended

    def close(self) -> None:
        self.closed = True


class Silent:
    def begins(self, method: str, what: str) -> None: ...

    def ended(self, method: str, seconds: float) -> None: ...


def empty(count: int = 6) -> Results:
    return Results(dict(SETTINGS), dict(ABOUT), draw_configs(FRUIT, FIXED, count, 0))


def planned_for(*names: str, count: int = 6) -> list[Planned]:
    methods = [fake(name) for name in names]
    return plan(methods, dict.fromkeys(names, count), dict.fromkeys(names, 2))


def test_a_start_is_counted_once_for_a_process() -> None:
    results = empty()
    measure(JOB, planned_for("expert", "ours"), results, lambda kept: None, Silent(), Trainer)
    assert [(b.method, b.number, b.startup) for b in results.blocks] == [
        ("expert", 0, 10.0),
        ("ours", 0, 10.0),
        ("ours", 1, 0.0),
        ("expert", 1, 0.0),
    ]


def test_results_are_kept_after_every_block_and_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    planned = planned_for("expert", "ours")

    class Stopped(Exception):
        pass

    def keep(measured: Results) -> None:
        save(file, measured, figures.derived(measured))
        if len(measured.blocks) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        measure(JOB, planned, empty(), keep, Silent(), Trainer)
    again = load(file)
    assert len(again.blocks) == 3
    measure(JOB, planned, again, lambda kept: None, Silent(), Trainer)
    whole = empty()
    measure(JOB, planned, whole, lambda kept: None, Silent(), Trainer)
    assert {(b.method, b.number): b.trained for b in again.blocks} == {
        (b.method, b.number): b.trained for b in whole.blocks
    }


def test_longer_lists_are_trained_by_ours_alone_and_only_once() -> None:
    results = empty()
    ours = methods_named(["ours"])[0]
    lists = [draw_configs(FRUIT, FIXED, count, 0) for count in (8, 12)]
    for _ in range(2):
        measure_growth(JOB, ours, lists, results, lambda kept: None, Silent(), Trainer)
    assert [len(block.trained) for block in results.growth] == [8, 12]


def test_all_trainers_are_closed_when_one_fails() -> None:
    opened: list[Trainer] = []

    class Failing(Trainer):
        def __init__(self, method: Method, job: Job, cache: Path) -> None:
            super().__init__(method, job, cache)
            opened.append(self)

        def train(self, configs: Sequence[Config], on_ended: Callable[[Ended], None]) -> list[Ended]:
            if self.method.name == "ours":
                raise RuntimeError("broken")
            return super().train(configs, on_ended)

    with pytest.raises(RuntimeError, match="broken"):
        measure(JOB, planned_for("expert", "ours"), empty(), lambda kept: None, Silent(), Failing)
    assert [trainer.closed for trainer in opened] == [True, True]


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    results = measured()
    results.searches.append(Search("ours", 1, None, 3))
    save(tmp_path / "results.json", results, figures.derived(results))
    assert load(tmp_path / "results.json") == results
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(InputError, match="no results"):
        load(tmp_path / "other.json")


def test_methods_may_be_added_to_earlier_results() -> None:
    now = empty(4)
    now.settings = SETTINGS | {"methods": ["ours", "ray"]}
    whole = continued(measured(), now)
    assert whole.settings["methods"] == ["notebook", "expert", "ours", "ray"]
    assert whole.methods == ["notebook", "expert", "ours"]
    assert whole.blocks == measured().blocks


@pytest.mark.parametrize("part", ["epochs", "configs", "target"])
def test_results_of_something_else_are_not_continued(part: str) -> None:
    earlier, now = measured(), empty(4)
    earlier.searches = [Search("ours", 0, 1.0, 1)]
    if part == "epochs":
        now.settings["epochs"] = 3
    elif part == "configs":
        now.configs = now.configs[::-1]
    else:
        now.about["target"] = 0.5
    with pytest.raises(InputError, match="choose another file"):
        continued(earlier, now)


# --- processes


def test_a_process_trains_block_after_block(tmp_path: Path) -> None:
    configs = draw_configs(FRUIT, FIXED, 3, 0)
    process = Process(fake("a"), JOB, tmp_path)
    try:
        heard: list[Ended] = []
        for block in (configs, configs[:1]):
            ended = process.train(block, heard.append)
            assert [(one.position, one.accuracy) for one in ended] == [
                (position, config["learning_rate"]) for position, config in enumerate(block)
            ]
        assert [one.position for one in heard] == [2, 1, 0, 0]
        assert process.startup > 0
    finally:
        process.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "error", "match"),
    [(_prepare_what_fails, InputError, "no such thing"), (_prepare_what_breaks, RuntimeError, "ZeroDivisionError")],
)
def test_what_fails_in_a_process_fails_here(
    prepare: Callable[[Job], Train], error: type[Exception], match: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=match):
        Process(Method("a", "a", prepare), JOB, tmp_path)


# --- ours


@given(st.lists(st.integers(0, 3), max_size=20))
def test_groups_are_of_one_structure_and_every_result_finds_its_config(structures: list[int]) -> None:
    configs: list[Config] = [{"structure": structure, "place": place} for place, structure in enumerate(structures)]
    groups: list[set[object]] = []

    def train(group: list[Config]) -> list[float | None]:
        groups.append({config["structure"] for config in group})
        return [float(config["place"]) for config in group]

    found = dict(in_groups(lambda config: config["structure"], train, configs))
    assert found == {place: float(place) for place in range(len(configs))}
    assert all(len(group) == 1 for group in groups)
    assert len(groups) == len(set(structures))


# --- figures


def block(method: str, number: int, seconds: Sequence[float], *, startup: float = 0.0, accuracy: float = 0.5) -> Block:
    trained = tuple(Trained(number * len(seconds) + i, s, accuracy) for i, s in enumerate(seconds))
    return Block(method, number, startup, trained)


def measured() -> Results:
    """Ours takes 1 s a trial and 4 to start, the expert 10 and 2, the notebook 20 and half of the list."""
    results = empty(4)
    results.blocks = [
        block("notebook", 0, [20, 20], accuracy=0.5),
        block("expert", 0, [10, 10], startup=2, accuracy=0.75),
        block("expert", 1, [10, 10], accuracy=0.75),
        block("ours", 0, [1, 1], startup=4, accuracy=0.7),
        block("ours", 1, [1, 1], accuracy=0.8),
    ]
    return results


def test_the_start_is_shared_by_the_trials() -> None:
    results = measured()
    assert figures.seconds_per_trial(results.of("ours"), 4) == 2
    assert figures.seconds_per_trial(results.of("ours"), 400) == 1.01
    assert figures.running_seconds(results.of("ours")) == [(1, 5), (2, 3), (3, pytest.approx(7 / 3)), (4, 2)]


def test_a_run_that_was_taken_up_again_counts_one_start() -> None:
    again = [block("ours", 0, [1, 1], startup=4), block("ours", 1, [1, 1], startup=6)]
    assert figures.seconds_per_trial(again, 4) == 1 + 5 / 4


def test_the_rows_add_up_to_what_the_ratios_divide() -> None:
    results = measured()
    derived = figures.derived(results)
    assert [(row["method"], row["config"]) for row in derived["rows"]][:4] == [
        ("notebook", 0),
        ("notebook", 1),
        ("expert", 0),
        ("expert", 1),
    ]
    ours = [row["seconds"] for row in derived["rows"] if row["method"] == "ours"]
    assert ours == [2.0] * 4
    assert {one["against"]: one["ratio"] for one in derived["ratios"]} == {"notebook": 10, "expert": 5.25}
    assert {one["against"]: one["trials"] for one in derived["ratios"]} == {"notebook": 4, "expert": 4}


@given(
    st.lists(st.floats(0.1, 100), min_size=1, max_size=6),
    st.lists(st.floats(0.1, 100), min_size=1, max_size=6),
)
def test_an_interval_holds_its_median_and_scales_with_the_peer(ours: list[float], theirs: list[float]) -> None:
    mine = [block("ours", number, [seconds]) for number, seconds in enumerate(ours)]
    peer = [block("expert", number, [seconds]) for number, seconds in enumerate(theirs)]
    slower = [block("expert", number, [2 * seconds]) for number, seconds in enumerate(theirs)]
    one, two = figures.ratio(mine, peer, 10), figures.ratio(mine, slower, 10)
    assert one.low <= one.median <= one.high
    assert two.ratio == pytest.approx(2 * one.ratio)
    assert two.median == pytest.approx(2 * one.median)


def test_a_difference_is_paired_by_config() -> None:
    results = measured()
    found = {one.against: one for one in figures.differences(results)}
    assert found["expert"].n == 4
    assert found["expert"].mean == pytest.approx(0)
    assert found["notebook"].n == 2
    assert (found["notebook"].mean, found["notebook"].low) == (pytest.approx(20), pytest.approx(20))
    low, high = found["expert"].low, found["expert"].high
    assert low is not None
    assert high is not None
    # Four differences of 5 points either way: t(0.975, 3) = 3.182, s = 5.774, over the root of 4.
    assert (low, high) == (pytest.approx(-9.19, abs=0.01), pytest.approx(9.19, abs=0.01))


def test_a_config_that_could_not_be_trained_has_no_accuracy() -> None:
    mine = [Block("ours", 0, 0.0, (Trained(0, 1.0, None), Trained(1, 1.0, 0.5)))]
    peer = [Block("expert", 0, 0.0, (Trained(0, 1.0, 0.5), Trained(1, 1.0, 0.25)))]
    found = figures.difference(mine, peer)
    assert found == figures.Difference("expert", 1, 25.0, None, None)
    assert figures.difference(mine[:0], peer) is None


# --- what people see


def test_the_tables_and_the_figure(tmp_path: Path) -> None:
    results = measured()
    results.growth = [block("ours", 0, [0.5] * 8, startup=4)]
    results.searches = [
        Search("ours", 0, 5.0, 1),
        Search("ours", 1, 7.0, 2),
        Search("ray", 0, None, 3),
    ]
    text = report.markdown(results, FRUIT)
    assert "| (b) tuned by an expert, nothing shared" in text
    assert "5.25 x" in text
    assert "6.0 (5.0 to 7.0)" in text
    assert "0 of 1" in text
    assert "the faster one" not in text
    report.draw(results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_says_where_a_peer_wins() -> None:
    results = empty(4)
    results.blocks = [block("expert", 0, [1, 1, 1, 1]), block("ours", 0, [2, 2, 2, 2])]
    assert "0.5 x: it is the faster one" in report.markdown(results, FRUIT)


def test_the_time_left_counts_every_method_at_its_own_speed() -> None:
    results = empty()
    with Progress(planned_for("expert", "ours"), results, (10,)) as progress:
        assert progress.seconds_left() is None
        progress.ended("expert", 3.0)
        # How fast ours is, is not known yet.
        assert progress.seconds_left() is None
        progress.ended("ours", 1.0)
        assert progress.seconds_left() == 5 * 3 + 15 * 1


# --- until the target


def _find_by_seed(job: Job, goal: Goal, passes: Passes) -> tuple[float | None, int]:
    return (1.0, 3) if passes(0.96, 334) and goal.seed == 0 else (None, 50)


def test_searches_rotate_and_are_made_once() -> None:
    results = empty()
    searchers = [Searcher(name, name, _find_by_seed) for name in ("one", "two")]
    goals = [goal_of(FRUIT, FIXED, None, 50, seed) for seed in (0, 1)]

    def search(searcher: Searcher, job: Job, goal: Goal) -> Search:
        return Search(searcher.name, goal.seed, 1.0, 1)

    for _ in range(2):
        measure_searches(JOB, goals, results, lambda kept: None, Silent(), searchers, search)
    assert [(found.method, found.seed) for found in results.searches] == [
        ("one", 0),
        ("two", 0),
        ("two", 1),
        ("one", 1),
    ]


def test_the_target_is_the_tasks_unless_another_is_named() -> None:
    assert goal_of(FRUIT, FIXED, None, 50, 0).target == 0.92
    assert goal_of(FRUIT, FIXED, 0.5, 50, 0).target == 0.5
    with pytest.raises(InputError, match="--target"):
        goal_of(replace(FRUIT, target=None), FIXED, None, 50, 0)


@pytest.mark.slow
def test_a_search_counts_from_the_start_of_its_process() -> None:
    for seed, reached in ((0, True), (1, False)):
        found = search_in_a_process(Searcher("one", "one", _find_by_seed), JOB, goal_of(FRUIT, FIXED, None, 50, seed))
        assert (found.method, found.seed, found.complete) == ("one", seed, 3 if reached else 50)
        assert (found.seconds is not None and found.seconds > 1.0) == reached


# --- the command


def test_the_options_are_read() -> None:
    line = "--data d --weights-dir w --methods notebook,ours --peer-configs notebook=8 --blocks 3 --growth 96,384"
    options = parse(line.split())
    assert options.methods == ("notebook", "ours")
    assert options.counts == (("notebook", 8),)
    assert options.blocks == (("notebook", 3), ("ours", 3))
    assert options.growth == (96, 384)
    assert options.command == f"python -m bench.search_speed {line}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--methods nothing", "unknown method"),
        ("--peer-configs ray", "NAME=NUMBER"),
        ("--peer-configs ray=few", "whole numbers"),
        ("--configs 0", "--configs"),
        ("--resolution 97", "resolution"),
        ("--set colour=red", "colour"),
        ("--growth 0", "--growth"),
        ("--json missing.json --blocks x", "NAME=NUMBER"),
    ],
)
def test_a_wrong_option_is_one_line(
    change: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
    assert main(["--data", str(tmp_path), "--weights-dir", str(tmp_path), *change.split()]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_without_splits_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--weights-dir", str(tmp_path)]) == 1
    assert "no folder 'train'" in capsys.readouterr().err


def test_every_method_has_a_name_of_its_own() -> None:
    assert len({method.name for method in METHODS}) == len(METHODS)


@pytest.mark.slow
def test_a_smoke_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command on a handful of photos, stopped never, then again with nothing left to measure."""
    data, weights, out = tiny_photos(tmp_path / "photos"), tmp_path, tmp_path / "out"
    model = vision.torchvision().models.mobilenet_v2()
    safetensors.torch.save_file(model.state_dict(), weights / "mobilenet_v2.safetensors")
    line = ["--data", str(data), "--weights-dir", str(weights), "--configs", "2", "--epochs", "1", "--resolution", "96"]
    line += ["--methods", "expert,ours-no-lanes,ours", "--blocks", "1", "--growth", "3", "--out", str(out)]
    assert main(line) == 0
    first = json.loads((out / "search_speed.json").read_text())
    assert len(first["rows"]) == 6
    assert {row["against"] for row in first["ratios"]} == {"expert", "ours-no-lanes"}
    assert (out / "search_speed.png").is_file()
    assert "# Search speed" in capsys.readouterr().out
    assert main(line) == 0
    assert json.loads((out / "search_speed.json").read_text())["rows"] == first["rows"]
    assert main([*line, "--seed", "1"]) == 1
    assert "another" in capsys.readouterr().err
    (out / "search_speed.md").unlink()
    assert main(["--json", str(out / "search_speed.json"), "--out", str(out)]) == 0
    assert (out / "search_speed.md").read_text() == capsys.readouterr().out
