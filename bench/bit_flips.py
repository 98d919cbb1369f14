"""Does a flipped bit in a file of ours go unnoticed, and what do the digests cost that find it?

    python -m bench.bit_flips [--flips 100] [--seed 0] [--rounds 7] [--json FILE] [--out results/integrity]

Small real files of each kind are made, one random bit is flipped at a time, and the file is opened as pomona opens it.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import logging
import os
import random
import shlex
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from search_spaces import InputError, task_named
from studies.ensemble_row import Remembered
from studies.outputs import KeptOutputs
from training import (
    PrefixStore,
    atomic_write_bytes,
    cache_folder,
    environment,
    fit,
    load_checkpoint,
    load_lane,
    measure_numerics,
    open_data,
    save_lane,
    wilson,
    write_versioned_json,
)
from training.data import contents, rendered_folder
from training.data.decode import decoded
from training.frozen.store import BlockKey
from training.lanes.checkpoint import ENSEMBLE, RECORD, STATE, save_checkpoint
from training.lanes.ensemble_checkpoint import Member, load_ensemble, save_ensemble
from training.lanes.lane_state import LaneState
from training.lanes.results import Outputs, curve_from_json
from training.machine.digest import Digest, file_digest, note
from training.machine.process import configure
from training.models.numerics import known_numerics

CPU = torch.device("cpu")
NOTICED, RECOVERED, HARMLESS, SILENT = "noticed", "recovered", "harmless", "silent difference"
OUTCOMES = (NOTICED, RECOVERED, HARMLESS, SILENT)
"""An error that says so; computed again with equal values; equal values all the same; other values without a word."""

_MEGABYTES = 64
_pictures = functools.partial(rendered_folder, train_per_class=1, valid_per_class=1)


@dataclass(frozen=True)
class Kind:
    """A kind of file: where one is, and what opening it gives, as values that can be compared.

    `read` gives None where it finds nothing of use; `none` is which outcome that is.
    """

    name: str
    file: Path
    read: Callable[[], object]
    none: str = NOTICED


def kinds(folder: Path) -> list[Kind]:
    """A small real file of each kind below `folder`, which is the cache folder too."""
    pictures = _pictures()
    return [
        *_checkpoint(folder),
        _lane(folder),
        _outputs(folder),
        _chosen(folder),
        *_activations(folder),
        *_drawn(pictures),
        _decoded(pictures),
        _numerics(),
        _contents(pictures),
    ]


def _checkpoint(folder: Path) -> Iterator[Kind]:
    task, place = task_named("bonus"), folder / "checkpoint"
    fit(task, task.recipe, open_data(None, task).at(0), epochs=2, checkpoint_to=place)
    small = load_checkpoint(place)
    # A line's two weights are next to nothing beside the header of their file.
    save_checkpoint(place, small.record, small.tensors | _weights())

    def read() -> object:
        checkpoint = load_checkpoint(place)
        return checkpoint.record, _plain(checkpoint.tensors)

    yield Kind("checkpoint", place / STATE, read)
    yield Kind("checkpoint, record for people", place / RECORD, read)
    save_ensemble(folder, [Member(place.name, 1.0, 3)], wilson(0.8, 40), wilson(0.75, 8), 0.001)

    def read_ensemble() -> object:
        ensemble = load_ensemble(folder)
        return ensemble.record, ensemble.weights, ensemble.trials, _plain(ensemble.tensors)

    yield Kind("checkpoint of an ensemble", folder / ENSEMBLE, read_ensemble)


def _weights() -> dict[str, torch.Tensor]:
    return {"model.weights": torch.rand(64, 64, generator=torch.Generator().manual_seed(1))}


def _lane(folder: Path) -> Kind:
    checkpoint = load_checkpoint(folder / "checkpoint")
    path, about = folder / "lane.safetensors", {"config": checkpoint.record.config, "seed": 0}
    state = LaneState(checkpoint.tensors, curve_from_json(checkpoint.record.curve), torch.arange(40), 1.5)
    save_lane(path, state, about)

    def read() -> object:
        lane = load_lane(path, about)
        if lane is None or lane.predictions is None:
            return None
        return lane.curve, lane.seconds, lane.predictions.tolist(), _plain(lane.tensors)

    return Kind("saved lane", path, read)


def _outputs(folder: Path) -> Kind:
    kept = KeptOutputs(folder / "outputs", "maximize")
    values = np.random.default_rng(0).random((40, 3), np.float32)
    kept.keep(7, 0.5, Outputs(values, np.arange(40) % 3, np.arange(40) // 2, ("a", "b", "c"), "which"))

    def read() -> object:
        found = kept.read(7)
        if found is None:
            return None
        value, outputs = found
        arrays = {name: getattr(outputs, name) for name in ("values", "labels", "groups")}
        return value, outputs.classes, outputs.split, {n: (str(a.dtype), a.tolist()) for n, a in arrays.items()}

    return Kind("kept outputs of a trial", kept.folder / "00007.safetensors", read)


def _chosen(folder: Path) -> Kind:
    path = folder / "chosen" / "ensemble.json"
    Remembered(candidates=((3, 0.5), (7, 0.75)), weights=((3, 0.25), (7, 0.75)), estimate=wilson(0.8, 40)).write(path)

    def read() -> object:
        remembered = Remembered.read(path)
        # It is chosen again then.
        return None if remembered == Remembered() else remembered

    return Kind("chosen ensemble", path, read, none=RECOVERED)


def _plain(tensors: dict[str, torch.Tensor]) -> dict[str, object]:
    return {name: (str(tensor.dtype), tensor.tolist()) for name, tensor in tensors.items()}


def _activations(folder: Path) -> Iterator[Kind]:
    key = BlockKey("mobilenet_v2", "0123abcd", 96, 1, "", 0, 7, "bf16, channels_last, cpu", "2.13.0", 1)
    images = [f"{number:04x}" for number in range(20)]
    rows = torch.rand(20, 40, generator=torch.Generator().manual_seed(0)).bfloat16()

    def read() -> object:
        # A store of its own each time: what is in memory is not read again.
        store = PrefixStore(folder / "prefixes", disk_limit=2**30, memory_limit=0)
        found = store.rows(key, images, lambda positions: rows[list(positions)])
        return found.tolist()

    read()
    (segment,) = (folder / "prefixes" / key.digest).glob("*.safetensors")
    yield Kind("prefix block, rows", segment, read)
    yield Kind("prefix block, key", segment.with_name("block.json"), read)


def _drawn(pictures: Path) -> Iterator[Kind]:
    def read() -> object:
        folder = _pictures()
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    yield Kind("rendered fruit, picture", next(iter(sorted(pictures.rglob("*.png")))), read)
    yield Kind("rendered fruit, manifest", pictures / "manifest.csv", read)


def _decoded(pictures: Path) -> Kind:
    photos = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in sorted(pictures.rglob("*.png"))}

    def read() -> object:
        return decoded(photos, 16).tolist()

    read()
    (file,) = cache_folder("decoded").glob("*.npy")
    return Kind("decoded photos", file, read)


def _numerics() -> Kind:
    measure_numerics(CPU, seconds=0.0)

    # Where it is None, the machine is measured again, which would take a second for each flip.
    return Kind("numerics.json", cache_folder("numerics.json"), lambda: known_numerics(CPU), none=RECOVERED)


def _contents(pictures: Path) -> Kind:
    names = sorted(str(file.relative_to(pictures)) for file in pictures.rglob("*.png"))

    def read() -> object:
        index = contents.ContentIndex(pictures)
        found = index.examine(names)
        index.save()
        return found

    # Younger files are not remembered.
    time.sleep(max(0.0, contents.SETTLED_NS / 1e9))
    read()
    (file,) = cache_folder("contents").glob("*.json")
    return Kind("contents of photos", file, read)


def flip(kind: Kind, flips: int, generator: random.Random) -> Counter[str]:
    """Outcomes of opening the file with one bit flipped, `flips` times, each time with another one."""
    whole, expected = kind.file.read_bytes(), kind.read()
    outcomes: Counter[str] = Counter()
    for number in range(flips):
        content = bytearray(whole)
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        _put(kind.file, bytes(content), number)
        outcomes[_outcome(kind, expected)] += 1
        _put(kind.file, whole, number)
    return outcomes


def _outcome(kind: Kind, expected: object) -> str:
    with _notes() as told:
        try:
            found = kind.read()
        except InputError:
            return NOTICED
    if found is None:
        return kind.none
    if found != expected:
        return SILENT
    return RECOVERED if told else HARMLESS


def _put(file: Path, content: bytes, number: int) -> None:
    """Writes a file with times of its own, so that nobody takes it for one that was looked at before."""
    file.write_bytes(content)
    os.utime(file, ns=(10**18 + number, 10**18 + number))


class _Kept(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@contextmanager
def _notes() -> Iterator[list[logging.LogRecord]]:
    """What is said meanwhile to the user, each sentence as if for the first time."""
    told: list[logging.LogRecord] = []
    logger = logging.getLogger("pomona")
    handler = _Kept(told)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    note.cache_clear()
    try:
        yield told
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def costs(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of processor time a megabyte, of reading a file and of its digest, which take turns.

    The file is in the system's cache: from a disk, reading takes longer.
    """
    file = folder / "large"
    file.write_bytes(random.Random(0).randbytes(_MEGABYTES * 10**6))
    data = file.read_bytes()
    buffer = bytearray(1 << 20)
    ways: dict[str, Callable[[], object]] = {
        "reading": lambda: _read(file, buffer),
        "digest": lambda: _digest(data),
        "reading with digest": functools.partial(file_digest, file),
        "sha256, for comparison": lambda: hashlib.sha256(data).digest(),
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, work in ways.items():
            # Processor time: other work on the machine does not count as ours.
            started = time.process_time()
            work()
            taken[way].append(1000 * (time.process_time() - started) / _MEGABYTES)
    # The first round fills the caches.
    return {way: times[1:] for way, times in taken.items()}


def _read(path: Path, buffer: bytearray) -> None:
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _digest(data: bytes) -> str:
    digest = Digest()
    digest.add(data)
    return digest.text


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m bench.bit_flips", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flips", type=int, default=100, help="of each kind of file")
    parser.add_argument("--seed", type=int, default=0, help="of which bits they are")
    parser.add_argument("--rounds", type=int, default=7, help="of timing")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write bit_flips.md and bit_flips.json")
    options = parser.parse_args(argv)
    text, figures = measured(options, shlex.join(["python", "-m", "bench.bit_flips", *argv]))
    sys.stdout.write(text)
    if options.json is not None:
        write_versioned_json(options.json, figures)
    if options.out is not None:
        atomic_write_bytes(options.out / "bit_flips.md", text.encode())
        write_versioned_json(options.out / "bit_flips.json", figures)
    return int(any(outcomes[SILENT] for outcomes in figures["flips"].values()))


