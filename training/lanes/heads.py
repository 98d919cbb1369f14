"""Heads of one shape that train side by side: K of them as one computation over the same features.

The features of a batch are read once for all; each head has its own weights, rates, dropout, label smoothing and
optimizer state. The gradients are written out rather than left to autograd, whose bookkeeping costs more than the
arithmetic of so small a model. Fusing models of one shape is HFTA's idea (Wang et al., MLSys 2021, arXiv 2102.02344);
here heads come and go while the others train on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..frozen.source import Batch
from ..machine.seeds import number_of
from ..models.classifier import Head
from ..models.numerics import Numerics
from ..models.spec import ADAMW, Phase, Spec
from ..scoring.objectives import CrossEntropy, Loss
from .head_updates import LARGE, StackedUpdate
from .optimisation import schedule

# Dropout compares 16 random bits with a threshold.
_LEVELS = 2**16


@dataclass(frozen=True)
class HeadShape:
    """What heads must have in common to be stacked: the layers and the rule that updates them."""

    width: int
    hidden: tuple[int, ...]
    outputs: int
    optimizer: str

    @staticmethod
    def of(spec: Spec, width: int, outputs: int) -> HeadShape:
        return HeadShape(width, spec.head.hidden, outputs, spec.optimizer.name)


@dataclass(frozen=True, eq=False)
class StackedHead:
    """One head's place in a stack. `steps` it has taken, of `phase_steps`; `rate` is the peak of its learning rate."""

    key: int
    spec: Spec
    seed: int
    rate: float
    phase_steps: int
    steps: int

    def rates(self, batches: int) -> NDArray[np.float64]:
        """The learning rates (batches,) of the next batches.

        For one epoch at a time: a list of all steps would grow with the epochs of the run.
        """
        steps = range(self.steps, self.steps + batches)
        return np.array([self.rate * schedule(step, self.phase_steps) for step in steps])

    @property
    def threshold(self) -> int:
        """Of 16 random bits as a signed number, those below it are dropped."""
        return round(self.spec.head.dropout * _LEVELS) - _LEVELS // 2

    @property
    def scale(self) -> float:
        """What makes up for the inputs that dropout takes."""
        return _LEVELS / (_LEVELS // 2 - self.threshold)


class HeadStack:
    """K heads of one `shape`: weights (K, out, in), biases (K, out), and the moments of their optimizers.

    Heads of one seed and one rate of dropout lie side by side: they see the same inputs with the same holes, and their
    first layers are one product of matrices.
    """

    def __init__(
        self,
        shape: HeadShape,
        device: torch.device,
        cut: int = 0,
        numerics: Numerics | None = None,
        loss: Loss | None = None,
    ) -> None:
        """`cut` is where a batch holds the features. Large heads multiply in the precision of `numerics`.

        `loss` is the cross-entropy unless another is given.
        """
        self.shape = shape
        self._loss = CrossEntropy(shape.outputs) if loss is None else loss
        # Head by head, then: with more columns oneDNN may sum in another order, and in bf16 a trial among others would
        # not be the trial alone.
        large = shape.width * (*shape.hidden, shape.outputs)[0] >= LARGE
        reduced = large and numerics is not None and numerics.precision == "bf16"
        self._dtype = torch.bfloat16 if reduced else torch.float32
        self._cut = cut
        self._device = device
        self._heads: list[StackedHead] = []
        self._entering: list[tuple[StackedHead, Head, torch.optim.Optimizer]] = []
        widths = (shape.width, *shape.hidden, shape.outputs)
        self._names = StackedUpdate.moment_names(shape.optimizer)
        # For each of weight, bias, ...: the parameter, then its moments.
        self._arrays = [
            [torch.empty(0, *size, device=device) for _ in range(1 + len(self._names))]
            for columns, rows in itertools.pairwise(widths)
            for size in ((rows, columns), (rows,))
        ]

    def __len__(self) -> int:
        return len(self._heads) + len(self._entering)

    @property
    def keys(self) -> list[int]:
        """Of the heads in their places, and of those that are about to be put there."""
        return [head.key for head in self._heads] + [head.key for head, _, _ in self._entering]

    def add(self, stacked: StackedHead, head: Head, optimizer: torch.optim.Optimizer) -> None:
        """The module and its optimizer's state will be copied into the stack before it is next used."""
        self._entering.append((stacked, head, optimizer))

    def flush(self) -> None:
        """Gives those that were added their places, all at once."""
        if not self._entering:
            return
        parts: list[list[list[torch.Tensor]]] = [[[array] for array in arrays] for arrays in self._arrays]
        for _, head, optimizer in self._entering:
            for arrays, parameter in zip(parts, head.parameters(), strict=True):
                state = optimizer.state.get(parameter, {})
                arrays[0].append(parameter.detach()[None])
                for array, name in zip(arrays[1:], self._names, strict=True):
                    array.append(state.get(name, torch.zeros_like(parameter)).detach()[None])
        self._arrays = [[torch.cat(array) for array in arrays] for arrays in parts]
        self._heads += [stacked for stacked, _, _ in self._entering]
        self._entering = []
        self._keep(sorted(range(len(self._heads)), key=lambda i: (self._heads[i].seed, self._heads[i].threshold)))

    def remove(self, keys: Iterable[int]) -> None:
        """The heads' places close up: what is gone costs nothing from then on."""
        self.flush()
        gone = set(keys)
        self._keep([place for place, head in enumerate(self._heads) if head.key not in gone])

    def _keep(self, places: Sequence[int]) -> None:
        index = torch.tensor(places, dtype=torch.int64, device=self._device)
        self._heads = [self._heads[place] for place in places]
        self._arrays = [[array[index] for array in arrays] for arrays in self._arrays]

    def copy_to(self, key: int, head: Head, optimizer: torch.optim.Optimizer) -> None:
        """Writes a stacked head's weights and optimizer state into modules of its own."""
        self.flush()
        place = self.keys.index(key)
        for (values, *moments), parameter in zip(self._arrays, head.parameters(), strict=True):
            with torch.no_grad():
                parameter.copy_(values[place])
            if steps := self._heads[place].steps:
                state = {name: moment[place].clone() for name, moment in zip(self._names, moments, strict=True)}
                if self.shape.optimizer == ADAMW:
                    state["step"] = torch.tensor(float(steps), device=self._device)
                optimizer.state[parameter] = state

    def snapshot(self) -> Callable[[], None]:
        """Keeps the stack as it is now; to be called to bring it back."""
        self.flush()
        heads, arrays = list(self._heads), [[array.clone() for array in arrays] for arrays in self._arrays]

        def restore() -> None:
            self._heads, self._arrays = heads, arrays

        return restore

    def begin(self, epoch: int, order: Sequence[torch.Tensor]) -> None:
        """Prepares an epoch: each head's settings for every batch, and the noise of its dropout."""
        self.flush()
        heads, batches = self._heads, len(order)
        taken = np.array([[head.steps + number for head in heads] for number in range(batches)])
        rates = np.stack([head.rates(batches) for head in heads], 1)
        optimizers = [head.spec.optimizer for head in heads]
        self._update = StackedUpdate(self.shape.optimizer, optimizers, rates, taken, self._device)
        self._loss_of_all = self._loss.stacked([head.spec.head.label_smoothing for head in heads], self._device)
        dropouts = [(head.seed, head.threshold, head.scale) for head in heads]
        self._alike = _runs(dropouts) if self._dtype == torch.float32 else _singles(dropouts)
        self._scales = self._column([head.scale for head in heads])[:, None]
        sizes = [len(index) for index in order]
        self._noise: list[list[dict[int, torch.Tensor]]] = []
        for layer in range(len(self._arrays) // 2):
            width = self._arrays[2 * layer][0].shape[2]
            seeds = {head.seed for head in heads if head.scale > 1}
            drawn = {
                seed: torch.split(self._draw(number_of(seed, epoch, 4 + layer), sum(sizes), width), sizes)
                for seed in seeds
            }
            self._noise.append([{seed: parts[number] for seed, parts in drawn.items()} for number in range(batches)])
        self._losses = torch.zeros(len(heads), device=self._device)

    def _column(self, values: Sequence[float]) -> torch.Tensor:
        """(K, 1)"""
        return torch.tensor(values, dtype=torch.float32, device=self._device)[:, None]

    def _draw(self, seed: int, rows: int, width: int) -> torch.Tensor:
        """Random 16-bit numbers that dropout compares with: all heads of one seed with the same."""
        if self._device.type == "cuda":
            drawn = torch.empty(rows, width, dtype=torch.int16, device=self._device)
            return drawn.random_(-_LEVELS // 2, _LEVELS // 2, generator=torch.Generator(self._device).manual_seed(seed))
        data = np.random.Generator(np.random.SFC64(seed)).bytes(2 * rows * width)
        return torch.frombuffer(bytearray(data), dtype=torch.int16).view(rows, width)

    def step(self, batch: Batch) -> None:
        self.train(batch.number, batch.at(self._cut), batch.labels)

    @torch.no_grad()
    def train(self, number: int, features: torch.Tensor, labels: torch.Tensor) -> None:
        """One batch for all heads: features (n, width), labels (n,)."""
        weight, bias = self._arrays[0][0], self._arrays[1][0]
        count, out, _ = weight.shape
        rows = len(labels)
        features = features.to(self._dtype)
        seen = [self._with_holes(features, 0, number, *alike) for _, _, alike in self._alike]
        flat = weight.view(count * out, -1).to(self._dtype)
        products = [
            torch.mm(inputs, flat[start * out : stop * out].T)
            for inputs, (start, stop, _) in zip(seen, self._alike, strict=True)
        ]
        product = products[0] if len(products) == 1 else torch.cat(products, 1)
        inner = product.float().view(rows, count, out).add_(bias)
        # What each later layer sees, (K, n, width), after ReLU and dropout.
        shown: list[torch.Tensor] = []
        for layer in range(1, len(self.shape.hidden) + 1):
            inner.relu_()
            parts = [self._with_holes(inner[:, i:j], layer, number, *alike) for i, j, alike in self._alike]
            shown.append((parts[0] if len(parts) == 1 else torch.cat(parts, 1)).transpose(0, 1))
            (weight, *_), (bias, *_) = self._arrays[2 * layer], self._arrays[2 * layer + 1]
            product = torch.bmm(shown[-1].to(self._dtype), weight.transpose(1, 2).to(self._dtype))
            inner = product.float().add_(bias[:, None]).transpose(0, 1)
        losses, error = self._loss_of_all(inner, labels)
        self._losses += losses
        gradients: list[torch.Tensor] = []
        for layer in range(len(shown), 0, -1):
            seen_here, error = shown[layer - 1], error.transpose(0, 1)
            rounded = error.to(self._dtype)
            of_weight = torch.bmm(rounded.transpose(1, 2), seen_here.to(self._dtype)).float()
            gradients = [of_weight, error.sum(1), *gradients]
            # What dropout or ReLU put out has no share in the error; what is left is above zero.
            back = torch.bmm(rounded, self._arrays[2 * layer][0].to(self._dtype)).float()
            error = back.mul_(self._scales).mul_(seen_here > 0).transpose(0, 1)
        gradients = [self._first_layer(error, seen), error.sum(0), *gradients]
        for (parameter, *moments), gradient in zip(self._arrays, gradients, strict=True):
            self._update(number, parameter, moments, gradient)

    def _with_holes(
        self, values: torch.Tensor, layer: int, number: int, seed: int, threshold: int, scale: float
    ) -> torch.Tensor:
        """Values (n, [k,] width) after dropout."""
        if scale == 1:
            return values
        noise = self._noise[layer][number][seed]
        stays = noise >= threshold
        return torch.where(stays if values.ndim == 2 else stays[:, None], values, 0.0).mul_(scale)

    def _first_layer(self, error: torch.Tensor, seen: Sequence[torch.Tensor]) -> torch.Tensor:
        """The gradient (K, out, in) of the first weights from errors (n, K, out)."""
        rows, count, out = error.shape
        flat = error.reshape(rows, count * out).to(self._dtype)
        gradients = [
            torch.mm(flat[:, start * out : stop * out].T, inputs)
            for inputs, (start, stop, _) in zip(seen, self._alike, strict=True)
        ]
        gradient = gradients[0] if len(gradients) == 1 else torch.cat(gradients)
        return gradient.float().view(count, out, -1)

    def end(self, examples: int) -> list[float]:
        """Ends the epoch: each head's mean loss over it."""
        batches = len(self._noise[0])
        self._heads = [replace(head, steps=head.steps + batches) for head in self._heads]
        return [loss / examples for loss in self._losses.tolist()]

    def logits(self, batch: Batch) -> torch.Tensor:
        """(K, n, outputs)."""
        return self.predictions(batch.at(self._cut))

    @torch.no_grad()
    def predictions(self, features: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (K, n, outputs), without dropout."""
        self.flush()
        weight, bias = self._arrays[0][0], self._arrays[1][0]
        count, out, _ = weight.shape
        product = (features @ weight.view(count * out, -1).T).view(-1, count, out).add_(bias).transpose(0, 1)
        for (weight, *_), (bias, *_) in zip(self._arrays[2::2], self._arrays[3::2], strict=True):
            product = torch.baddbmm(bias[:, None], product.relu_(), weight.transpose(1, 2))
        return product


def stacked(key: int, spec: Spec, phase: Phase, batches: int, *, seed: int, done: int) -> StackedHead:
    """A head for a stack; `done` epochs of `phase`, of `batches` batches each, are over."""
    rate = spec.optimizer.learning_rate * phase.rate_factor
    return StackedHead(key, spec, seed, rate, phase.epochs * batches, done * batches)


def _singles(values: Sequence[tuple[int, int, float]]) -> list[tuple[int, int, tuple[int, int, float]]]:
    """As `_runs`, with every run cut into pieces of one."""
    return [(place, place + 1, value) for place, value in enumerate(values)]


def _runs(values: Sequence[tuple[int, int, float]]) -> list[tuple[int, int, tuple[int, int, float]]]:
    """(start, stop, value) of each run of equal values."""
    runs = []
    for value, places in itertools.groupby(range(len(values)), key=values.__getitem__):
        numbers = list(places)
        runs.append((numbers[0], numbers[-1] + 1, value))
    return runs
