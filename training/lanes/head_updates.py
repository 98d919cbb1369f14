"""The updates of stacked heads: `torch.optim`'s AdamW and SGD, with settings of each head's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..models.spec import ADAMW, OptimizerSpec
from .optimisation import fused_adamw, fused_sgd

# Numbers of one array that are updated at a time: the update goes over them a dozen times, so they had better stay in
# a core's cache.
_CHUNK = 2**17
# Heads of at least so many weights are updated one by one in a single pass: the pass then outweighs its call.
LARGE = 2**16


class StackedUpdate:
    """One epoch's updates of K heads. Weights are (K, out, in) and decay; biases are (K, out) and do not.

    Args:
        optimizer: `adamw` or `sgd` (Nesterov momentum).
        rates: (batches, K), the learning rate of each head at each batch.
        taken: (batches, K), how many steps each head has taken before.
    """

    def __init__(
        self,
        optimizer: str,
        specs: Sequence[OptimizerSpec],
        rates: NDArray[np.float64],
        taken: NDArray[np.int64],
        device: torch.device,
    ) -> None:
        self._adam = optimizer == ADAMW
        self._specs = specs
        self._plain_rates = rates
        self._steps = torch.tensor(taken + 1.0, dtype=torch.float32, device=device)
        decays = np.array([spec.weight_decay for spec in specs])

        def per_head(values: NDArray[np.float64]) -> torch.Tensor:
            """(batches, K) -> (batches, K, 1, 1)."""
            return torch.tensor(values, dtype=torch.float32, device=device)[..., None, None]

        self._rates = per_head(rates)
        if self._adam:
            self._decays = per_head(1 - rates * decays)
            # Heads that have taken equally many steps, side by side.
            ends = [*(np.flatnonzero(np.diff(taken[0])) + 1).tolist(), len(specs)]
            self._alike = list(zip([0, *ends[:-1]], ends, strict=True))
            self._directions: dict[tuple[int, ...], torch.Tensor] = {}
        else:
            self._decays = per_head(np.broadcast_to(decays, rates.shape))
            self._momenta = per_head(np.array([[spec.momentum for spec in specs]]))[0]

    @staticmethod
    def moment_names(optimizer: str) -> tuple[str, ...]:
        """As `torch.optim` calls them in its state."""
        return ("exp_avg", "exp_avg_sq") if optimizer == ADAMW else ("momentum_buffer",)

    def __call__(
        self, number: int, parameter: torch.Tensor, moments: Sequence[torch.Tensor], gradient: torch.Tensor
    ) -> None:
        """Updates `parameter` and its `moments` in place at batch `number`."""
        per_head = max(parameter[0].numel(), 1)
        if per_head >= LARGE:
            self._one_by_one(number, parameter, moments, gradient)
            return
        if self._adam:
            self._by_direction(number, parameter, moments, gradient)
            return
        chunk = max(_CHUNK // per_head, 1) if parameter.device.type == "cpu" else len(parameter)
        for start in range(0, len(parameter), chunk):
            part = slice(start, start + chunk)
            self._update(number, part, parameter[part], [moment[part] for moment in moments], gradient[part])

    def _one_by_one(
        self, number: int, parameter: torch.Tensor, moments: Sequence[torch.Tensor], gradient: torch.Tensor
    ) -> None:
        """The same by torch's fused updates, on CPU and GPU one pass over everything."""
        for place, spec in enumerate(self._specs):
            rate, decay = float(self._plain_rates[number, place]), spec.weight_decay
            mine = [[values[place]] for values in (parameter, gradient, *moments)]
            if self._adam:
                mine.append([self._steps[number, place]])
                fused_adamw(*mine, rate=rate, decay=decay)
            else:
                fused_sgd(*mine, rate=rate, decay=decay, momentum=spec.momentum)

    def _update(
        self,
        number: int,
        part: slice,
        parameter: torch.Tensor,
        moments: Sequence[torch.Tensor],
        gradient: torch.Tensor,
    ) -> None:
        matrix = parameter.ndim == 3
        rate, momentum = self._rates[number, part], self._momenta[part]
        (buffer,) = moments
        if matrix:
            gradient = torch.addcmul(gradient, parameter, self._decays[number, part])
        else:
            rate, momentum = rate[..., 0], momentum[..., 0]
        buffer.mul_(momentum).add_(gradient)
        parameter.addcmul_(torch.addcmul(gradient, buffer, momentum), rate, value=-1)

    def _by_direction(
        self, number: int, parameter: torch.Tensor, moments: Sequence[torch.Tensor], gradient: torch.Tensor
    ) -> None:
        """AdamW in three passes: torch's fused kernel finds all heads' directions, each goes along its own by its rate.

        The kernel takes one rate for all. Updating zeros at a rate of 1, it leaves what a rate is multiplied with; a
        decay of 1 then makes zeros of what the last batch left there.
        """
        if (shape := tuple(parameter.shape)) not in self._directions:
            self._directions[shape] = torch.zeros_like(parameter)
        direction = self._directions[shape]
        first, second = moments

        def pieces(values: torch.Tensor) -> list[torch.Tensor]:
            return [values[start:stop] for start, stop in self._alike]

        steps = [self._steps[number, start] for start, _ in self._alike]
        fused_adamw(pieces(direction), pieces(gradient), pieces(first), pieces(second), steps, rate=1.0, decay=1.0)
        rate = self._rates[number]
        if parameter.ndim == 3:
            parameter.mul_(self._decays[number])
        else:
            rate = rate[..., 0]
        parameter.addcmul_(direction, rate)
