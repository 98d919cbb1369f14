"""Heads of one shape that train side by side: K of them as one computation over the same features.

The features of a batch are read once for all; each head has its own weights, rates, dropout, label smoothing and
optimizer state. The gradients are written out rather than left to autograd, whose bookkeeping costs more than the
arithmetic of so small a model. Fusing models of one shape is HFTA's idea (Wang et al., MLSys 2021, arXiv 2102.02344);
here heads come and go while the others train on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from search_spaces import Config

from .batches import number_of
from .model import Head
from .optimisation import ADAM_BETAS, ADAM_EPSILON, momentum_of, schedule
from .source import Batch
from .structure import Phase

# Dropout compares 16 random bits with a threshold.
_LEVELS = 2**16


@dataclass(frozen=True)
class HeadShape:
    """What heads must have in common to be stacked: the layers and the rule that updates them."""

    width: int
    hidden: int
    classes: int
    optimizer: str

    @staticmethod
    def of(config: Config, width: int, classes: int) -> HeadShape:
        return HeadShape(width, int(config.get("head_width", 0)), classes, str(config.get("optimizer", "adamw")))


@dataclass(frozen=True, eq=False)
class StackedHead:
    """One head's place in a stack. `steps` it has taken, `rates` (steps of its phase,) it goes through."""

    key: int
    config: Config
    seed: int
    rates: np.ndarray
    steps: int