def measured(options: argparse.Namespace, command: str) -> tuple[str, dict[str, Any]]:
    before = os.environ.get("POMONA_CACHE")
    with tempfile.TemporaryDirectory() as name:
        os.environ["POMONA_CACHE"] = name
        try:
            found = {
                kind.name: flip(kind, options.flips, random.Random(f"{options.seed} {kind.name}"))
                for kind in kinds(Path(name))
            }
            taken = costs(Path(name), options.rounds)
        finally:
            del os.environ["POMONA_CACHE"]
            if before is not None:
                os.environ["POMONA_CACHE"] = before
    figures = {
        "schema": 1,
        "command": command,
        "environment": environment(CPU),
        "flips": {name: {outcome: outcomes[outcome] for outcome in OUTCOMES} for name, outcomes in found.items()},
        "milliseconds_per_megabyte": taken,
    }
    return _report(figures), figures


def _report(figures: dict[str, Any]) -> str:
    machine = figures["environment"]
    rows = [[name, *(outcomes[outcome] for outcome in OUTCOMES)] for name, outcomes in figures["flips"].items()]
    times = [
        [way, f"{statistics.median(taken):.3f}", f"{min(taken):.3f} to {max(taken):.3f}"]
        for way, taken in figures["milliseconds_per_megabyte"].items()
    ]
    return (
        "# Flipped bits\n\n"
        "One random bit of a file is flipped, and the file is opened as pomona opens it. Noticed: an error, or a note "
        "and a fresh start. Recovered: computed again, to equal values. Harmless: equal values all the same. Silent "
        "difference: other values without a word.\n\n"
        f"- command: `{figures['command']}`\n"
        f"- machine: {machine['device']}; torch {torch.__version__}; commit {machine['commit'] or 'none'}\n\n"
        + tabulate(rows, ["file", *OUTCOMES], tablefmt="github")
        + "\n\nCost of a digest, in milliseconds of processor time a megabyte; the ways take turns on a file of "
        f"{_MEGABYTES} MB in the system's cache. It is paid once a file and process, when the file is first opened:\n\n"
        + tabulate(times, ["way", "median", "spread"], tablefmt="github", disable_numparse=True)
        + "\n"
    )


if __name__ == "__main__":
    configure()
    raise SystemExit(main())
