"""How many images a second does the training core train, how far is that from the machine's limits, and from a peer?

    python -m bench.throughput --results FILE --out DIR

measures every combination of backbones, resolutions, batch sizes, depths and precisions, in training and inference, in
both memory layouts, on a GPU with steps captured as CUDA graphs too, and a plain loop in the style of torchvision's
references between them. Needs torch and torchvision only. What is left out of the options suits the device.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from search_spaces import InputError
from training.data.augment import STRONGEST
from training.machine.device import resolve_device
from training.machine.environment import environment
from training.machine.files import SCHEMA_VERSION, answer_text, atomic_write_bytes
from training.machine.precision import PRECISIONS
from training.models.backbones import BACKBONES
from training.models.lowering import in_the_long_run

from ..answers import JSON_HELP, with_results
from . import report
from .cases import ALL, TRAINING, Case, cases_of
from .ceilings import measure_ceilings
from .measure import Settings, free, measure
from .results import Measured, Results, load

LAYOUTS = {"nchw": False, "channels_last": True}


@dataclass(frozen=True)
class Defaults:
    backbones: tuple[str, ...]
    resolutions: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    depths: tuple[str, ...]
    precisions: tuple[str, ...]
    rounds: int
    seconds: float
    photos: int


_CPU = Defaults(
    ("mobilenet_v2", "resnet18"),
    (128,),
    (32,),
    ("0", "2", ALL),
    PRECISIONS,
    rounds=5,
    seconds=1,
    photos=256,
)
_CUDA = Defaults(
    ("vgg16", "resnet50", "resnet152", "mobilenet_v2", "efficientnet_b0"),
    (224,),
    (64, 256),
    ("0", ALL),
    ("bf16",),
    rounds=5,
    seconds=0.5,
    photos=2048,
)
_QUICK = Defaults(("squeezenet1_1",), (64,), (2,), ("0", ALL), PRECISIONS, rounds=2, seconds=0.01, photos=8)


@dataclass(frozen=True)
class Options:
    cases: tuple[Case, ...]
    layouts: tuple[bool, ...]
    settings: Settings
    quick: bool
    photos: int
    results: Path | None
    json: bool
    resume: bool
    out: Path | None
    against_training: bool
    command: str


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 done, 1 the input is wrong, 130 stopped by the user; argparse leaves with 2 on wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.stdout.write(run(parse(arguments)))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; with --results, whole cases are kept: the same command with --resume goes on\n")
        return 130
    return 0


def parse(arguments: Sequence[str]) -> Options:
    """
    Raises:
        InputError: an option asks for what there is not.
    """
    found = _parser().parse_args(with_results(arguments))
    if found.against_training and (found.results or found.out or found.loader):
        raise InputError("--against-training prints its figures: leave --results, --out and --loader out")
    device = resolve_device(found.device)
    defaults = _QUICK if found.quick else _CUDA if device.type == "cuda" else _CPU
    cases = cases_of(
        found.backbones or defaults.backbones,
        found.resolution or defaults.resolutions,
        found.batch_size or defaults.batch_sizes,
        found.depths or defaults.depths,
        found.precision or defaults.precisions,
    )
    return Options(
        cases=tuple(cases),
        layouts=tuple(LAYOUTS[name] for name in found.layouts or LAYOUTS),
        settings=Settings(
            device=device,
            rounds=found.rounds or defaults.rounds,
            seconds=found.seconds or defaults.seconds,
            strength=found.strength,
        ),
        quick=found.quick,
        photos=defaults.photos if found.loader else 0,
        results=found.results,
        json=found.json,
        resume=found.resume,
        out=found.out,
        against_training=found.against_training,
        command=shlex.join(["python", "-m", "bench.throughput", *arguments]),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.throughput", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--backbones", type=_list_of(_backbone), metavar="NAME,...", help=", ".join(BACKBONES))
    add("--resolution", type=_list_of(_whole), metavar="R,...", help="pixels a side")
    add("--batch-size", type=_list_of(_whole), metavar="N,...", help="images a batch")
    add("--depths", type=_list_of(_depth), metavar="K,...", help="how many of the last stages train: 0, 1, ... or all")
    add("--precision", type=_list_of(_one_of(PRECISIONS)), metavar="P,...", help=" or ".join(PRECISIONS))
    add("--layouts", type=_list_of(_one_of(LAYOUTS)), metavar="L,...", help=" or ".join(LAYOUTS))
    add("--strength", type=int, choices=range(STRONGEST + 1), default=2, help="of our augmentation (default 2)")
    add("--rounds", type=_whole, metavar="N", help="in which all ways take turns")
    add("--seconds", type=_seconds, metavar="S", help="of each way in each round")
    add("--loader", action="store_true", help="also train from JPEGs on disk, which are made for it")
    add("--against-training", action="store_true", help="compare these figures with those of training runs, and end")
    add("--quick", action="store_true", help="something tiny, in seconds")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="what computes (default auto)")
    add("--results", type=Path, metavar="FILE", help="write the figures, after every case")
    add("--json", action="store_true", help=JSON_HELP)
    add("--resume", action="store_true", help="keep the cases that FILE has, and add the others to them")
    add("--out", type=Path, metavar="DIR", help="write throughput.md and roofline.png")
    return parser


@in_the_long_run()
def run(options: Options) -> str:
    """Measures, and returns the tables.

    Raises:
        InputError: results can't be written, or those to go on from are of another machine or version.
    """
    settings, device = options.settings, options.settings.device
    if options.against_training:
        return _against_training(options)
    results = _opened(options)
    known = {one.case for one in results.measured}
    waiting = [case for case in options.cases if case not in known]
    with tempfile.TemporaryDirectory() as folder:
        if options.photos:
            from . import loading

            loading.write_photos(Path(folder), options.photos)
        if waiting:
            precisions = [*dict.fromkeys(case.precision for case in waiting)]
            ceilings = measure_ceilings(precisions, device, quick=options.quick)
        for number, case in enumerate(waiting, 1):
            measured = measure(case, options.layouts, ceilings, settings)
            if options.photos and case.mode == TRAINING:
                free(device)
                measured = loading.with_loader(measured, Path(folder), settings)
            results.measured.append(measured)
            _tell(number, len(waiting), measured)
            if options.results is not None:
                results.save(options.results)
    text = report.markdown(results)
    if options.out is not None:
        atomic_write_bytes(options.out / "throughput.md", text.encode())
        if not report.draw(results.measured, options.out / "roofline.png"):
            sys.stderr.write("no roofline.png: it needs matplotlib, and a case that ran\n")
    return answer_text(results.to_json()) + "\n" if options.json else text


def _against_training(options: Options) -> str:
    from .against_training import compare  # trains, which needs more than torch

    found = []
    for case in options.cases:
        for channels_last in options.layouts if case.mode == TRAINING else ():
            free(options.settings.device)
            found.append(compare(case, channels_last, options.settings))
            sys.stderr.write(f"{len(found)}: {case}\n")
    if options.json:
        return answer_text({"schema_version": SCHEMA_VERSION, "compared": [one.to_json() for one in found]}) + "\n"
    return "".join(f"{one}\n" for one in found)


def _opened(options: Options) -> Results:
    device = options.settings.device
    about: dict[str, Any] = {
        "command": options.command,
        "environment": environment(device),
        "device_type": device.type,
        "cuda": f", CUDA {torch.version.cuda}" if device.type == "cuda" else "",
        "rounds": options.settings.rounds,
        "seconds": options.settings.seconds,
        "strength": options.settings.strength,
    }
    if options.resume and options.results is None:
        raise InputError("--resume goes on from the file of --results: name it")
    if not options.resume or options.results is None or not options.results.exists():
        return Results(about)
    earlier = load(options.results)
    for name in ("environment", "rounds", "seconds", "strength"):
        if earlier.about[name] != about[name]:
            raise InputError(f"{options.results} was measured with another {name}: choose another file, or no --resume")
    about["command"] = f"{earlier.about['command']}; {options.command}"
    return Results(about, earlier.measured)


def _tell(number: int, total: int, measured: Measured) -> None:
    best = measured.best
    ratio = measured.ratio(best) if best is not None else None
    speed = "no result" if best is None else f"{best.speed.median:,.0f} images/s"
    against = "" if ratio is None else f", {ratio.median:.2f} x the reference"
    sys.stderr.write(f"{number}/{total} {measured.case}: {speed}{against}\n")


def _list_of(one: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parsed(text: str) -> list[Any]:
        return [one(part.strip()) for part in text.split(",") if part.strip()]

    return parsed


def _one_of(names: Sequence[str] | dict[str, Any]) -> Callable[[str], str]:
    def checked(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}")
        return text

    return checked


def _backbone(text: str) -> str:
    # timm's have no counterpart in torchvision to compare with.
    return _one_of([*BACKBONES])(text)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _depth(text: str) -> str:
    if text != ALL and not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor {ALL}")
    return text if text == ALL else str(int(text))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
