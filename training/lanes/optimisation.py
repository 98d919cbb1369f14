"""Optimizers, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar, cast

import torch
from torch import nn

from ..models.spec import SGD, OptimizerSpec

OptimizerT = TypeVar("OptimizerT", bound=torch.optim.Optimizer)

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
WARM_UP_SHARE = 0.1
_MOMENTUM = "momentum_buffer"
# What torch keeps its compiler from looking into, for which it imports it: that takes a second, before any head trains.
_KEPT_FROM_COMPILER = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def make_optimizer(spec: OptimizerSpec, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW. Biases and normalisation (vectors) have no weight decay."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate, momentum = spec.learning_rate, spec.momentum
    if spec.name == SGD:
        sgd: type[torch.optim.SGD] = _not_compiled(torch.optim.SGD)
        return sgd(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=True)
    adamw: type[torch.optim.AdamW] = _not_compiled(torch.optim.AdamW)
    return adamw(groups, lr=rate, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True)


@cache
def _not_compiled(optimizer: type[OptimizerT]) -> type[OptimizerT]:
    """The same optimizer for those who never compile it."""
    methods = {name: getattr(optimizer, name) for name in _KEPT_FROM_COMPILER}
    return type(optimizer.__name__, (optimizer,), {n: getattr(m, "__wrapped__", m) for n, m in methods.items()})


class Update:
    """Steps of an optimizer that `make_optimizer` made, without what `torch.optim` does around its fused kernel.

    That takes as long as the kernel does for some million weights. Every parameter must have a gradient. To be made
    anew once the optimizer's state was loaded.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, rate: torch.Tensor | None = None) -> None:
        """`rate` (on the device, of no dimension) is read at each step instead of the optimizer's learning rate: a
        captured step reads it from where it lies."""
        self._optimizer = optimizer
        self._rate = rate
        self._groups: list[tuple[dict[str, Any], list[torch.Tensor], list[list[torch.Tensor]]]] = []

    @torch.no_grad()
    def __call__(self) -> None:
        """Updates the parameters and forgets their gradients."""
        if self._groups or self._collected():
            for settings, parameters, state in self._groups:
                gradients = [cast(torch.Tensor, parameter.grad) for parameter in parameters]
                rate = float(settings["lr"]) if self._rate is None else self._rate
                decay = float(settings["weight_decay"])
                if isinstance(self._optimizer, torch.optim.SGD):
                    momentum = float(settings["momentum"])
                    buffers = state[0] if state else []
                    fused_sgd(parameters, gradients, buffers, rate=rate, decay=decay, momentum=momentum)
                else:
                    torch._foreach_add_(state[-1], 1)
                    fused_adamw(parameters, gradients, *state, rate=rate, decay=decay)
        else:
            self._optimizer.step()  # makes the state
        self.forget_gradients()

    def forget_gradients(self) -> None:
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _collected(self) -> bool:
        names: tuple[str, ...] = ("exp_avg", "exp_avg_sq", "step")
        if isinstance(self._optimizer, torch.optim.SGD):
            # Without momentum there is no state to wait for: a step of torch's own would go on at the rate that it was
            # captured with.
            names = (_MOMENTUM,) if self._optimizer.param_groups[0]["momentum"] else ()
        if names and not self._optimizer.state:
            return False
        for group in self._optimizer.param_groups:
            states = [self._optimizer.state[parameter] for parameter in group["params"]]
            self._groups.append((group, group["params"], [[state[name] for state in states] for name in names]))
        return True


def fused_adamw(
    parameters: list[torch.Tensor],
    gradients: list[torch.Tensor],
    first: list[torch.Tensor],
    second: list[torch.Tensor],
    steps: list[torch.Tensor],
    *,
    rate: float | torch.Tensor,
    decay: float,
) -> None:
    """torch's kernel for AdamW, in one pass; `steps` count the one that is taken."""
    torch._fused_adamw_(
        parameters,
        gradients,
        first,
        second,
        [],
        steps,
        lr=rate,
        beta1=ADAM_BETAS[0],
        beta2=ADAM_BETAS[1],
        weight_decay=decay,
        eps=ADAM_EPSILON,
        amsgrad=False,
        maximize=False,
    )


def fused_sgd(
    parameters: list[torch.Tensor],
    gradients: list[torch.Tensor],
    buffers: list[torch.Tensor],
    *,
    rate: float | torch.Tensor,
    decay: float,
    momentum: float,
) -> None:
    """torch's kernel for SGD with Nesterov momentum, in one pass; without momentum `buffers` are left alone."""
    torch._fused_sgd_(
        parameters,
        gradients,
        buffers if momentum else [],  # the kernel refuses them
        weight_decay=decay,
        momentum=momentum,
        lr=rate,
        dampening=0.0,
        nesterov=momentum > 0,
        maximize=False,
        is_first_step=False,
    )


def schedule(step: int, steps: int) -> float:
    """The learning rate at `step` of 0..steps-1 as a share of its peak: a linear warm-up, then a cosine to nearly zero.

    The cosine is Loshchilov and Hutter's (2017, arXiv 1608.03983), without restarts.
    """
    warm_up = max(1, round(WARM_UP_SHARE * steps)) if steps > 1 else 0
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))
