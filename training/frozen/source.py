"""A split as the trials of one structure see it: batches of labels and of what stands at any cut of the backbone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from ..data.augment import RANDOM_NUMBERS
from ..data.batches import EVALUATION_BATCH, generator_of, order_of
from ..data.splits import Split
from ..models.spec import Structure
from .prefixes import Prefixes
from .streaming import Stream
from .views import view_at, view_random_numbers


class Pass:
    """One way through a split: an epoch of training, or one scoring.

    What `plan` keeps at a cut is read, everything else is computed for each batch from the deepest cut that is there.
    """

    def __init__(
        self,
        prefixes: Prefixes,
        structure: Structure,
        split: Split,
        order: Sequence[torch.Tensor],
        *,
        strength: int,
        view: int | None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.prefixes = prefixes
        self.structure = structure
        self.split = split
        self.order = order
        self.plan = prefixes.plan(split, structure, augmented=strength > 0)
        self._strength = strength
        self._view = view
        self._chance = generator
        self._blocks: dict[int, torch.Tensor] = {}
        self._stream = Stream(order, prefixes.device)

    def __len__(self) -> int:
        return len(self.order)

    def batches(self) -> Iterator[Batch]:
        # New numbers for each run through the pass would make its batches differ.
        fresh = self._strength > 0 and self._view is None
        random_numbers = torch.rand(len(self.split), RANDOM_NUMBERS, generator=self._chance) if fresh else None
        start = 0
        for number, index in enumerate(self.order):
            own = None if random_numbers is None else random_numbers[start : start + len(index)]
            yield Batch(self, number, index, own)
            start += len(index)

    def prepare(self, cuts: Iterable[int]) -> None:
        """Computes what is kept for outputs at `cuts` and not there yet, so that no batch has to wait for it."""
        for cut in cuts:
            if kept := cut if self.plan.kept(cut) else self.plan.source(cut):
                self.block(kept)

    def block(self, cut: int) -> torch.Tensor:
        """The rows at a cut whose output is kept; computed when they are first asked for."""
        if cut not in self._blocks:
            self._blocks[cut] = self.prefixes.block(
                self.split, self.structure, cut, strength=self._strength, view=self._view or 0
            )
        return self._blocks[cut]

    def rows(self, source: torch.Tensor, batch: Batch, places: torch.Tensor | None = None) -> torch.Tensor:
        """Rows of `source` for a batch, on the device: from there where it lies there, else streamed in blocks."""
        device = self.prefixes.device
        if source.device.type != device.type:
            return self._stream.rows(source, batch.number, places)
        index = batch.index if places is None else places[batch.index]
        return source[index.to(source.device, non_blocking=True)]

    def images(self, batch: Batch, random_numbers: torch.Tensor | None) -> torch.Tensor:
        if self._strength and self._view is not None:
            keys = self.split.keys or self.split.names
            random_numbers = view_random_numbers([keys[i] for i in batch.index.tolist()], self._view)
        if self.split.change is None:
            pixels = self.rows(self.prefixes.pool(self.split), batch, self.split.rows)
        else:
            pixels = self.split.take(batch.index)[0]
        return self.prefixes.inputs(pixels, self.structure, self._strength, random_numbers)


class Batch:
    """Some examples of a pass; what it computes at a cut stays with it for whoever comes next."""

    def __init__(self, way: Pass, number: int, index: torch.Tensor, random_numbers: torch.Tensor | None) -> None:
        self._pass = way
        self.number = number
        self.index = index
        self.random_numbers_ = random_numbers
        self._at: dict[int, torch.Tensor] = {}
        self.labels = way.split.labels[index].to(way.prefixes.device, non_blocking=True)

    def __len__(self) -> int:
        return len(self.index)

    def at(self, cut: int) -> torch.Tensor:
        """The output of the first `cut` stages for these examples; after the last stage, pooled features (n, width)."""
        if cut not in self._at:
            self._at[cut] = self._computed(cut)
        return self._at[cut]

    def _computed(self, cut: int) -> torch.Tensor:
        way = self._pass
        prefixes = way.prefixes
        if way.plan.kept(cut):
            return prefixes.as_activations(way.rows(way.block(cut), self))
        if cut == 0:
            return way.images(self, self.random_numbers_)
        # The nearest cut that this batch has already, or that is kept.
        start = max([way.plan.source(cut), *(computed for computed in self._at if computed < cut)])
        return prefixes.forward_batch(way.structure.backbone, self.at(start), start, cut)


def training_pass(prefixes: Prefixes, structure: Structure, split: Split, *, seed: int, epoch: int) -> Pass:
    """Epoch `epoch` of 1, 2, ... of a group whose order is decided by `seed`."""
    order = order_of(len(split), structure.batch_size, seed=seed, epoch=epoch)
    view = view_at(structure, epoch, seed)
    return Pass(
        prefixes,
        structure,
        split,
        order,
        strength=structure.augmentation,
        view=view,
        generator=generator_of(seed, epoch, 1),
    )


def scoring_pass(prefixes: Prefixes, structure: Structure, split: Split) -> Pass:
    """All of `split` in its own order, not augmented."""
    order = torch.split(torch.arange(len(split)), EVALUATION_BATCH)
    return Pass(prefixes, structure, split, order, strength=0, view=0)
