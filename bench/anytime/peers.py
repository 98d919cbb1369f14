"""The systems that run in a process of this package: Optuna, Ray Tune, and the linear probe.

    python -m bench.anytime.peers JOB.json ANSWER.json

The clock runs from the job's `started` until its deadline; the part that was held back is scored after that.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from training.machine.process import configure

if __name__ == "__main__":
    # Before torch is imported.
    configure()

from bench.peers.result import TrialEnd
from training.machine.decode import decoded
from training.machine.files import atomic_write_json

from .job import Job
from .runs import OPTUNA, PROBE, RAY, Point, Score, incumbents

if TYPE_CHECKING:
    from training import Backbone, Numerics, Split

# Photos of the batch that tells which precision is the quicker one.
_FEW = 32


def main(argv: Sequence[str]) -> int:
    job = decoded(json.loads(Path(argv[0]).read_bytes()), Job)
    points = FINDERS[job.system](job)
    atomic_write_json(Path(argv[1]), [asdict(point) for point in points])
    return 0


def find_optuna(job: Job) -> list[Point]:
    from bench.peers import optuna_processes

    return _searched(job, optuna_processes.search_until)


def find_ray(job: Job) -> list[Point]:
    from bench.peers import ray_tune

    return _searched(job, ray_tune.search_until)


def _searched(job: Job, search_until: Callable[..., list[TrialEnd]]) -> list[Point]:
    from search_spaces import task_named
    from search_spaces.benchmarks import expert_space

    task = task_named(job.task)
    space = expert_space(task)
    folder = job.folder / "search"
    folder.mkdir(parents=True)
    ends = search_until(space, job.searched, job.weights_dir, job.epochs, job.deadline, folder, job.seed)
    by_point = {
        Point(end.at - job.started, end.accuracy, end.n, f"trial {number}"): end
        for number, end in enumerate(sorted(ends, key=lambda end: end.at))
    }
    best = set(incumbents(list(by_point)))
    return [
        replace(point, test=_score(job, end)) if point in best and end.state is not None else point
        for point, end in by_point.items()
    ]


def _score(job: Job, end: TrialEnd) -> Score:
    """What the weights of a trial that was the best are worth on the photos that were held back."""
    import torch

    from bench.peers.expert import Photos, Trainer, load_split
    from training import spec_of

    assert end.state is not None
    spec = spec_of(end.config)
    held = load_split(job.whole / "test", spec.input.resolution)
    trainer = Trainer(spec, Photos(*held, *held), job.weights_dir, job.epochs)
    trainer.model.load_state_dict(torch.load(end.state, weights_only=True))
    return Score(trainer.evaluate(), len(trainer.correct))


def find_probe(job: Job) -> list[Point]:
    """The least resolution of each backbone first, from small weights to large ones; then as long as that took."""
    import functools

    import torch

    from bench.linear_probe import RESOLUTIONS, fitted
    from search_spaces import task_named
    from training import Numerics, Prefixes, PrefixStore, load_backbone, open_data

    task = task_named(job.task)
    data = open_data(str(job.searched), task)
    backbones = functools.partial(load_backbone, weights_dir=job.weights_dir)
    prefixes: Prefixes | None = None
    found = []
    order = {name: float(size) for name, size in local_backbones(job.task, job.weights_dir).items()}
    for resolution in RESOLUTIONS:
        splits = data.at(resolution)
        if prefixes is None:
            first, few = min(order, key=order.__getitem__), splits.train.subset(torch.arange(len(splits.train)) < _FEW)
            precisions = [Numerics(precision, channels_last=True) for precision in ("fp32", "bf16")]
            quicker = min(precisions, key=lambda one: _seconds(few, first, resolution, backbones, one))
            prefixes = Prefixes(backbones=backbones, numerics=quicker, store=PrefixStore())
        for name in sorted(order, key=order.__getitem__):
            began = time.time()
            if began >= job.deadline:
                break
            score = fitted(splits, name, resolution, prefixes)
            valid = score(splits.valid)
            now = time.time()
            order[name] = now - began
            found.append((Point(now - job.started, valid.value, valid.n, f"{name} at {resolution}"), score, resolution))
    points = [point for point, _, _ in found if point.seconds <= job.seconds]
    best = set(incumbents(points))
    whole = open_data(str(job.whole), task)
    scored = []
    for point, score, resolution in found:
        if point in best and (test := whole.at(resolution).test) is not None:
            estimate = score(test)
            point = replace(point, test=Score(estimate.value, estimate.n))
        scored.append(point)
    return [point for point in scored if point.seconds <= job.seconds]


def _seconds(
    few: Split, backbone: str, resolution: int, backbones: Callable[[str], Backbone], numerics: Numerics
) -> float:
    """How long a batch takes in a precision, the second time: a look at the machine that costs next to nothing."""
    from search_spaces.transfer import frozen_recipe
    from training import Prefixes, spec_of

    prefixes = Prefixes(backbones=backbones, numerics=numerics)
    stages = len(prefixes.backbone(backbone).stages)
    structure = spec_of(frozen_recipe(backbone, resolution)).structure(stages)
    images = prefixes.inputs(few.inputs[few.rows], structure, 0, None)
    for _ in range(2):
        began = time.perf_counter()
        prefixes.forward(backbone, images, 0, stages)
        taken = time.perf_counter() - began
    return taken


def local_backbones(task: str, weights_dir: Path) -> dict[str, int]:
    """Pretrained backbones with weights on this machine, and the bytes of these.

    Those of the task's space, and whatever else lies in the folder of weights.
    """
    from search_spaces import Choice, InputError, task_named
    from training.models.backbones import needs_weights
    from training.models.spec import BACKBONE
    from training.models.weights import find_weights

    dimension = task_named(task).space.dimensions[BACKBONE]
    assert isinstance(dimension, Choice)
    names = [str(option) for option in dimension.options]
    names += [path.stem.replace("timm_", "timm:", 1) for path in sorted(weights_dir.iterdir())]
    sizes = {}
    for name in dict.fromkeys(names):
        try:
            file = find_weights(name, weights_dir) if needs_weights(name) else None
        except InputError:
            continue  # a file of something else
        if file is not None:
            sizes[name] = file.path.stat().st_size
    return sizes


FINDERS = {OPTUNA: find_optuna, RAY: find_ray, PROBE: find_probe}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
