"""The ways in which a study is disturbed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .disturbed import Disturbed, strikes
from .place import Orders, Place
from .report import Report, report_on


@dataclass(frozen=True)
class Options:
    """`compare`: with the same trials undisturbed."""

    trials: int = 200
    workers: int = 4
    kills: int = 40
    driver_kills: int = 5
    seed: int = 0
    compare: bool = True


def undisturbed(run: Disturbed, folder: Path, orders: Orders, seed: int) -> Disturbed:
    """The same trials, when nothing happens to them.

    They are enqueued: with several workers, what a sampler proposes follows from the order in which trials end.
    """
    configs = [record.config for record in run.place.records()]
    calm = Disturbed(Place.made(folder, trials=orders.trials, seed=seed, configs=configs))
    calm.run(replace(orders, folder=str(folder), clock_jumps=False))
    return calm


def _report(run: Disturbed, orders: Orders, options: Options) -> Report:
    if not options.compare:
        return report_on(run, orders, options.seed, None)
    calm = undisturbed(run, run.place.folder.with_name("undisturbed"), orders, options.seed)
    return report_on(run, orders, options.seed, calm)


def kills(folder: Path, options: Options, *, clock_jumps: bool = False) -> Report:
    """Workers and drivers are killed."""
    place = Place.made(folder, trials=options.trials, seed=options.seed)
    when = strikes(options.trials, options.kills, options.driver_kills, options.seed)
    run = Disturbed(place, when, options.seed)
    orders = Orders(str(folder), options.trials, options.workers, clock_jumps)
    run.run(orders)
    return _report(run, orders, options)


def clock_jumps(folder: Path, options: Options) -> Report:
    """The same, and the wall clock is set back and forth by hours meanwhile."""
    return kills(folder, options, clock_jumps=True)


def full_disk(folder: Path, options: Options) -> Report:
    """There is no room for records any more, then none for saved trials; then there is, and the study goes on.

    Nobody is killed: a driver ends by itself, with one line that says why.
    """
    run = Disturbed(Place.made(folder, trials=options.trials, seed=options.seed))
    orders = Orders(str(folder), options.trials, options.workers)
    for full in (replace(orders, full_after=options.trials // 4), replace(orders, full_for_workers=True)):
        before = len(run.place.errors.read_text())
        code = run.live(full)
        said = run.place.errors.read_text()[before:].splitlines()
        errors = [line for line in said if line.startswith("error: ")]
        # Workers may note before that they go on without a cache.
        if code != 1 or not said or said[-1:] != errors:
            run.ledger.problems.append(f"on a full disk a driver ended with exit code {code} and said {said}")
        run.refusals += errors
    run.run(orders)
    return _report(run, orders, options)


VARIANTS: Mapping[str, Callable[[Path, Options], Report]] = {
    "kills": kills,
    "clock-jumps": clock_jumps,
    "full-disk": full_disk,
}
