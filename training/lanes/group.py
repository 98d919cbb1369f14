"""Trials of one structure that train together: one order of the data, one prefix, one computation where that pays.

While their backbone is frozen, the lanes' heads are stacked (`heads.py`). A lane that trains stages runs its suffix by
itself on the prefix that all share (`suffix.py`): fused suffixes were measured and do not pay on a CPU
(docs/decisions/0009). All lanes are at the same epoch and of one seed (docs/decisions/0018); they may leave between
epochs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Container, Sequence

import torch

from search_spaces import Config, InputError, Task

from ..data.batches import batch_count
from ..data.splits import Split, Splits
from ..frozen.prefixes import Prefixes
from ..frozen.source import Pass, scoring_pass, training_pass
from ..machine.environment import environment
from ..machine.interrupts import uninterrupted
from ..machine.process import spare_the_collector
from ..machine.seeds import number_of
from ..models.backbones import Backbone
from ..models.classifier import Classifier, Head
from ..models.spec import Phase, Spec, Structure, spec_of
from ..scoring.objectives import objective_of
from .heads import HeadShape, HeadStack, stacked
from .lane import Lane
from .lane_state import HEAD_BEFORE, LaneState
from .optimisation import make_optimizer
from .outputs import kept_outputs
from .results import EpochResult, FitResult, State
from .suffix import SuffixTrainer

OnBatch = Callable[[int, int], None]
Score = tuple[float, torch.Tensor, torch.Tensor]
"""A lane's loss, predictions (n,) and outputs (n, outputs) on a split."""


