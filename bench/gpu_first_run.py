"""Everything that a machine with a GPU has to show the first time, in under ten minutes.

    python -m bench.gpu_first_run --data DIR --weights-dir DIR --out FOLDER

trains the same configs on the CPU and on the GPU and compares them (contracts), measures the training core's throughput
and the speed of a search, and runs a search from the command line where Optuna is installed. Every part is tried, a
part that fails does not stop the others, and what was found is written after each: FOLDER/first_run.json, with the
tables of the benchmarks beside it. Needs torch, torchvision and what `training` needs.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported, whose threads read their settings then.
    configure()

import torch

from search_spaces import Config, InputError, Task, task_named
from search_spaces.benchmarks import fixed_values
from training import (
    FitResult,
    Numerics,
    Prefixes,
    PrefixStore,
    Split,
    Splits,
    State,
    Stop,
    environment,
    fit,
    fit_lanes,
    load_backbone,
    load_checkpoint,
    measure_numerics,
    open_data,
    resolve_device,
    write_versioned_json,
)
from training.export.evaluate import evaluate
from training.machine.files import answer_text

from . import cold_search, first_pass, linear_probe
from .search_speed import command as search_speed
from .search_speed.configs import draw_configs
from .throughput import command as throughput

PARTS = ("contracts", "search", "first-passes", "throughput", "against-training", "search-speed")
TASK = "fruit"
# Of a loss on one device: other kernels, other orders of summation.
_CLOSE = 0.03
# In another precision, or on another device, where TF32 convolves and dropout draws other numbers.
_ALIKE = 0.1
_EPOCHS = 3
_RESOLUTION = 96


@dataclass(frozen=True)
class Options:
    data: Path
    weights_dir: Path | None
    elsewhere: Path | None
    out: Path
    parts: tuple[str, ...]
    device: torch.device
    quick: bool


@dataclass(frozen=True, eq=False)
class Setting:
    """What the contracts are tried on; `configs` train 0, 1, 2, 3 stages in turn."""

    task: Task
    splits: Splits
    configs: list[Config]
    options: Options

    def train(self, config: Config, device: torch.device, numerics: Numerics | None = None, **more: Any) -> FitResult:
        backbones = functools.partial(load_backbone, weights_dir=self.options.weights_dir)
        return fit(
            self.task,
            config,
            self.splits,
            epochs=_EPOCHS,
            device=device,
            numerics=numerics or Numerics(),
            backbones=backbones,
            **more,
        )

    def prefixes(self, device: torch.device, folder: Path) -> Prefixes:
        backbones = functools.partial(load_backbone, weights_dir=self.options.weights_dir)
        return Prefixes(backbones=backbones, numerics=Numerics(), device=device, store=PrefixStore(folder))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 where every part and every contract went well, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu_first_run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=f"photos of the {TASK} task")
    parser.add_argument("--weights-dir", type=Path, metavar="DIR", help="a folder with pretrained weights")
    parser.add_argument("--elsewhere", type=Path, metavar="DIR", help="photos by others, to score what a search finds")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where JSON and tables go")
    parser.add_argument("--parts", default=",".join(PARTS), metavar="PART,...", help="default: all of them")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu tries the script itself")
    parser.add_argument("--quick", action="store_true", help="something tiny of each part")
    found = parser.parse_args(argv)
    try:
        parts = tuple(part for part in found.parts.split(",") if part)
        if unknown := set(parts) - set(PARTS):
            raise InputError(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
        device = resolve_device(found.device)
        options = Options(found.data, found.weights_dir, found.elsewhere, found.out, parts, device, found.quick)
        report = run(options)
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    sys.stdout.write(answer_text(report) + "\n")
    return 0 if report["ok"] else 1


def run(options: Options) -> dict[str, Any]:
    """Tries every part and returns what is also in first_run.json."""
    options.out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"ok": True, "environment": environment(options.device), "parts": {}}
    for part in options.parts:
        started = time.perf_counter()
        try:
            found = _PART[part](options)
        # Whatever breaks in one part, the others are still wanted.
        except Exception as problem:
            found = {"ok": False, "problem": _told(problem)}
        found["seconds"] = round(time.perf_counter() - started, 1)
        report["parts"][part] = found
        report["ok"] = report["ok"] and found["ok"]
        write_versioned_json(options.out / "first_run.json", report)
        sys.stderr.write(f"{part}: {'ok' if found['ok'] else 'FAILED'} after {found['seconds']} s\n")
    return report


def _told(problem: Exception) -> str:
    return "".join(traceback.format_exception(problem))[-2500:]


def contracts(options: Options) -> dict[str, Any]:
    """Each contract by its name, with figures, and what was raised where it does not hold."""
    task = task_named(TASK)
    splits = open_data(str(options.data), task).at(_RESOLUTION)
    # The CPU trains everything too, and must not take the minutes that the GPU is there for.
    share = 8 if options.quick else 3
    splits = replace(splits, train=_every(splits.train, share), valid=_every(splits.valid, share))
    configs = draw_configs(task, fixed_values(task, _RESOLUTION), 8, seed=0)
    setting = Setting(task, splits, configs, options)
    found: dict[str, Any] = {}
    for name, contract in CONTRACTS.items():
        started = time.perf_counter()
        try:
            figures = contract(setting)
            found[name] = {"ok": True, **figures}
        except Exception as problem:
            found[name] = {"ok": False, "problem": _told(problem)}
        found[name]["seconds"] = round(time.perf_counter() - started, 1)
        sys.stderr.write(f"  {name}: {'ok' if found[name]['ok'] else 'FAILED'}\n")
    return {"ok": all(one["ok"] for one in found.values()), "contracts": found}


def _every(split: Split, share: int) -> Split:
    return split.subset(torch.arange(len(split)) % share == 0)


def _curves_close(mine: FitResult, other: FitResult, share: float) -> dict[str, Any]:
    """
    Raises:
        ValueError: the losses of an epoch differ by more than `share` of the larger one.
    """
    first, second = ([epoch.loss for epoch in result.curve] for result in (mine, other))
    figures = {"losses": first, "expected": second, "values": [mine.value, other.value]}
    far = max(abs(a - b) / max(abs(a), abs(b), 1e-3) for a, b in zip(first, second, strict=True))
    if far > share:
        raise ValueError(f"losses differ by {far:.1%}: {figures}")
    return {"largest_difference": far, **figures}


def _as_on_the_cpu(number: int, setting: Setting) -> dict[str, Any]:
    config = setting.configs[number]
    cpu = torch.device("cpu")
    return _curves_close(setting.train(config, setting.options.device), setting.train(config, cpu), _ALIKE)


def _half_precision(setting: Setting) -> dict[str, Any]:
    config, device = setting.configs[2], setting.options.device
    half = setting.train(config, device, Numerics("bf16", channels_last=True))
    return _curves_close(half, setting.train(config, device), _ALIKE)


def _lanes_as_alone(setting: Setting) -> dict[str, Any]:
    """Configs of one structure, as lanes and each by itself, on kept prefixes."""
    device = setting.options.device
    # The first and the fifth config have one depth; with the structure of the first, they can train together.
    from training import structure_part

    shared = structure_part(setting.configs[0])
    several = [setting.configs[0], *({**config, **shared} for config in setting.configs[4:5])]
    several = [setting.task.space.validate(config) for config in several]
    with tempfile.TemporaryDirectory() as folder:
        prefixes = setting.prefixes(device, Path(folder))
        together = fit_lanes(setting.task, several, setting.splits, epochs=_EPOCHS, prefixes=prefixes)
    figures = [
        _curves_close(lane, setting.train(config, device), _ALIKE)
        for lane, config in zip(together, several, strict=True)
    ]
    return {"lanes": figures}


def _twice(setting: Setting) -> dict[str, Any]:
    """One seed twice; whether the GPU gives equal digits is told, not required."""
    first, second = (setting.train(setting.configs[1], setting.options.device) for _ in range(2))
    figures = _curves_close(first, second, _CLOSE)
    return {"equal": figures["losses"] == figures["expected"], **figures}


def _resumed(setting: Setting) -> dict[str, Any]:
    """A run that was stopped after its first epoch goes on from its checkpoint, which then evaluates."""
    config, device = setting.configs[1], setting.options.device

    def stop(result: Any) -> None:
        if result.epoch == 1:
            raise Stop("for this check")

    whole = setting.train(config, device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "checkpoint"
        setting.train(config, device, checkpoint_to=folder, on_epoch=stop)
        resumed = setting.train(config, device, checkpoint_to=folder, resume_from=folder)
        figures = _curves_close(resumed, whole, _CLOSE)
        scored = evaluate(load_checkpoint(folder), setting.splits.valid, device)
    if resumed.value is None or abs(scored.score.value - resumed.value) > 0.02:
        raise ValueError(f"the checkpoint evaluates to {scored.score.value}, in training it was {resumed.value}")
    return {"evaluated": scored.score.value, **figures}


def _out_of_memory(setting: Setting) -> dict[str, Any]:
    """A run that does not fit is infeasible, and the next one trains."""
    if setting.options.device.type != "cuda":
        return {"skipped": "no GPU"}
    device = torch.device("cuda", torch.cuda.current_device())
    config = setting.configs[3]
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info(device)[1]
    torch.cuda.set_per_process_memory_fraction(min((torch.cuda.memory_allocated(device) + 2**25) / total, 1.0), device)
    try:
        broken = setting.train(config, device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    if broken.state != State.INFEASIBLE or "memory" not in broken.reason:
        raise ValueError(f"{broken.state}: {broken.reason}")
    after = setting.train(config, device)
    if after.state != State.COMPLETE:
        raise ValueError(f"the run after it: {after.state}: {after.reason}")
    return {"reason": broken.reason}


def _other_task(name: str, setting: Setting) -> dict[str, Any]:
    """A task of another modality, on data that is drawn here, or on noise in its place."""
    task = task_named(name)
    splits = open_data(None, task).at(0)
    mine, expected = (
        fit(task, dict(task.recipe), splits, epochs=2, device=device)
        for device in (setting.options.device, torch.device("cpu"))
    )
    return _curves_close(mine, expected, _CLOSE)


def _choice(setting: Setting) -> dict[str, Any]:
    measured = measure_numerics(setting.options.device)
    return {"chosen": str(measured.numerics), "images_per_second": measured.images_per_second}


CONTRACTS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "precision and layout are measured": _choice,
    **{f"{depth} trained stages: as on the CPU": functools.partial(_as_on_the_cpu, depth) for depth in (0, 1, 2, 3)},
    "bf16 and channels_last: as fp32": _half_precision,
    "lanes: as each alone": _lanes_as_alone,
    "one seed twice": _twice,
    "stopped and resumed: as in one go": _resumed,
    "out of memory is infeasible": _out_of_memory,
    "a table: as on the CPU": functools.partial(_other_task, "bonus"),
}


def measured_throughput(options: Options) -> dict[str, Any]:
    arguments = ["--device", options.device.type, "--results", str(options.out / "throughput.json")]
    if options.quick:
        arguments += ["--quick"]
    else:
        arguments += ["--backbones", "mobilenet_v2,resnet50", "--resolution", "224", "--batch-size", "64"]
        arguments += ["--depths", "0,2,all", "--precision", "bf16", "--rounds", "3", "--seconds", "0.25"]
    table = throughput.run(throughput.parse([*arguments, "--out", str(options.out)]))
    return {"ok": True, "table": table}


def against_training(options: Options) -> dict[str, Any]:
    """Whether the throughput benchmark measures what a training run runs."""
    arguments = ["--against-training", "--device", options.device.type]
    if options.quick:
        arguments += ["--quick"]
    else:
        arguments += ["--backbones", "mobilenet_v2,resnet50", "--resolution", "224", "--batch-size", "64"]
        arguments += ["--depths", "2,all", "--precision", "bf16", "--layouts", "channels_last", "--rounds", "5"]
        arguments += ["--seconds", "0.5"]
    return {"ok": True, "table": throughput.run(throughput.parse(arguments))}


def measured_search_speed(options: Options) -> dict[str, Any]:
    arguments = ["--data", str(options.data), "--device", options.device.type, "--out", str(options.out)]
    arguments += ["--results", str(options.out / "search_speed.json")]
    if options.weights_dir is not None:
        arguments += ["--weights-dir", str(options.weights_dir)]
    counts = ("4", "1") if options.quick else ("12", "3")
    arguments += ["--configs", counts[0], "--epochs", counts[1], "--methods", "expert,ours-no-lanes,ours"]
    arguments += ["--blocks", "expert=2,ours-no-lanes=2,ours=2"]
    return {"ok": True, "table": search_speed.run(search_speed.parse(arguments))}


def searched(options: Options) -> dict[str, Any]:
    """Searches from the command line, with their defaults but for the time, and frozen probes to compare them with."""
    if importlib.util.find_spec("optuna") is None:
        return {"ok": True, "skipped": "Optuna is not installed"}
    common = [TASK, "--data", str(options.data), "--device", options.device.type]
    if options.weights_dir is not None:
        common += ["--weights-dir", str(options.weights_dir)]
    search = [*common, "--seconds", "10" if options.quick else "60", "--out", str(options.out / "cold_search")]
    if options.elsewhere is not None:
        search += ["--elsewhere", str(options.elsewhere)]
    codes = [cold_search.main(search), linear_probe.main([*common, "--out", str(options.out / "linear_probe.md")])]
    return {"ok": codes == [0, 0], "page": (options.out / "cold_search" / "README.md").read_text()}


def first_passes(options: Options) -> dict[str, Any]:
    """How long the device gets ready for batches of a new size."""
    out = options.out / "first_passes.md"
    quick = ["--backbones", "squeezenet1_1", "--resolutions", "32", "--batches", "1"] if options.quick else []
    code = first_pass.main(["--device", options.device.type, "--out", str(out), *quick])
    return {"ok": code == 0, "table": out.read_text()}


_PART: dict[str, Callable[[Options], dict[str, Any]]] = {
    "contracts": contracts,
    "throughput": measured_throughput,
    "against-training": against_training,
    "search-speed": measured_search_speed,
    "search": searched,
    "first-passes": first_passes,
}


if __name__ == "__main__":
    raise SystemExit(main())
