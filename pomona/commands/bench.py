"""`pomona bench`: the benchmarks, each with the options that its own module defines."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import typer

# Command -> the module whose `main(argv)` it runs, and what it answers.
BENCHMARKS = {
    "throughput": ("bench.throughput.command", "Images per second of the training core, and how far from the limits."),
    "search-speed": ("bench.search_speed.command", "Trials an hour of pomona and of its peers."),
    "scaling": (
        "bench.scaling.command",
        "Searches with many workers in simulated time, and what storages cost a trial.",
    ),
    "compare": ("bench.compare", "Tell a slowdown between two runs of the benchmarks from noise."),
}

bench = typer.Typer(name="bench", help="Measure speed on this machine.", no_args_is_help=True)


def _passing_on(module: str) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        code: int = importlib.import_module(module).main(context.args)
        raise typer.Exit(code)

    return run


for _name, (_module, _help) in BENCHMARKS.items():
    bench.command(
        _name,
        help=_help,
        # `--help` too is the module's own.
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_passing_on(_module))
