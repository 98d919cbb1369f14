"""What the frozen stages of a backbone give, computed once for every trial, epoch, seed and split that wants it.

The idea is that of Nautilus (Nakandala and Kumar, SIGMOD 2022) and Alsatian (Strassenburg et al., SIGMOD 2025): what is
frozen is a query over the images, and its answer can be kept. Here it is kept by image content and by view, so that it
outlives trials, splits and studies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from ..data.augment import augment
from ..data.batches import as_input, to_floats
from ..data.splits import Split, Splits
from ..machine.interrupts import CheckStop, never_stop
from ..models.backbones import Backbone, needs_weights
from ..models.backbones.backbone import digest_of, freeze
from ..models.lowering import lower
from ..models.numerics import Numerics
from ..models.spec import Structure
from ..models.weights import load_backbone
from .store import BlockKey, PrefixStore
from .views import view_draws

CPU = torch.device("cpu")
FITTED = "fitted on the training split"
# Images that go through the frozen stages at once. On a CPU more fall out of its caches.
_CHUNK = {"cpu": 32, "cuda": 256}
# Of the store's room on disk, what the views of one split may take at one cut.
_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class _Placed:
    """A backbone, frozen, and on the device its stages for `forward`.

    `constants` are mean and std (1, C, 1, 1) of images, None where the backbone takes none.
    """

    backbone: Backbone
    lowered: nn.ModuleList
    constants: tuple[torch.Tensor, torch.Tensor] | None

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        return self.backbone.stages


class Prefixes:
    """The frozen stages of the backbones that a worker uses, and what they gave so far.

    Args:
        backbones: how a backbone is got by its name.
        store: where outputs are kept; None keeps nothing and computes everything when it is wanted.
        unfrozen: the most stages that a config of the search may unfreeze. The output of those below is kept first, and
            deeper cuts are computed from it.
        check_stop: called before each stage that is computed; see `CheckStop`.
    """

    def __init__(
        self,
        *,
        backbones: Callable[[str], Backbone] = load_backbone,
        numerics: Numerics | None = None,
        device: torch.device = CPU,
        store: PrefixStore | None = None,
        unfrozen: int = 0,
        check_stop: CheckStop = never_stop,
    ) -> None:
        self.numerics = numerics or Numerics()
        self.device = device
        self.store = store
        self.check_stop = check_stop
        self._unfrozen = unfrozen
        self._backbones = backbones
        self._placed: dict[str, _Placed] = {}
        self._row_bytes: dict[tuple[str, int, int], int] = {}
        self._on_device: dict[tuple[str, int], tuple[torch.Tensor, torch.Tensor]] = {}

    def with_numerics(self, numerics: Numerics) -> Prefixes:
        """The same in another precision or layout; outputs are kept apart."""
        return Prefixes(
            backbones=self._backbones,
            numerics=numerics,
            device=self.device,
            store=self.store,
            unfrozen=self._unfrozen,
            check_stop=self.check_stop,
        )

    def fitted_to(self, splits: Splits) -> Prefixes:
        """These, or others whose backbones begin with what was fitted on the training split of `splits`."""
        fitted = splits.fitted
        if fitted is None:
            return self

        def backbones(name: str) -> Backbone:
            backbone = self._backbones(name)
            backbone.stages[0].load_state_dict(dict(fitted))
            return replace(backbone, weights_digest=digest_of(backbone.stages), origin=FITTED)

        return Prefixes(
            backbones=backbones,
            numerics=self.numerics,
            device=self.device,
            store=self.store,
            unfrozen=self._unfrozen,
            check_stop=self.check_stop,
        )

    def backbone(self, name: str) -> Backbone:
        """The backbone as it was loaded, all of it frozen. Its modules are shared: `lower` copies what is trained."""
        return self._place(name).backbone

    def inputs(
        self, stored: torch.Tensor, structure: Structure, strength: int, draws: torch.Tensor | None
    ) -> torch.Tensor:
        """Rows of a split's pool on the device, as the first stage takes them.

        Bytes of photos (n, S, S, C) become augmented and normalised images (n, C, R, R).
        """
        constants = self._place(structure.backbone).constants
        if constants is None:
            return stored.to(self.device, non_blocking=True)
        mean, std = constants
        images = to_floats(stored, self.device)
        images = as_input(images, structure.resolution, mean.shape[1])
        if draws is not None:
            images = augment(images, strength, draws)
        return ((images - mean) / std).contiguous(memory_format=self.numerics.memory_format)

    @torch.no_grad()
    def forward(self, name: str, activations: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """Through the stages `first` to `last` - 1; after the last stage of all, pooled features (n, width) in fp32."""
        placed = self._place(name)
        with self.numerics.autocast(self.device):
            for stage in placed.lowered[first:last]:
                self.check_stop()
                activations = stage(activations)
            if last == len(placed.stages):
                activations = placed.backbone.pool(activations).float()
        return activations

    def kept(self, split: Split, structure: Structure, cut: int, *, augmented: bool) -> bool:
        """Whether the output at `cut` is kept for every view that `structure` sees of `split`."""
        if self.store is None or cut == 0 or not split.keys or (augmented and structure.views == 0):
            return False
        if cut == len(self._place(structure.backbone).stages):
            return True
        needed = self._bytes_at(split, structure, cut) * len(split) * (structure.views if augmented else 1)
        return needed <= _SHARE * self.store.disk_limit

    def block(self, split: Split, structure: Structure, cut: int, *, strength: int, view: int) -> torch.Tensor:
        """The output at `cut` for all examples of `split`, in their order, on the device where it has room.

        4-d activations come as (n, h, w, c) where the layout is channels_last: see `as_activations`.
        """
        assert self.store is not None
        key = self._key(structure, cut, strength, view)
        rows = self.store.rows(
            key,
            split.keys,
            lambda missing: self._compute(split, structure, cut, strength, view, missing),
            # What follows from another block, or from nothing but pixels, is computed again sooner than it is written.
            to_disk=lambda: (
                needs_weights(structure.backbone) and self._below(split, structure, cut, strength, view) is None
            ),
            check_stop=self.check_stop,
        )
        return rows if self.device.type == "cpu" else self._resident(key.digest, rows)

    def as_activations(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of a block as a stage takes them."""
        return rows.permute(0, 3, 1, 2) if self._last(rows) else rows

    def _last(self, rows: torch.Tensor) -> bool:
        return rows.ndim == 4 and self.numerics.channels_last

    def _compute(
        self, split: Split, structure: Structure, cut: int, strength: int, view: int, missing: Sequence[int]
    ) -> Iterator[torch.Tensor]:
        """Rows of the examples `missing`, on the CPU, from the deepest shallower cut that is kept or planned.

        They come in pieces, so that those computed before a stop can be kept. A piece is always computed as a whole:
        the rows do not depend on where a run was stopped.
        """
        assert self.store is not None
        index = torch.as_tensor(missing, dtype=torch.int64)
        below = self._below(split, structure, cut, strength, view)
        part = None
        if below is not None:
            chosen = Split(
                split.inputs,
                split.rows[index],
                split.labels[index],
                (),
                ("",) * len(index),
                tuple(split.keys[i] for i in missing),
            )
            part = self.store.rows(
                self._key(structure, below, strength, view),
                chosen.keys,
                lambda absent: self._compute(chosen, structure, below, strength, view, absent),
                check_stop=self.check_stop,
            )
        for chunk in torch.split(torch.arange(len(index)), _CHUNK[self.device.type]):
            if part is not None and below is not None:
                start, activations = below, self.as_activations(part[chunk].to(self.device, non_blocking=True))
            else:
                examples = index[chunk]
                draws = view_draws([split.keys[i] for i in examples.tolist()], view) if strength else None
                pixels = self.pool(split)[split.rows[examples]]
                start, activations = 0, self.inputs(pixels, structure, strength, draws)
            out = self.forward(structure.backbone, activations, start, cut)
            yield (out.permute(0, 2, 3, 1) if self._last(out) else out).contiguous().cpu()

    def _below(self, split: Split, structure: Structure, cut: int, strength: int, view: int) -> int | None:
        assert self.store is not None
        stages = len(self._place(structure.backbone).stages)
        first = max(min(structure.cut, stages - self._unfrozen), 1)
        planned = (c for c in range(first, cut) if self.kept(split, structure, c, augmented=strength > 0))
        base = next(planned, None)
        for shallower in range(cut - 1, 0, -1):
            if shallower == base or self.store.has(self._key(structure, shallower, strength, view), split.keys):
                return shallower
        return None

    def _key(self, structure: Structure, cut: int, strength: int, view: int) -> BlockKey:
        backbone = self._place(structure.backbone).backbone
        name, weights = structure.backbone, backbone.weights_digest
        if not needs_weights(name):
            # Its name says more than these stages depend on: the width of an embedding that comes after, for one.
            stages = backbone.stages[:cut]
            name, weights = f"{backbone.preprocessing} {[*stages]}", digest_of(stages)
        return BlockKey(
            backbone=name,
            weights=weights,
            resolution=structure.resolution,
            augmentation=strength,
            view=view if strength else 0,
            cut=cut,
            precision=f"{self.numerics}, {self.device.type}",
        )

    def _place(self, name: str) -> _Placed:
        if name not in self._placed:
            backbone = self._backbones(name)
            stages = len(backbone.stages)
            freeze(backbone.stages, stages)
            lowered = lower(backbone, stages, self.numerics, self.device).frozen
            constants = None
            if (preprocessing := backbone.preprocessing) is not None:
                mean, std = (
                    torch.tensor(values, device=self.device).view(1, -1, 1, 1)
                    for values in (preprocessing.mean, preprocessing.std)
                )
                constants = mean, std
            self._placed[name] = _Placed(backbone, lowered, constants)
        return self._placed[name]

    def _bytes_at(self, split: Split, structure: Structure, cut: int) -> int:
        """Of one example's output at `cut`, found by running the first."""
        name, side = structure.backbone, structure.resolution
        if (name, side, cut) not in self._row_bytes:
            activations = self.inputs(split.inputs[split.rows[:1]], structure, 0, None)
            for stage in range(len(self._place(name).stages)):
                activations = self.forward(name, activations, stage, stage + 1)
                self._row_bytes[name, side, stage + 1] = activations.numel() * activations.element_size()
        return self._row_bytes[name, side, cut]

    def pool(self, split: Split) -> torch.Tensor:
        """The pool of images, on the device where it has room for it."""
        if self.device.type == "cpu":
            return split.inputs
        return self._resident(f"images {split.inputs.data_ptr()}", split.inputs)

    def _resident(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` on the device if a quarter of its free memory holds it; copied once, in one piece."""
        # The tensor is held beside its copy, so that its address can't become another one's.
        key = (name, tensor.data_ptr())
        if key not in self._on_device:
            free, _ = torch.cuda.mem_get_info(self.device)
            if tensor.numel() * tensor.element_size() > free // 4:
                return tensor
            self._on_device[key] = (tensor, tensor.to(self.device))
        return self._on_device[key][1]
