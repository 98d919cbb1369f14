"""A trial whose last stages train: a suffix of its own on the prefix that it shares with others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from ..frozen.source import Batch
from ..machine.seeds import number_of
from ..models.backbones import Backbone
from ..models.backbones.texts import reset_stage
from ..models.classifier import Classifier, Head
from ..models.lowering import lower
from ..models.numerics import Numerics
from ..models.spec import Phase, Spec
from ..scoring.objectives import Loss
from .captured import Capture, CapturedStep
from .optimisation import Update, make_optimizer, schedule


class SuffixTrainer:
    """Trains the stages from `phase.cut` on, and a head, of one lane."""

    def __init__(
        self,
        key: int,
        spec: Spec,
        backbone: Backbone,
        head: Head,
        phase: Phase,
        batches: int,
        *,
        seed: int,
        done: int,
        numerics: Numerics,
        device: torch.device,
        loss: Loss,
        capture: Capture = Capture.MEASURED,
    ) -> None:
        """`backbone` is shared and stays as it is; `head` is trained on. `done` epochs of the phase are behind it."""
        self.keys = [key]
        self._loss = loss
        self._smoothing = spec.head.label_smoothing
        self._phase = phase
        self._batches = batches
        self._seed = seed
        self._done = done
        self._numerics = numerics
        self._device = device
        own = lower(backbone, phase.cut, numerics, device).trained
        if spec.backbone.from_scratch:
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                torch.manual_seed(number_of(seed, 0, 5))
                for stage in own:
                    reset_stage(stage)
        self.model = Classifier(replace(backbone, stages=(*backbone.stages[: phase.cut], *own)), spec, head)
        self.optimizer = make_optimizer(spec.optimizer, self.model.freeze(phase.cut))
        # What the model is drawn back to at the end; the stages began as the backbone's, whatever is loaded into them.
        self._begun = [stage.state_dict() for stage in backbone.stages[phase.cut :]] if phase.kept < 1 else []
        if self._begun:
            self._begun.append(copy.deepcopy(head.state_dict()))
        self._rate = spec.optimizer.learning_rate * phase.rate_factor
        # On a GPU the rate is a tensor, whether steps are captured or not: both then compute the same.
        self._rate_now = torch.zeros((), device=device) if device.type == "cuda" else None
        self._losses = torch.zeros((), device=device)
        self._update = Update(self.optimizer, self._rate_now)
        ahead = (phase.epochs - done) * batches
        self._train = CapturedStep(self._take, lambda: self._update.forget_gradients(), device, ahead, capture)
        self._random = self._random_state(number_of(seed, 0, 3))

    @property
    def _trained(self) -> list[nn.Module]:
        """The stages and the head."""
        return [*self.model.stages[self._phase.cut :], self.model.head]

    @property
    def head_before(self) -> dict[str, torch.Tensor] | None:
        """The head as it was before the phase; None once nothing is drawn back to it any more."""
        return self._begun[-1] if self._begun and self._done < self._phase.epochs else None

    @head_before.setter
    def head_before(self, head: dict[str, torch.Tensor]) -> None:
        if self._begun:
            own = self.model.head.state_dict()
            self._begun[-1] = {name: tensor.to(own[name], copy=True) for name, tensor in head.items()}

    def begin(self, epoch: int, order: Sequence[torch.Tensor]) -> None:
        self.model.freeze(self._phase.cut)
        # Anew, as the state may have been loaded since.
        self._update = Update(self.optimizer, self._rate_now)
        # For dropout, of the head and of the backbone where it has any.
        self._random = self._random_state(number_of(self._seed, epoch, 3))
        self._losses.zero_()

    def step(self, batch: Batch) -> None:
        share = schedule(self._done * self._batches + batch.number, self._phase.epochs * self._batches)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate * share
        if self._rate_now is not None:
            self._rate_now.fill_(self._rate * share)
        self._set_random_state(self._random)
        self._train(batch.at(self._phase.cut), batch.labels)
        self._random = self._now()

    def _take(self, activations: torch.Tensor, labels: torch.Tensor) -> None:
        """One step, without anything that waits for the device: see `CapturedStep`."""
        with self._numerics.autocast(self._device):
            features = self.model.suffix(activations, self._phase.cut)
        loss = self._loss.mean(self.model.head(features), labels, self._smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        self._update()
        self._losses += loss.detach() * len(labels)

    def end(self, examples: int) -> list[float]:
        self._done += 1
        if self._done == self._phase.epochs and self._begun:
            self._draw_back()
        return [float(self._losses) / examples]

    @torch.no_grad()
    def _draw_back(self) -> None:
        """Leaves the model on the line between what it was before the phase and what it is, at the phase's `kept`.

        Source: Wortsman et al. (2022), Robust fine-tuning of zero-shot models, arXiv 2109.01903.
        """
        for module, before in zip(self._trained, self._begun, strict=True):
            for name, tensor in module.state_dict().items():
                if tensor.is_floating_point():
                    tensor.copy_(torch.lerp(before[name].to(tensor), tensor, self._phase.kept))

    @torch.no_grad()
    def logits(self, batch: Batch) -> torch.Tensor:
        """(1, n, outputs), in evaluation mode."""
        self.model.eval()
        activations = batch.at(self._phase.cut)
        with self._numerics.autocast(self._device):
            features = self.model.suffix(activations, self._phase.cut)
        out: torch.Tensor = self.model.head(features)
        return out[None]

    def snapshot(self) -> Callable[[], None]:
        """Keeps the training as it is now; to be called to bring it back."""
        model = copy.deepcopy(self._trained)
        optimizer, done = copy.deepcopy(self.optimizer.state_dict()), self._done

        def restore() -> None:
            for mine, kept in zip(self._trained, model, strict=True):
                mine.load_state_dict(kept.state_dict())
            self.optimizer.load_state_dict(optimizer)
            self._done = done
            self._train.forget()  # the optimizer's state lies elsewhere now

        return restore

    def _random_state(self, seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return self._now()

    def _now(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _set_random_state(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)
