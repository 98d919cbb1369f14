"""How long does a device get ready for a batch of a size that it has not seen, and how fast is it then?

    python -m bench.first_pass [--device auto] [--backbones NAME,...] [--resolutions R,...] [--batches N,...]

A first pass through all frozen stages, and a first training step of all stages, with random weights, against the
quickest of five more; frozen stages as a search computes them, and as a long run does, for which everything has been
compiled (docs/decisions/0035). Every size of batches is a new one, so that nothing was made ready for it before.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported.
    configure()

import torch
from tabulate import tabulate
from torch import nn

from search_spaces import InputError
from training import Numerics, atomic_write_bytes, environment, resolve_device
from training.models.backbones import build
from training.models.lowering import in_the_long_run, lower

BACKBONES = ("mobilenet_v2", "timm:tf_efficientnet_lite0")
_AGAIN = 5


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.first_pass", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--backbones", type=lambda text: text.split(","), default=list(BACKBONES), metavar="NAME,...")
    parser.add_argument("--resolutions", type=_numbers, default=[128, 224], metavar="R,...", help="default: 128,224")
    parser.add_argument("--batches", type=_numbers, default=[64, 32], metavar="N,...", help="default: 64,32")
    parser.add_argument("--out", type=Path, metavar="FILE.md")
    arguments = sys.argv[1:] if argv is None else argv
    options = parser.parse_args(arguments)
    try:
        text = measured(options, shlex.join(arguments))
    except InputError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    sys.stdout.write(text)
    if options.out is not None:
        atomic_write_bytes(options.out, text.encode())
    return 0


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def measured(options: argparse.Namespace, arguments: str) -> str:
    device, numerics = resolve_device(options.device), Numerics(options.precision, channels_last=True)
    rows: list[list[object]] = []
    for name in options.backbones:
        with torch.random.fork_rng([]):
            backbone = build(name)
        count = len(backbone.stages)
        for side in options.resolutions:
            for batch in options.batches:
                # What the one has made ready must not help the other.
                searched, long = (_images(batch + further, side, numerics, device) for further in (0, 1))
                stages = lower(backbone, count, numerics, device).frozen
                rows.append([name, side, batch, "frozen", *_times(_forward(stages, searched, numerics), device)])
                with in_the_long_run():
                    stages = lower(backbone, count, numerics, device).frozen
                    passes = _forward(stages, long, numerics)
                    rows.append([name, side, batch + 1, "frozen, long run", *_times(passes, device)])
                step = _step(lower(backbone, 0, numerics, device).trained, searched, numerics)
                rows.append([name, side, batch, "trained", *_times(step, device)])
    machine = environment(device)
    cudnn = torch.backends.cudnn.version() or "none"  # type: ignore[no-untyped-call]
    versions = ", ".join(f"{library} {version}" for library, version in machine["versions"].items())
    return (
        "# First passes\n\n"
        f"- command: `python -m bench.first_pass {arguments}`\n"
        f"- machine: {machine['device']}, {machine['threads']} threads; {numerics}; cuDNN {cudnn}; "
        f"python {machine['python']}, {versions}; "
        f"commit {machine['commit'] or 'none'}\n\n"
        + tabulate(rows, ["network", "pixels", "images", "stages", "first, ms", "then, ms"], tablefmt="github")
        + "\n"
    )


def _images(count: int, side: int, numerics: Numerics, device: torch.device) -> torch.Tensor:
    return torch.rand(count, 3, side, side, device=device).contiguous(memory_format=numerics.memory_format)


def _forward(stages: nn.ModuleList, images: torch.Tensor, numerics: Numerics) -> Callable[[], None]:
    @torch.no_grad()
    def run() -> None:
        values = images
        with numerics.autocast(images.device):
            for stage in stages:
                values = stage(values)

    return run


def _step(stages: nn.ModuleList, images: torch.Tensor, numerics: Numerics) -> Callable[[], None]:
    stages.train()

    def run() -> None:
        values = images
        with numerics.autocast(images.device):
            for stage in stages:
                values = stage(values)
        values.float().square().mean().backward()  # type: ignore[no-untyped-call]

    return run


def _times(run: Callable[[], None], device: torch.device) -> list[str]:
    """Milliseconds of the first call, and of the quickest of those after it."""
    first, *others = (_seconds(run, device) for _ in range(1 + _AGAIN))
    return [f"{1000 * seconds:.1f}" for seconds in (first, min(others))]


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    wait = torch.cuda.synchronize if device.type == "cuda" else nullcontext
    wait()
    began = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - began


if __name__ == "__main__":
    raise SystemExit(main())
