"""The one training loop: a config, trained once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from search_spaces import Config, InputError, Task

from .backbones import Backbone
from .batches import batch_count, evaluation_batches, number_of, training_batches
from .checkpoint import CheckpointRecord, load_checkpoint, restore_model, restore_optimizer, save_checkpoint
from .data.splits import Split, Splits
from .environment import environment
from .errors import Stop
from .model import Classifier
from .numerics import Numerics
from .optimisation import loss_of, make_optimizer, schedule
from .results import EpochResult, FitResult, State, curve_from_json, curve_to_json
from .structure import Phase, Structure, backbone_of, phases_of, structure_of
from .weights import load_backbone

CPU = torch.device("cpu")
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def fit(
    task: Task,
    config: Config,
    splits: Splits,
    *,
    epochs: int,
    seed: int = 0,
    device: torch.device = CPU,
    numerics: Numerics | None = None,
    backbones: Callable[[str], Backbone] = load_backbone,
    on_epoch: Callable[[EpochResult], None] | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    checkpoint_to: Path | None = None,
    resume_from: Path | None = None,
) -> FitResult:
    """Trains `config` on `splits.train` for `epochs` and scores it on `splits.valid` after each.

    One seed gives one result on a CPU, whether the run was interrupted and resumed or not.

    Args:
        splits: at the config's resolution.
        backbones: how a backbone is got by its name; by default with pretrained weights that are at hand.
        on_epoch: called after each epoch, and once with the last epoch of a checkpoint that is resumed; it may raise
            `Stop`, which makes the result `pruned`.
        on_batch: called after each training batch with (epochs done and the part of this one, in batches; batches of
            the whole run); whatever it raises passes through, and the checkpoint of the last epoch remains.
        checkpoint_to: a folder that holds the state after the last whole epoch.
        resume_from: such a folder; it must be of the same config, seed, epochs and data.

    Returns:
        A result in every case that lies in the config: running out of memory and a loss that is not finite are
        `infeasible`, with the reason.

    Raises:
        InputError: the config is outside the task's space, weights are absent, or the checkpoint does not fit.
    """
    config = task.space.validate(config)
    if epochs < 1:
        raise InputError(f"epochs must be at least 1, not {epochs}")
    started = time.perf_counter()
    run = _Run(task, config, splits, epochs, seed, device, numerics or Numerics(), backbones(backbone_of(config)))
    state, reason = State.COMPLETE, ""
    try:
        if resume_from is not None:
            run.resume(resume_from)
            if on_epoch is not None:
                # A kill may have come after this epoch was saved and before anybody judged it.
                on_epoch(run.curve[-1])
        for epoch in range(run.done + 1, epochs + 1):
            result = run.train_epoch(epoch, on_batch)
            if not math.isfinite(result.loss):
                state, reason = State.INFEASIBLE, f"diverged: the loss is not finite in epoch {epoch}"
                break
            if checkpoint_to is not None:
                run.save(checkpoint_to)
            if on_epoch is not None:
                on_epoch(result)
    except Stop as stop:
        state, reason = State.PRUNED, str(stop)
    except RuntimeError as problem:
        if not any(phrase in str(problem).lower() for phrase in _OUT_OF_MEMORY):
            raise
        state, reason = State.INFEASIBLE, f"out of memory with batches of {run.structure.batch_size}"
        run.free()
    return FitResult(
        state=state,
        reason=reason,
        value=run.curve[-1].value if run.curve else None,
        curve=tuple(run.curve),
        seconds=run.seconds_before + time.perf_counter() - started,
        seed=seed,
        correct=tuple(run.correct),
        groups=splits.valid.groups,
        parameters=run.parameters,
        checkpoint=checkpoint_to if run.curve else None,
        environment=environment(device) | {"numerics": str(run.numerics), "weights": run.weights},
    )


@dataclass
class _Run:
    """The state of one run; `curve`, `correct` and `optimizer` are those after the last whole epoch."""

    task: Task
    config: Config
    splits: Splits
    epochs: int
    seed: int
    device: torch.device
    numerics: Numerics
    backbone: Backbone
    curve: list[EpochResult] = field(default_factory=list)
    correct: list[bool] = field(default_factory=list)
    optimizer: torch.optim.Optimizer | None = None
    seconds_before: float = 0.0

    def __post_init__(self) -> None:
        stages = len(self.backbone.stages)
        self.structure: Structure = structure_of(self.config, stages)
        self.phases: tuple[Phase, ...] = phases_of(self.config, self.structure, stages, self.epochs)
        self.batches = batch_count(len(self.splits.train), self.structure.batch_size)
        self.weights = f"{self.backbone.origin} ({self.backbone.weights_digest})"
        with torch.random.fork_rng(self._cuda_devices()):
            torch.manual_seed(number_of(self.seed, 0, 2))
            model = Classifier(self.backbone, len(self.splits.classes), self.config)
        self.model = self.numerics.place(model, self.device)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def done(self) -> int:
        return len(self.curve)

    def train_epoch(self, epoch: int, on_batch: Callable[[int, int], None] | None) -> EpochResult:
        phase = next(phase for phase in self.phases if phase.first <= epoch < phase.first + phase.epochs)
        trained = self.model.freeze(phase.cut)
        if epoch == phase.first or self.optimizer is None:
            self.optimizer = make_optimizer(self.config, trained)
        rates = [float(self.config["learning_rate"]) * phase.rate_factor] * len(self.optimizer.param_groups)
        started = time.perf_counter()
        losses = torch.zeros((), device=self.device)
        with torch.random.fork_rng(self._cuda_devices()):
            torch.manual_seed(number_of(self.seed, epoch, 3))  # dropout
            batches = training_batches(
                self.splits.train,
                self.structure.batch_size,
                self.structure.augmentation,
                seed=self.seed,
                epoch=epoch,
                device=self.device,
            )
            for number, (images, labels) in enumerate(batches):
                step = (epoch - phase.first) * self.batches + number
                share = schedule(step, phase.epochs * self.batches)
                for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * share
                loss = loss_of(self._logits(images, phase.cut), labels, self.config)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                losses += loss.detach() * len(labels)
                if on_batch is not None:
                    on_batch((epoch - 1) * self.batches + number + 1, self.epochs * self.batches)
        mean_loss = float(losses) / len(self.splits.train)  # waits for the device, so the clock below is right
        seconds = time.perf_counter() - started
        valid_loss, self.correct = self._score(self.splits.valid)
        result = EpochResult(
            epoch=epoch,
            epochs=self.epochs,
            loss=mean_loss,
            valid_loss=valid_loss,
            value=sum(self.correct) / len(self.correct),
            seconds=seconds,
            images=len(self.splits.train),
            trained_stages=len(self.model.stages) - phase.cut,
        )
        self.curve.append(result)
        return result

    def _logits(self, images: torch.Tensor, cut: int) -> torch.Tensor:
        images = self.model.normalise(images).contiguous(memory_format=self.numerics.memory_format)
        with self.numerics.autocast(self.device):
            with torch.no_grad():
                activations = self.model.prefix(images, cut)
            features = self.model.suffix(activations, cut)
        logits: torch.Tensor = self.model.head(features)
        return logits

    @torch.no_grad()
    def _score(self, split: Split) -> tuple[float, list[bool]]:
        logits = predict_logits(self.model, split, self.device, self.numerics)
        labels = split.labels
        loss = loss_of(logits, labels, {})
        return float(loss), (logits.argmax(1) == labels).tolist()

    def record(self) -> CheckpointRecord:
        result = FitResult(State.COMPLETE, "", None, (), 0.0, 0, tuple(self.correct), self.splits.valid.groups)
        grouped = result.grouped
        return CheckpointRecord(
            task=self.task.name,
            config=self.config,
            classes=self.splits.classes,
            resolution=self.structure.resolution,
            seed=self.seed,
            epoch=self.done,
            epochs=self.epochs,
            curve=curve_to_json(tuple(self.curve)),
            numerics=self.numerics,
            weights=self.weights,
            fingerprint=self.splits.fingerprint,
            source=self.splits.source,
            data=self.splits.location,
            environment=environment(self.device),
            value=self.curve[-1].value,
            ci95=result.accuracy.ci95,
            n=result.n,
            groups_ci95=grouped.ci95 if grouped else None,
            n_groups=grouped.n if grouped else 0,
        )

    def save(self, folder: Path) -> None:
        """The optimizer's state is left out when the run is over: nothing can need it."""
        save_checkpoint(folder, self.record(), self.model, self.optimizer if self.done < self.epochs else None)

    def resume(self, folder: Path) -> None:
        checkpoint = load_checkpoint(folder)
        saved = checkpoint.record
        mine: dict[str, Any] = {
            "task": self.task.name,
            "config": self.config,
            "classes": self.splits.classes,
            "seed": self.seed,
            "epochs": self.epochs,
            "weights": self.weights,
            "fingerprint": self.splits.fingerprint,
        }
        for name, value in mine.items():
            if getattr(saved, name) != value:
                raise InputError(
                    f"the checkpoint in {folder} has another {name} ({getattr(saved, name)}, not {value}): "
                    "resume with the same settings, or start in a new folder"
                )
        self.numerics = saved.numerics
        self.curve = list(curve_from_json(saved.curve))
        self.seconds_before = sum(epoch.seconds for epoch in self.curve)
        self.model = self.numerics.place(self.model, self.device)
        restore_model(self.model, checkpoint.tensors, folder)
        phase = next(phase for phase in reversed(self.phases) if phase.first <= self.done)
        self.optimizer = make_optimizer(self.config, self.model.freeze(phase.cut))
        if self.done < self.epochs:
            restore_optimizer(self.optimizer, checkpoint.tensors)
        _, self.correct = self._score(self.splits.valid)

    def free(self) -> None:
        """Gives the device's memory back after it ran out."""
        self.optimizer = None
        self.model.to("meta")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _cuda_devices(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []


@torch.inference_mode()
def predict_logits(model: Classifier, split: Split, device: torch.device, numerics: Numerics) -> torch.Tensor:
    """Logits (n, classes) of a split in its order, on the CPU; the model is left in evaluation mode."""
    model.eval()
    parts = []
    for images in evaluation_batches(split, device):
        normalised = model.normalise(images).contiguous(memory_format=numerics.memory_format)
        with numerics.autocast(device):
            features = model.suffix(normalised, 0)
        parts.append(model.head(features).cpu())
    return torch.cat(parts)
