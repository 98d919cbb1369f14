"""What the throughput benchmark does is what it says: equal work on both sides, figures that follow from the rounds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bench.throughput import core, loading, measure, reference, report, work
from bench.throughput.cases import ALL, INFERENCE, TRAINING, Case, Variant, cases_of
from bench.throughput.ceilings import Ceilings
from bench.throughput.clock import timed, warmed_up
from bench.throughput.command import main, parse
from bench.throughput.results import OURS, REFERENCE, Candidate, Loaded, Measured, Results, Spread, load
from bench.throughput.work import Work, work_of
from search_spaces import InputError
from training.augment import DRAWS
from training.backbones import divide
from training.batches import to_floats

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
CASE = Case("squeezenet1_1", 64, 2, TRAINING, ALL, "fp32")
SETTINGS = measure.Settings(CPU, rounds=2, seconds=1e-6, compiled=False, strength=2)
QUICK = ["--quick", "--precision", "fp32", "--depths", "0"]
# What a machine lacks that has torch and torchvision, and what those two need.
ABSENT = {"optuna", "ray", "sklearn", "pandas", "safetensors", "filelock", "platformdirs", "rich", "typer"} | {
    "matplotlib",
    "tabulate",
    "timm",
    "scipy",
}


def trained(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


# --- what is computed


def test_cases_are_every_combination_and_inference_has_no_depth() -> None:
    cases = cases_of(["a", "b"], [64], [2, 4], ["0", "all"], ["fp32"])
    assert len(set(cases)) == len(cases) == 2 * 2 * 3
    assert {case.depth for case in cases if case.mode == INFERENCE} == {""}


@pytest.mark.parametrize("depth", ["0", "2", ALL])
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "squeezenet1_1"])
def test_both_sides_train_the_same_stages(name: str, depth: str) -> None:
    case = replace(CASE, backbone=name, depth=depth)
    ours = core.Core(case, Variant(channels_last=False), 0, CPU).model
    theirs = reference.Reference(case, CPU).model
    parts = divide(name, theirs)
    assert [trained(stage) for stage in ours.stages] == [trained(stage) for stage in parts.stages]
    assert (sum(trained(stage) for stage in ours.stages) == 0) == (depth == "0")
    assert trained(parts.source_head) > 0


@pytest.mark.parametrize("depth", ["0", "2"])
def test_a_step_changes_what_is_trained_and_nothing_else(depth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(CASE, backbone="resnet18", depth=depth)
    made: list[core.Core] = []
    class_of = core.Core
    monkeypatch.setattr(core, "Core", lambda *given: made.append(class_of(*given)) or made[-1])
    step = core.step_of(case, Variant(channels_last=True), core.resident(case, CPU), 2, CPU)
    (one,) = made
    before = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
    step()
    after = one.model.state_dict()
    frozen = tuple(f"stages.{number}." for number in range(one.cut))
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith(frozen))
    assert not any(torch.equal(before[n], after[n]) for n, p in one.model.named_parameters() if p.requires_grad)


def test_inference_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(CASE, backbone="resnet18", mode=INFERENCE, depth="")
    made: list[core.Core] = []
    class_of = core.Core
    monkeypatch.setattr(core, "Core", lambda *given: made.append(class_of(*given)) or made[-1])
    step = core.step_of(case, Variant(channels_last=False), core.resident(case, CPU), 2, CPU)
    before = {name: tensor.clone() for name, tensor in made[0].model.state_dict().items()}
    step()
    assert all(torch.equal(before[name], tensor) for name, tensor in made[0].model.state_dict().items())


def test_layouts_give_the_same_loss_and_the_head_only_depth_that_of_all_stages_in_the_same_modes() -> None:
    data = core.resident(CASE, CPU)
    pixels, labels, draws = data.images[:2], data.labels[:2], torch.rand(2, DRAWS)
    losses = []
    for variant in (Variant(channels_last=False), Variant(channels_last=True)):
        for depth in ("0", ALL):
            torch.manual_seed(0)
            one = core.Core(replace(CASE, depth=depth), variant, 2, CPU)
            for module in one.model.modules():
                if isinstance(module, nn.Dropout):
                    module.eval()
            losses.append(one.loss(pixels, labels, draws))
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0])


def test_an_epoch_sees_every_image_once_in_an_order_of_its_own() -> None:
    data = core.Resident(torch.zeros(12, 1), torch.zeros(12))
    batches = core._Batches(data, 4)
    address = batches.index.data_ptr()

    def epoch() -> list[int]:
        seen = []
        for _ in range(3):
            batches.advance()
            seen += batches.index.tolist()
        return seen

    torch.manual_seed(0)
    first, second = epoch(), epoch()
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert batches.index.data_ptr() == address


def test_the_reference_sees_the_images_that_ours_does() -> None:
    data = core.resident(CASE, CPU)
    one = core.Core(CASE, Variant(channels_last=False), 0, CPU)
    torch.testing.assert_close(reference._normalised(data.images), one.model.normalise(to_floats(data.images, CPU)))


# --- how much work that is


def test_operations_are_those_that_others_count() -> None:
    """torchvision's own figure for ResNet-18 at 224 is 1.814 billion multiplications with their additions."""
    case = Case("resnet18", 224, 8, INFERENCE, "", "fp32")
    assert work_of(case, CPU).flops == pytest.approx(2 * 1.814e9, rel=0.002)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2", "resnet18"])
