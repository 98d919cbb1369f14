"""The throughput benchmark measures all ways in turn, says what failed, and runs where there is only torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.throughput import core, loading, measure, report
from bench.throughput.cases import ALL, Case, Variant
from bench.throughput.ceilings import Ceilings
from bench.throughput.clock import timed, warmed_up
from bench.throughput.command import main, parse
from bench.throughput.results import OURS, REFERENCE, Loaded, load
from bench.throughput.work import Work
from search_spaces import InputError
from training.lanes.captured import Capture

from .throughput_examples import CASE, CPU, SETTINGS, made_up, results

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--quick", "--precision", "fp32", "--depths", "0"]
# What a machine lacks that has torch and torchvision, and what those two need.
ABSENT = {"optuna", "ray", "sklearn", "pandas", "safetensors", "filelock", "platformdirs", "rich", "typer"} | {
    "msgspec",
    "matplotlib",
    "tabulate",
    "timm",
    "scipy",
    "cachetools",
    "lazy_loader",
}


# --- measuring


def test_a_warm_up_counts_steps_that_fill_the_time() -> None:
    calls: list[None] = []
    count, seconds = warmed_up(lambda: calls.append(None), 1e-4, CPU)
    assert count >= 1
    assert seconds > 0
    before = len(calls)
    timed(lambda: calls.append(None), 7, CPU)
    assert len(calls) == before + 7


def test_all_ways_take_turns_and_each_begins_once() -> None:
    order: list[str] = []
    rates: dict[str, list[float]] = {name: [] for name in "abc"}

    def runner(name: str) -> tuple[Callable[[], None], int, list[float]]:
        return (lambda: order.append(name)), 1, rates[name]

    measure._take_turns([runner(name) for name in "abc"], CASE, replace(SETTINGS, rounds=3))
    assert "".join(order) == "abcbcacab"
    assert {len(values) for values in rates.values()} == {3}


def test_a_case_is_measured_in_both_layouts_and_beside_the_reference() -> None:
    ceilings = Ceilings({"fp32": 1e12}, 1e10)
    found = measure.measure(CASE, [False, True], ceilings, SETTINGS)
    assert [(c.who, c.layout, c.variant, len(c.rates)) for c in found.candidates] == [
        (OURS, "NCHW", "eager", 2),
        (OURS, "channels_last", "eager", 2),
        (REFERENCE, "NCHW", "eager", 2),
    ]
    assert all(rate > 0 for candidate in found.candidates for rate in candidate.rates)
    assert (found.matmul, found.copy) == (1e12, 1e10)


def test_on_a_gpu_the_layout_that_is_faster_eagerly_is_captured_where_stages_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Variant] = []

    def step_of(_case: Case, variant: Variant, *_: object) -> core.Step:
        made.append(variant)
        return lambda: None

    monkeypatch.setattr(core, "step_of", step_of)
    # Everything but its name is a CPU's.
    monkeypatch.setattr(measure, "_prepared", lambda runner, case, make, settings, may_fail: (make(), runner)[1])
    monkeypatch.setattr(measure, "work_of", lambda *_: Work(1e9, 1e9))
    monkeypatch.setattr(core, "resident", lambda case, device: None)
    monkeypatch.setattr(measure.reference, "step_of", lambda *_: lambda: None)
    on_a_gpu = replace(SETTINGS, device=torch.device("cuda"))
    ceilings = Ceilings({"fp32": 1e12}, 1e10)
    for depth, captured in ((ALL, [Variant(False, Capture.ALWAYS)]), ("0", [])):
        made.clear()
        measure.measure(replace(CASE, depth=depth), [False, True], ceilings, on_a_gpu)
        assert made == [Variant(False), Variant(True), *captured]
        assert {variant.name for variant in made} == {"eager", *(variant.name for variant in captured)}


def test_what_fails_gets_a_note_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    step_of = core.step_of

    def failing(case: Case, variant: Variant, *rest: object) -> core.Step:
        if variant.channels_last:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step_of(case, variant, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(core, "step_of", failing)
    found = measure.measure(CASE, [False, True], Ceilings({"fp32": 1e12}, 1e10), SETTINGS)
    assert [c.note for c in found.candidates] == ["", "out of memory with batches of 2", ""]
    assert found.best == found.candidates[0]
    assert "out of memory with batches of 2" in report.markdown(results(found))


def test_a_capture_that_fails_gets_a_note() -> None:
    def failing() -> core.Step:
        raise RuntimeError("a step waits\nand a long story")

    runner = measure._prepared(measure._Runner(OURS, "NCHW", "graph"), CASE, failing, SETTINGS, may_fail=True)
    assert runner.note == "graph failed: a step waits"
    assert runner.step is None


def test_an_error_in_eager_code_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> core.Step:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(core, "step_of", failing)
    with pytest.raises(RuntimeError, match="shapes differ"):
        measure.measure(CASE, [False], Ceilings({"fp32": 1e12}, 1e10), SETTINGS)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes differ"), False),
    ],
)
def test_out_of_memory_is_told_from_the_rest(problem: Exception, expected: bool) -> None:
    assert measure.is_out_of_memory(problem) is expected


# --- loaders


def test_loaders_are_measured_alone_and_with_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POMONA_CACHE", str(tmp_path / "cache"))
    loading.write_photos(tmp_path / "photos", 5)
    found = loading.with_loader(made_up(), tmp_path / "photos", replace(SETTINGS, rounds=1))
    assert [one.who for one in found.loaded] == ["ours, first pass", "ours, later", "reference"]
    assert [one.compute for one in found.loaded] == [300.0, 300.0, 100.0]
    assert all(rate > 0 for one in found.loaded for rate in (*one.alone, *one.together))
    # Decoding is measured from an empty cache, and the user's own stays as it was.
    assert not (tmp_path / "cache").exists()


def test_photos_are_always_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        loading.write_photos(tmp_path / name, 2)
    first, second = ([p.read_bytes() for p in sorted((tmp_path / name).glob("*/*"))] for name in ("a", "b"))
    assert first == second
    assert first[0] != first[1]


def test_a_loader_that_is_slower_than_the_training_limits_it() -> None:
    assert Loaded(OURS, (90.0, 110.0, 80.0), (1.0,), compute=100).limits
    assert not Loaded(OURS, (90.0, 110.0, 120.0), (1.0,), compute=100).limits


# --- the command


def test_options_reach_the_cases() -> None:
    options = parse(["--backbones=vgg16", "--resolution=96,128", "--batch-size=4", "--depths=all", "--precision=bf16"])
    assert {(case.backbone, case.resolution, case.batch_size, case.precision) for case in options.cases} == {
        ("vgg16", 96, 4, "bf16"),
        ("vgg16", 128, 4, "bf16"),
    }
    assert {case.depth for case in options.cases} == {ALL, ""}


@pytest.mark.parametrize(
    "arguments",
    [
        "--backbones vgg17",
        "--backbones timm:resnet10t",
        "--batch-size 0",
        "--depths -1",
        "--precision fp64",
        "--layouts nhwc",
        "--seconds 0",
        "--seconds many",
    ],
)
def test_a_wrong_option_is_wrong_usage(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse(arguments.split())
    assert leaving.value.code == 2
    assert arguments.split()[0] in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_resumed_and_only_with_the_same_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "results.json")
    assert main([*QUICK, "--results", file]) == 0
    first = load(Path(file))
    assert len(first.measured) == 2
    assert "squeezenet1_1 64 px, inference" in capsys.readouterr().out

    measured: list[Case] = []
    original = measure.measure
    monkeypatch.setattr(
        "bench.throughput.command.measure", lambda case, *rest: measured.append(case) or original(case, *rest)
    )
    assert main([*QUICK, "--batch-size", "2,3", "--results", file, "--resume", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema_version"] == 1
    assert printed == json.loads(Path(file).read_text())
    assert [case.batch_size for case in measured] == [3, 3]
    assert load(Path(file)).measured[:2] == first.measured

    capsys.readouterr()
    assert main([*QUICK, "--rounds", "3", "--results", file, "--resume"]) == 1
    assert "another rounds" in capsys.readouterr().err
    assert main([*QUICK, "--resume"]) == 1
    (tmp_path / "other.json").write_text("{}")
    assert main([*QUICK, "--results", str(tmp_path / "other.json"), "--resume"]) == 1


def test_a_gpu_that_is_not_there_is_the_callers_mistake() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match="CUDA"):
        parse(["--device", "cuda"])


@pytest.mark.slow
def test_it_runs_where_there_is_only_torch_and_torchvision(tmp_path: Path) -> None:
    code = f"""
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        absent = name.partition(".")[0] in {ABSENT!r}
        return None if absent else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from bench.throughput.command import main
code = main({[*QUICK, "--out", str(tmp_path)]!r})
assert not {ABSENT!r} & {{name.partition(".")[0] for name in sys.modules}}
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| squeezenet1_1 64 px, inference" in done.stdout
    assert "needs matplotlib" in done.stderr
    assert (tmp_path / "throughput.md").read_text() == done.stdout