class LaneGroup:
    """Lanes of one structure and one seed. `epoch` counts the epochs that are done: the same for every lane."""

    def __init__(
        self,
        task: Task,
        splits: Splits,
        structure: Structure,
        *,
        epochs: int,
        seed: int,
        prefixes: Prefixes,
        epoch: int = 0,
        rewindable: bool = False,
    ) -> None:
        """`seed` decides all that is random. `rewindable` allows `rewind` after an epoch that did not end.

        A group that goes on begins at a later `epoch`, with lanes that are resumed there.

        Raises:
            InputError: no epoch is asked for.
        """
        if epochs < 1:
            raise InputError(f"epochs must be at least 1, not {epochs}")
        spare_the_collector()
        self.task = task
        self.splits = splits
        self.structure = structure
        self.epochs = epochs
        self.epoch = epoch
        self.prefixes = prefixes = prefixes.fitted_to(splits)
        self.objective = objective_of(task.metric, splits.classes, splits.offset)
        self.seed = seed
        self._rewindable = rewindable
        self._backbone: Backbone = prefixes.backbone(structure.backbone)
        self.stages = len(self._backbone.stages)
        self._batches = batch_count(len(splits.train), structure.batch_size)
        self._lanes: dict[int, Lane] = {}
        self._stacks: dict[HeadShape, HeadStack] = {}
        self._suffixes: dict[int, SuffixTrainer] = {}
        self._restores: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return tuple(self._lanes.values())

    @property
    def cheaper_together(self) -> bool:
        """Whether lanes cost less side by side than one after another: as heads, or where the prefix is not kept."""
        cut, augmented = self.structure.cut, self.structure.augmentation > 0
        plan = self.prefixes.plan(self.splits.train, self.structure, augmented=augmented)
        return cut == self.stages or not plan.kept(cut)

    def add(self, key: int, config: Config, *, resume: LaneState | None = None) -> None:
        """A lane joins; it must be at the group's epoch.

        Raises:
            InputError: the config is outside the task's space or of another structure.
        """
        config = self.task.space.validate(config)
        spec = spec_of(config)
        if spec.structure(self.stages) != self.structure:
            raise InputError(f"a lane of {self.structure} can't have the config {config}")
        if (done := 0 if resume is None else len(resume.curve)) != self.epoch:
            raise ValueError(f"a lane after epoch {done} can't join a group after epoch {self.epoch}")
        head = self.new_head(spec, self.seed)
        lane = Lane(
            key=key,
            config=config,
            spec=spec,
            phases=spec.phases(self.stages, self.epochs),
            head=head,
            optimizer=make_optimizer(spec.optimizer, head.parameters()),
            parameters=sum(p.numel() for module in (*self._backbone.stages, head) for p in module.parameters()),
        )
        self._lanes[key] = lane
        if resume is not None:
            lane.curve = list(resume.curve)
            lane.predictions = lane.predictions if resume.predictions is None else resume.predictions
            lane.seconds = resume.seconds
        try:
            self._place(lane, lane.phase_of(min(done + 1, self.epochs)), resume)
            if done and (len(lane.predictions) == 0 or done == self.epochs):
                runner = next(runner for runner in self._runners() if key in runner.keys)
                _, predictions, lane.outputs = self._score([runner], self.splits.valid)[key]
                lane.predictions = lane.predictions if len(lane.predictions) else predictions
        except BaseException:
            # Half a lane would break the others' next epoch.
            self.drop([key])
            raise

    def new_head(self, spec: Spec, seed: int) -> Head:
        """A head as a lane begins with, on the device."""
        with torch.random.fork_rng(self._cuda()):
            torch.manual_seed(number_of(seed, 0, 2))
            return Head(self._backbone.widths[-1], self.objective.outputs, spec.head).to(self.prefixes.device)

    def head_shape(self, spec: Spec) -> HeadShape:
        return HeadShape.of(spec, self._backbone.widths[-1], self.objective.outputs)

    def drop(self, keys: Sequence[int]) -> None:
        """Lanes leave; they cost nothing from then on."""
        with uninterrupted():
            for key in keys:
                del self._lanes[key]
                self._suffixes.pop(key, None)
            for shape, stack in list(self._stacks.items()):
                if set(keys) & set(stack.keys):
                    stack.remove(keys)
                if not len(stack):
                    del self._stacks[shape]

    def train_epoch(self, on_batch: OnBatch | None = None) -> dict[int, EpochResult]:
        """One epoch of every lane, then a scoring on the validation split. The result of each by its key.

        `on_batch` is called with (batches done, batches of this epoch, over all that trains); what it or the prefixes'
        `check_stop` raises passes through, as does running out of memory.
        """
        if self._rewindable:
            self._restores = [runner.snapshot() for runner in self._runners()]
        runners, started = self._runners(), time.perf_counter()
        way = training_pass(self.prefixes, self.structure, self.splits.train, seed=self.seed, epoch=self.epoch + 1)
        losses: dict[int, float] = {}
        seconds: dict[int, float] = {}
        way.prepare(map(self._cut_of, runners))
        from_kept = {key for runner in runners if self._reads_kept(way, runner) for key in runner.keys}
        with torch.random.fork_rng(self._cuda()):
            total, done = len(way) * len(runners), 0
            for together in self._schedule(way, runners):
                began = time.perf_counter()
                for runner in together:
                    runner.begin(self.epoch + 1, way.order)
                for batch in way.batches():
                    for runner in together:
                        runner.step(batch)
                        done += 1
                        if on_batch is not None:
                            on_batch(done, total)
                for runner in together:
                    losses |= dict(zip(runner.keys, runner.end(len(self.splits.train)), strict=True))
                share = (time.perf_counter() - began) / sum(len(runner.keys) for runner in together)
                seconds |= {key: share for runner in together for key in runner.keys}
            scores = self._score(runners, self.splits.valid)
        # Prefixes that had to be computed, and the scoring, are for all.
        common = (time.perf_counter() - started - sum(seconds.values())) / max(len(self._lanes), 1)
        with uninterrupted():
            self.epoch += 1
            self._restores = []
            results = {lane.key: self._record(lane, losses, scores, seconds, common, from_kept) for lane in self.lanes}
        # Memory may run out here: then the epoch is over for all lanes, and some have not begun their next phase.
        for lane in self.lanes:
            if self.epoch < self.epochs and (following := lane.phase_of(self.epoch + 1)).first == self.epoch + 1:
                self._place(lane, following, None)
        return results

    def rewind(self) -> None:
        """Brings back the state after the last whole epoch, once `train_epoch` was left by an exception."""
        for restore in self._restores:
            restore()
        self._restores = []

    def predict(self, keys: Container[int], split: Split) -> dict[int, torch.Tensor]:
        """What lanes say of each example of `split` (n,), not augmented, by their keys; lanes stay as they are.

        What the prefixes' `check_stop` raises passes through, as does running out of memory.
        """
        return {key: said for key, (_, said, _) in self.scores(keys, split).items()}

    def scores(self, keys: Container[int], split: Split) -> dict[int, Score]:
        """As `predict`, with the losses and the outputs."""
        runners = [runner for runner in self._runners() if any(key in keys for key in runner.keys)]
        return {key: score for key, score in self._score(runners, split).items() if key in keys}

    def state(self, key: int) -> LaneState:
        """What a lane needs to go on later, in another group at the same epoch."""
        lane = self._lanes[key]
        head, optimizer, trained = self._modules(lane)
        tensors = {f"model.head.{name}": _kept(tensor) for name, tensor in head.state_dict().items()}
        for number, stage in trained.items():
            tensors |= {f"model.stages.{number}.{name}": _kept(tensor) for name, tensor in stage.state_dict().items()}
        if len(lane.curve) < self.epochs:  # nothing can need it after the last
            for number, state in optimizer.state_dict()["state"].items():
                for name, tensor in state.items():
                    tensors[f"optimizer.{number}.{name}"] = _kept(torch.as_tensor(tensor))
            if key in self._suffixes and (before := self._suffixes[key].head_before) is not None:
                tensors |= {f"{HEAD_BEFORE}{name}": _kept(tensor) for name, tensor in before.items()}
        return LaneState(tensors, tuple(lane.curve), lane.predictions, lane.seconds)

    def model(self, key: int) -> Classifier:
        """A lane's model as it is now. It shares its frozen stages, and may share the others: not to be trained."""
        if key in self._suffixes:
            return self._suffixes[key].model
        head, _, _ = self._modules(self._lanes[key])
        return Classifier(self._backbone, self._lanes[key].spec, head)

    def result(self, key: int, state: State, reason: str = "") -> FitResult:
        """How a lane ended. Of one that diverged, everything is that of the last epoch whose loss was finite."""
        lane, valid, metric = self._lanes[key], self.splits.valid, self.objective.metric
        scored = len(lane.predictions) > 0
        curve = tuple(epoch for epoch in lane.curve if math.isfinite(epoch.loss))
        return FitResult(
            state=state,
            reason=reason,
            value=curve[-1].value if curve else None,
            curve=curve,
            seconds=lane.seconds,
            seed=self.seed,
            estimate=metric.estimate(lane.predictions, valid.labels) if scored else None,
            grouped=metric.grouped(lane.predictions, valid.labels, valid.groups) if scored else None,
            secondary=metric.secondary(lane.predictions, valid.labels) if scored else {},
            predictions=tuple(lane.predictions.tolist()),
            parameters=lane.parameters,
            environment=environment(self.prefixes.device)
            | {
                "numerics": str(self.prefixes.numerics),
                "weights": f"{self._backbone.origin} ({self._backbone.weights_digest})",
            },
            outputs=None if lane.outputs is None else kept_outputs(lane.outputs, self.objective, self.splits),
        )

    def cut_of(self, key: int) -> int:
        """The cut whose output a lane trains on now."""
        return next(self._cut_of(runner) for runner in self._runners() if key in runner.keys)

    def _runners(self) -> list[HeadStack | SuffixTrainer]:
        return [*self._stacks.values(), *self._suffixes.values()]

    def _schedule(self, way: Pass, runners: list[HeadStack | SuffixTrainer]) -> list[list[HeadStack | SuffixTrainer]]:
        """Who goes through the epoch together.

        Where the prefix is kept, one after the other, as each one's weights then stay in the processor's caches. Where
        it is computed for each batch, all together, so that it is computed once.
        """
        if all(way.plan.kept(self._cut_of(runner)) for runner in runners):
            return [[runner] for runner in runners]
        return [runners]

    def _reads_kept(self, way: Pass, runner: HeadStack | SuffixTrainer) -> bool:
        """Whether a runner reads what pretrained stages gave earlier; pixels that are only scaled don't count."""
        return way.plan.pretrained and way.plan.kept(self._cut_of(runner))

    def _cut_of(self, runner: HeadStack | SuffixTrainer) -> int:
        """The cut whose output a runner trains on."""
        return self.structure.cut if isinstance(runner, SuffixTrainer) else self.stages

    def _score(self, runners: list[HeadStack | SuffixTrainer], split: Split) -> dict[int, Score]:
        """The loss, the predictions (n,) and the outputs of each lane on `split`, by its key."""
        parts: list[list[torch.Tensor]] = [[] for _ in runners]
        for batch in scoring_pass(self.prefixes, self.structure, split).batches():
            self.prefixes.check_stop()
            for position, runner in enumerate(runners):
                parts[position].append(runner.logits(batch))
        labels = split.labels.to(self.prefixes.device)
        scores = {}
        for runner, logits in zip(runners, parts, strict=True):
            outputs = torch.cat(logits, 1)
            losses = self.objective.loss.each(outputs, labels).mean(1).tolist()
            predictions = self.objective.absolute(self.objective.metric.predictions(outputs).cpu())
            for place, key in enumerate(runner.keys):
                scores[key] = (losses[place], predictions[place], outputs[place])
        return scores

    def _record(
        self,
        lane: Lane,
        losses: dict[int, float],
        scores: dict[int, Score],
        seconds: dict[int, float],
        common: float,
        from_kept: Container[int],
    ) -> EpochResult:
        epoch = len(lane.curve) + 1
        phase = lane.phase_of(epoch)
        valid_loss, predictions, outputs = scores[lane.key]
        if math.isfinite(losses[lane.key]):
            lane.predictions, lane.outputs = predictions, outputs
        result = EpochResult(
            epoch=epoch,
            epochs=self.epochs,
            loss=losses[lane.key],
            valid_loss=valid_loss,
            value=self.objective.metric.value(predictions, self.splits.valid.labels),
            seconds=seconds[lane.key],
            images=len(self.splits.train),
            trained_stages=self.stages - phase.cut,
            from_kept=lane.key in from_kept,
        )
        lane.curve.append(result)
        lane.seconds += seconds[lane.key] + common
        return result

    def _place(self, lane: Lane, phase: Phase, resume: LaneState | None) -> None:
        """Puts a lane where `phase` trains it: into the stack of its head's shape, or beside it with its own stages."""
        done = max(len(lane.curve) + 1 - phase.first, 0)
        shape = self.head_shape(lane.spec)
        if phase.cut == self.stages:
            if resume is not None:
                resume.restore(lane.head, lane.optimizer, {})
            new = HeadStack(shape, self.prefixes.device, self.stages, self.prefixes.numerics, loss=self.objective.loss)
            stack = self._stacks.setdefault(shape, new)
            place = stacked(lane.key, lane.spec, phase, self._batches, seed=self.seed, done=done)
            stack.add(place, lane.head, lane.optimizer)
            return
        if (stack_before := self._stacks.get(shape)) is not None and lane.key in stack_before.keys:
            stack_before.copy_to(lane.key, lane.head, lane.optimizer)
        suffix = SuffixTrainer(
            lane.key,
            lane.spec,
            self._backbone,
            lane.head,
            phase,
            self._batches,
            seed=self.seed,
            done=done,
            numerics=self.prefixes.numerics,
            device=self.prefixes.device,
            loss=self.objective.loss,
        )
        if resume is not None:
            own = dict(list(enumerate(suffix.model.stages))[phase.cut :])
            resume.restore(lane.head, suffix.optimizer, own)
            suffix.head_before = resume.head_before or lane.head.state_dict()
        # Not before: where memory does not suffice for its stages, the lane is where it was.
        if stack_before is not None and lane.key in stack_before.keys:
            stack_before.remove([lane.key])
            if not len(stack_before):
                del self._stacks[shape]
        self._suffixes[lane.key] = suffix

    def _modules(self, lane: Lane) -> tuple[Head, torch.optim.Optimizer, dict[int, torch.nn.Module]]:
        """A lane's head and optimizer as they are now, and the stages that it trains, by number."""
        if (suffix := self._suffixes.get(lane.key)) is not None:
            cut = self.structure.cut
            return lane.head, suffix.optimizer, dict(list(enumerate(suffix.model.stages))[cut:])
        for stack in self._stacks.values():
            if lane.key in stack.keys:
                stack.copy_to(lane.key, lane.head, lane.optimizer)
        return lane.head, lane.optimizer, {}

    def _cuda(self) -> list[torch.device]:
        return [self.prefixes.device] if self.prefixes.device.type == "cuda" else []


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU in the plain layout: safetensors takes no channels_last."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