def test_more_stages_that_train_are_more_work(name: str) -> None:
    case = replace(CASE, backbone=name)
    head, some, everything = (work_of(replace(case, depth=depth), CPU) for depth in ("0", "2", ALL))
    inference = work_of(replace(case, mode=INFERENCE, depth=""), CPU)
    # Backward is twice forward, save the gradient of the first layer's input.
    assert inference.flops < head.flops < some.flops < everything.flops < 3 * inference.flops
    assert everything.flops > 2.5 * inference.flops
    assert inference.bytes < head.bytes < some.bytes < everything.bytes
    half = work_of(replace(case, precision="bf16"), CPU)
    assert half.flops == everything.flops
    assert half.bytes < everything.bytes


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (2, 1), (8, 2)])
@pytest.mark.parametrize("wants_input", [True, False])
def test_a_backward_pass_of_a_convolution_is_twice_its_forward_pass(
    groups: int, stride: int, wants_input: bool
) -> None:
    layer = nn.Conv2d(8, 16, 3, stride=stride, groups=groups)
    images = torch.zeros(2, 8, 9, 9, requires_grad=wants_input)
    with work.counting_flops() as forward:
        out = layer(images)
    with work.counting_flops() as backward:
        out.sum().backward()
    assert forward.get_total_flops() == 2 * out.numel() * 3 * 3 * 8 // groups
    assert backward.get_total_flops() == (1 + wants_input) * forward.get_total_flops()


def test_traffic_of_layers_is_what_they_read_and_write() -> None:
    frozen, trained_layer = nn.Linear(4, 8), nn.Linear(8, 2)
    frozen.requires_grad_(False)
    model = nn.Sequential(frozen, nn.ReLU(), nn.Identity(), trained_layer)
    with work._traffic(model) as traffic:
        model(torch.zeros(5, 4))
    assert traffic == [4 * 5 * (4 + 8), 4 * 5 * (8 + 8), 3 * 4 * 5 * (8 + 2)]
    assert not any(module._forward_hooks for module in model.modules())


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


def test_the_layout_that_is_faster_eagerly_is_compiled_and_on_a_gpu_captured() -> None:
    compiled = replace(SETTINGS, compiled=True)
    assert [v.name for v in measure._further(True, SETTINGS)] == []
    assert [v.name for v in measure._further(True, compiled)] == ["compile"]
    on_a_gpu = measure._further(False, replace(compiled, device=torch.device("cuda")))
    assert [v.name for v in on_a_gpu] == ["graph", "compile", "compile+graph"]
    assert {v.layout for v in on_a_gpu} == {"NCHW"}