class HeadStack:
    """K heads of one `shape`. Weights (K, out, in), biases (K, out); state likewise."""

    def __init__(self, shape: HeadShape, device: torch.device, cut: int = 0) -> None:
        """`cut` is where a batch holds the features."""
        self.shape = shape
        self._cut = cut
        self._device = device
        self._heads: list[StackedHead] = []
        sizes = [(shape.classes, shape.width)]
        if shape.hidden:
            sizes = [(shape.hidden, shape.width), (shape.classes, shape.hidden)]
        self._parameters = [
            torch.empty(0, *size, device=device) for rows, columns in sizes for size in ((rows, columns), (rows,))
        ]
        self._one_hot = torch.eye(shape.classes, device=device)
        moments = 2 if shape.optimizer == "adamw" else 1
        self._moments = [[torch.empty_like(p) for p in self._parameters] for _ in range(moments)]

    def __len__(self) -> int:
        return len(self._heads)

    @property
    def keys(self) -> list[int]:
        return [head.key for head in self._heads]

    @property
    def layers(self) -> int:
        return len(self._parameters) // 2

    def add(
        self,
        key: int,
        config: Config,
        head: Head,
        phase: Phase,
        batches: int,
        *,
        seed: int,
        optimizer: torch.optim.Optimizer,
        done: int,
    ) -> None:
        """Puts a copy of `head` and of its optimizer's state into the stack; `done` epochs of its phase are over."""
        steps = phase.epochs * batches
        rate = float(config["learning_rate"]) * phase.rate_factor
        rates = np.array([rate * schedule(step, steps) for step in range(steps)])
        self._heads.append(StackedHead(key, config, seed, rates, done * batches))
        for number, parameter in enumerate(head.parameters()):
            self._parameters[number] = torch.cat([self._parameters[number], parameter.detach()[None]])
            state = optimizer.state.get(parameter, {})
            for moments, name in zip(self._moments, self._names, strict=True):
                kept = state.get(name)
                moments[number] = torch.cat(
                    [moments[number], (torch.zeros_like(parameter) if kept is None else kept).detach()[None]]
                )

    def remove(self, keys: Iterable[int]) -> None:
        """The heads' places close up: what is gone costs nothing from then on."""
        gone = set(keys)
        stay = torch.tensor(
            [i for i, head in enumerate(self._heads) if head.key not in gone], dtype=torch.int64, device=self._device
        )
        self._heads = [head for head in self._heads if head.key not in gone]
        self._parameters = [p[stay] for p in self._parameters]
        self._moments = [[m[stay] for m in moments] for moments in self._moments]

    def copy_to(self, key: int, head: Head, optimizer: torch.optim.Optimizer) -> None:
        """Writes a stacked head's weights and optimizer state into modules of its own."""
        place = self.keys.index(key)
        for number, parameter in enumerate(head.parameters()):
            with torch.no_grad():
                parameter.copy_(self._parameters[number][place])
            if self._heads[place].steps == 0:
                continue
            state = {
                name: moments[number][place].clone() for name, moments in zip(self._names, self._moments, strict=True)
            }
            if self.shape.optimizer == "adamw":
                state["step"] = torch.tensor(float(self._heads[place].steps), device=self._device)
            optimizer.state[parameter] = state

    def snapshot(self) -> Callable[[], None]:
        """Keeps the stack as it is now; to be called to bring it back."""
        heads, parameters = list(self._heads), [p.clone() for p in self._parameters]
        moments = [[m.clone() for m in kind] for kind in self._moments]

        def restore() -> None:
            self._heads, self._parameters, self._moments = heads, parameters, moments

        return restore

    @property
    def _names(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq") if self.shape.optimizer == "adamw" else ("momentum_buffer",)

    def begin(self, tick: int, order: Sequence[torch.Tensor]) -> None:
        """Prepares an epoch: each head's settings for every batch, and the noise of its dropout."""
        heads = self._heads
        taken = np.array([[head.steps + number for head in heads] for number in range(len(order))])
        rates = np.stack([head.rates[taken[:, place]] for place, head in enumerate(heads)], 1)
        decays = np.array([float(head.config.get("weight_decay", 0.0)) for head in heads])
        if self.shape.optimizer == "adamw":
            one, two = (1 - beta ** (taken + 1.0) for beta in ADAM_BETAS)
            self._rates = self._per_head(rates * np.sqrt(two) / one)
            self._epsilons = self._per_head(ADAM_EPSILON * np.sqrt(two))
            self._decays = self._per_head(1 - rates * decays)
        else:
            self._rates = self._per_head(rates)
            self._decays = self._per_head(np.broadcast_to(decays, rates.shape))
            self._momenta = self._per_head(np.array([[momentum_of(head.config) for head in heads]]))[0]
        smoothing = np.array([[float(head.config.get("label_smoothing", 0.0)) for head in heads]])
        self._floor = self._per_head(smoothing / self.shape.classes)[0]
        self._peak = self._per_head(1 - smoothing)[0]
        dropped = np.array([round(float(head.config.get("dropout", 0.0)) * _LEVELS) for head in heads])
        self._scale: torch.Tensor | None = None
        if dropped.any():
            self._thresholds = torch.tensor(dropped - _LEVELS // 2, dtype=torch.int16, device=self._device).view(
                -1, 1, 1
            )
            self._scale = self._per_head(_LEVELS / (_LEVELS - dropped)[None])[0]
            self._noise = self._make_noise(tick, order)
        self._losses = torch.zeros(len(heads), device=self._device)

    def _per_head(self, values: np.ndarray) -> torch.Tensor:
        """(batches, K) -> (batches, K, 1, 1)."""
        return torch.tensor(values, dtype=torch.float32, device=self._device)[..., None, None]

    def _make_noise(self, tick: int, order: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
        """For each layer and batch, random 16-bit numbers (1 or K, n, width) that dropout compares with.

        They follow from a head's seed and the epoch of its group. Heads of one seed compare the same numbers with their
        own thresholds, so that they differ by their settings and by nothing else.
        """
        seeds = list(dict.fromkeys(head.seed for head in self._heads))
        which = torch.tensor([seeds.index(head.seed) for head in self._heads], device=self._device)
        sizes = [len(index) for index in order]
        noise = []
        for layer in range(self.layers):
            width = self._parameters[2 * layer].shape[2]
            drawn = torch.stack([self._draw(number_of(seed, tick, 4 + layer), sum(sizes), width) for seed in seeds])
            parts = torch.split(drawn, sizes, dim=1)
            noise.append([part if len(seeds) == 1 else part[which] for part in parts])
        return noise

    def _draw(self, seed: int, rows: int, width: int) -> torch.Tensor:
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
        weight, bias = self._parameters[:2]
        seen = self._dropped(features.expand(1, -1, -1), 0, number)
        if self.shape.hidden:
            inner = _linear(seen, weight, bias, self._scale).relu_()
            shown = self._dropped(inner, 1, number)
            logits = _linear(shown, self._parameters[2], self._parameters[3], self._scale)
        else:
            logits = _linear(seen, weight, bias, self._scale)
        error = self._loss_and_error(logits, labels)
        if self.shape.hidden:
            back, last_bias = self._scaled(error), error.sum(1)
            last = _outer(back, shown)
            # What dropout or ReLU put out has no share in the error; what is left is above zero.
            error = torch.bmm(back, self._parameters[2]).mul_(shown > 0)
            gradients = [_outer(self._scaled(error), seen), error.sum(1), last, last_bias]
        else:
            gradients = [_outer(self._scaled(error), seen), error.sum(1)]
        self._update(number, gradients)

    def _dropped(self, values: torch.Tensor, layer: int, number: int) -> torch.Tensor:
        """(1 or K, n, width) without what dropout takes; `_linear` makes up for the scale."""
        if self._scale is None:
            return values
        return torch.where(self._noise[layer][number] >= self._thresholds, values, 0.0)

    def _scaled(self, error: torch.Tensor) -> torch.Tensor:
        return error if self._scale is None else error * self._scale

    def _loss_and_error(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Adds the sum of each head's cross-entropy to its losses; returns d(mean loss) / d(logits)."""
        target = torch.addcmul(self._floor, self._one_hot[labels], self._peak)
        logs = logits.log_softmax(2)
        self._losses -= (target * logs).sum((1, 2))
        return logs.exp_().sub_(target).div_(len(labels))

    def _update(self, number: int, gradients: Sequence[torch.Tensor]) -> None:
        rate, decay = self._rates[number], self._decays[number]
        for position, (parameter, gradient) in enumerate(zip(self._parameters, gradients, strict=True)):
            matrix = parameter.ndim == 3
            step = rate if matrix else rate[..., 0]
            if self.shape.optimizer == "adamw":
                first, second = self._moments[0][position], self._moments[1][position]
                if matrix:
                    parameter.mul_(decay)
                first.lerp_(gradient, 1 - ADAM_BETAS[0])
                second.mul_(ADAM_BETAS[1]).addcmul_(gradient, gradient, value=1 - ADAM_BETAS[1])
                epsilon = self._epsilons[number] if matrix else self._epsilons[number][..., 0]
                parameter.addcmul_(first / second.sqrt().add_(epsilon), step, value=-1)
            else:
                momentum = self._momenta if matrix else self._momenta[..., 0]
                buffer = self._moments[0][position]
                if matrix:
                    gradient = torch.addcmul(gradient, parameter, decay)
                buffer.mul_(momentum).add_(gradient)
                # Nesterov's step.
                parameter.addcmul_(torch.addcmul(gradient, buffer, momentum), step, value=-1)

    def end(self, examples: int) -> list[float]:
        """Ends the epoch: each head's mean loss over it."""
        batches = len(self._rates)
        self._heads = [
            StackedHead(head.key, head.config, head.seed, head.rates, head.steps + batches) for head in self._heads
        ]
        return [loss / examples for loss in self._losses.tolist()]

    def logits(self, batch: Batch) -> torch.Tensor:
        """(K, n, classes)."""
        return self.answers(batch.at(self._cut))

    @torch.no_grad()
    def answers(self, features: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (K, n, classes), without dropout."""
        out = _linear(features[None], self._parameters[0], self._parameters[1], None)
        return _linear(out.relu_(), self._parameters[2], self._parameters[3], None) if self.shape.hidden else out


def _linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    """(1 or K, n, in) -> (K, n, out); `scale` (K, 1, 1) multiplies the inputs."""
    count, out = bias.shape
    if len(inputs) == 1 and count > 1:
        # The same inputs for all heads: one product of matrices instead of K.
        product = (inputs[0] @ weight.view(count * out, -1).T).view(-1, count, out).transpose(0, 1)
    else:
        product = torch.bmm(inputs, weight.transpose(1, 2))
    return product + bias[:, None] if scale is None else torch.addcmul(bias[:, None], product, scale)


def _outer(error: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """The gradient (K, out, in) of a layer's weights from errors (K, n, out) and its inputs (1 or K, n, in)."""
    count, rows, out = error.shape
    if len(inputs) == 1 and count > 1:
        return (error.transpose(1, 2).reshape(count * out, rows) @ inputs[0]).view(count, out, -1)
    return torch.bmm(error.transpose(1, 2), inputs)