def test_what_fails_gets_a_note_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    step_of = core.step_of

    def failing(case: Case, variant: Variant, *rest: object) -> core.Step:
        if variant.compiled:
            raise RuntimeError("no compiler\nand a long story")
        if variant.channels_last:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step_of(case, variant, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(core, "step_of", failing)
    found = measure.measure(CASE, [False, True], Ceilings({"fp32": 1e12}, 1e10), replace(SETTINGS, compiled=True))
    assert [c.note for c in found.candidates] == [
        "",
        "out of memory with batches of 2",
        "compile failed: no compiler",
        "",
    ]
    assert found.best == found.candidates[0]
    text = report.markdown(results(found))
    assert "out of memory with batches of 2" in text
    assert "no compiler" in text


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


# --- figures


def made_up(ours: tuple[float, ...] = (300.0, 300.0), peer: tuple[float, ...] = (100.0, 100.0)) -> Measured:
    candidates = (
        Candidate(OURS, "NCHW", "eager", tuple(rate / 2 for rate in ours), 2**30),
        Candidate(OURS, "channels_last", "eager", ours, 3 * 2**30),
        Candidate(OURS, "channels_last", "compile", (), note="compile failed: no compiler"),
        Candidate(REFERENCE, "NCHW", "eager", peer),
    )
    return Measured(CASE, Work(2e9, 1e8), 1e12, 1e11, candidates)


def results(*measured: Measured) -> Results:
    about = {
        "command": "python -m bench.throughput",
        "environment": {"device": "a machine", "python": "3", "versions": {"torch": "2"}, "commit": "abc"},
        "device_type": "cpu",
        "cuda": "",
        "rounds": 2,
        "seconds": 1.0,
        "strength": 2,
    }
    return Results(about, [*measured])


def test_ratios_are_of_the_same_round() -> None:
    measured = made_up(ours=(200.0, 10.0, 60.0), peer=(100.0, 10.0, 20.0))
    best = measured.best
    assert best is not None
    assert measured.ratio(best) == Spread(median=2.0, low=1.0, high=3.0)
    assert measured.ratio(measured.candidates[2]) is None


def test_shares_of_the_ceilings() -> None:
    measured = made_up()
    assert (measured.compute_bound, measured.bandwidth_bound) == (500.0, 1000.0)
    row = next(line for line in report.markdown(results(measured)).splitlines() if line.startswith(f"| {CASE}"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        str(CASE),
        "channels_last eager",
        "300 (300 to 300)",
        "100 (100 to 100)",
        "3.00 x (3.00 to 3.00)",
        "60.0%",
        "30.0%",
        "3.00 GiB",
    ]


def test_the_table_says_where_the_reference_wins() -> None:
    assert "the reference wins" in report.markdown(results(made_up(ours=(50.0, 60.0))))
    assert "the reference wins" not in report.markdown(results(made_up(ours=(50.0, 110.0))))


def test_every_table_has_as_many_cells_in_each_row() -> None:
    loaded = (Loaded(OURS, (1.0,), (1.0,), 2.0),)
    nothing = replace(made_up(), candidates=(Candidate(OURS, "NCHW", "eager", (), note="out of memory"),))
    tables = report.markdown(results(replace(made_up(), loaded=loaded), nothing)).split("\n\n")
    for table in tables:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({(line.count("|"), len(line)) for line in lines}) <= 1


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=5), st.one_of(st.none(), st.integers(0, 2**40)))
def test_results_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory, rates: list[float], peak: int | None
) -> None:
    path = tmp_path_factory.mktemp("results") / "results.json"
    candidates = (
        Candidate(OURS, "NCHW", "eager", tuple(rates), peak),
        Candidate(REFERENCE, "NCHW", "eager", tuple(rates)),
    )
    loaded = (Loaded(OURS, tuple(rates), tuple(rates), 2.0),)
    before = results(replace(made_up(), candidates=candidates, loaded=loaded))
    before.save(path)
    assert load(path) == before


def test_the_file_holds_what_follows_from_the_rounds(tmp_path: Path) -> None:
    results(made_up()).save(tmp_path / "results.json")
    (one,) = json.loads((tmp_path / "results.json").read_text())["measured"]
    assert one["compute_bound"] == 500
    assert [row["fastest"] for row in one["candidates"]] == [False, True, False, False]
    assert one["candidates"][1]["images_per_second"] == {"median": 300, "low": 300, "high": 300}
    assert one["candidates"][1]["ratio_to_reference"]["median"] == 3
    assert one["candidates"][2]["images_per_second"] is None


def test_a_roofline_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert report.draw([made_up(), replace(made_up(), case=replace(CASE, mode=INFERENCE))], tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")
    assert not report.draw([], tmp_path / "none.png")


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


def test_a_run_is_resumed_and_only_with_the_same_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "results.json")
    assert main([*QUICK, "--json", file]) == 0
    first = load(Path(file))
    assert len(first.measured) == 2
    assert "squeezenet1_1 64 px, inference" in capsys.readouterr().out

    measured: list[Case] = []
    original = measure.measure
    monkeypatch.setattr(
        "bench.throughput.command.measure", lambda case, *rest: measured.append(case) or original(case, *rest)
    )
    assert main([*QUICK, "--batch-size", "2,3", "--json", file, "--resume"]) == 0
    assert [case.batch_size for case in measured] == [3, 3]
    assert load(Path(file)).measured[:2] == first.measured

    capsys.readouterr()
    assert main([*QUICK, "--rounds", "3", "--json", file, "--resume"]) == 1
    assert "another rounds" in capsys.readouterr().err
    assert main([*QUICK, "--resume"]) == 1
    (tmp_path / "other.json").write_text("{}")
    assert main([*QUICK, "--json", str(tmp_path / "other.json"), "--resume"]) == 1


def test_a_gpu_that_is_not_there_is_the_callers_mistake() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match="CUDA"):
        parse(["--device", "cuda"])


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
