"""What the frozen stages of a backbone give, computed once for every trial, epoch, seed and split that wants it.

The idea is that of Nautilus (Nakandala and Kumar, SIGMOD 2022) and Alsatian (Strassenburg et al., SIGMOD 2025): what is
frozen is a query over the images, and its answer can be kept. Here it is kept by image content and by view, so that it
outlives trials, splits and studies.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from search_spaces import InputError

from ..data.augment import augment
from ..data.batches import as_input, to_floats
from ..data.splits import Split, Splits
from ..machine.interrupts import CheckStop, never_stop
from ..machine.side_by_side import side_by_side
from ..models.backbones import Backbone, frozen_name, needs_weights
from ..models.backbones.backbone import digest_of, freeze
from ..models.kernels import REVISION
from ..models.lowering import lower
from ..models.numerics import Numerics
from ..models.spec import Structure
from ..models.weights import load_backbone
from .plan import SHARE, KeepPlan
from .sizes import filled_up, row_bytes, rows_at_once, rows_to_try
from .store import BlockKey, PrefixStore
from .views import view_random_numbers

CPU = torch.device("cpu")
FITTED = "fitted on the training split"


@dataclass(frozen=True, eq=False)
class _Placed:
    """A backbone, frozen, and what of it lies on the device: put there when something first goes through it, as a
    device without room for it is the business of the run that computes."""

    backbone: Backbone
    numerics: Numerics
    device: torch.device

    @functools.cached_property
    def lowered(self) -> nn.ModuleList:
        """The stages for `forward`."""
        return lower(self.backbone, len(self.stages), self.numerics, self.device).frozen

    @functools.cached_property
    def constants(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Mean and std (1, C, 1, 1) of images, None where the backbone takes none."""
        if (preprocessing := self.backbone.preprocessing) is None:
            return None
        mean, std = (
            torch.tensor(values, device=self.device).view(1, -1, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )
        return mean, std

    def ready(self) -> None:
        """To be called before several threads compute, and not under autocast, which would round what is folded."""
        _ = self.lowered, self.constants

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        return self.backbone.stages


@dataclass(frozen=True, eq=False)
class _Asked:
    """Whose outputs are asked for: the examples of `split`, augmented by `strength` as in `view`. `plan` is theirs, or
    that of a split that holds them."""

    split: Split
    structure: Structure
    plan: KeepPlan
    strength: int
    view: int


class Prefixes:
    """The frozen stages of the backbones that a worker uses, and what they gave so far.

    Args:
        backbones: how a backbone is got by its name.
        store: where outputs are kept; None keeps nothing and computes everything when it is wanted.
        unfrozen: the most stages that a config of the search may unfreeze. The output of those below is kept first, and
            deeper cuts are computed from it.
        check_stop: called before each piece that is computed; see `CheckStop`.
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
        self._row_bytes: dict[tuple[str, int, str], tuple[int, ...]] = {}
        self._on_device: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

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
        """These, or others whose backbones begin with what was fitted on the training split of `splits`.

        A backbone that does not take such data raises InputError when it is asked for.
        """
        fitted = splits.fitted
        if fitted is None:
            return self

        def backbones(name: str) -> Backbone:
            backbone = self._backbones(name)
            try:
                backbone.stages[0].load_state_dict(dict(fitted))
            except RuntimeError:
                raise InputError(
                    f"{splits.source} does not fit the first stage of {name}: name other data, or another backbone"
                ) from None
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
        self, stored: torch.Tensor, structure: Structure, strength: int, random_numbers: torch.Tensor | None
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
        if random_numbers is not None:
            images = augment(images, strength, random_numbers)
        return ((images - mean) / std).contiguous(memory_format=self.numerics.memory_format)

    @torch.no_grad()
    def forward(self, name: str, activations: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """Through the stages `first` to `last` - 1; after the last stage of all, pooled features (n, width) in fp32."""
        placed = self._place(name)
        stages = placed.lowered[first:last]
        with self.numerics.autocast(self.device):
            for stage in stages:
                activations = stage(activations)
            if last == len(placed.stages):
                activations = placed.backbone.pool(activations).float()
        return activations

    def forward_batch(self, name: str, activations: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """As `forward`; on a CPU in pieces, a core each, where there are as many of these as cores."""
        pieces = torch.split(activations, rows_at_once(activations[0].numel(), self.device))
        if self.device.type != "cpu" or len(pieces) < torch.get_num_threads():
            self.check_stop()
            return self.forward(name, activations, first, last)
        self._place(name).ready()
        done = side_by_side(lambda piece: self.forward(name, piece, first, last), pieces, self.device, self.check_stop)
        return torch.cat([*done])

    def plan(self, split: Split, structure: Structure, *, augmented: bool) -> KeepPlan:
        """What is kept of `split` as `structure` sees it, where training sees it `augmented` and scoring does not."""
        stages = len(self._place(structure.backbone).stages)
        possible = self.store is not None and bool(split.keys)
        return KeepPlan(
            stages=stages,
            row_bytes=self._sizes(split, structure) if possible else (),
            examples=len(split),
            views=structure.views if augmented else 1,
            first=max(min(structure.cut, stages - self._unfrozen), 1),
            room=0 if self.store is None else self.store.disk_limit // SHARE,
            possible=possible,
            pretrained=needs_weights(structure.backbone),
        )

    def block(self, split: Split, structure: Structure, cut: int, *, strength: int, view: int) -> torch.Tensor:
        """The output at `cut` for all examples of `split`, in their order, on the device where it has room.

        4-d activations come as (n, h, w, c) where the layout is channels_last: see `as_activations`.
        """
        plan = self.plan(split, structure, augmented=strength > 0)
        rows = self._rows(_Asked(split, structure, plan, strength, view), cut)
        if self.device.type == "cpu":
            return rows
        return self._resident(self._key(structure, cut, strength, view).digest, rows)

    def as_activations(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of a block as a stage takes them."""
        return rows.permute(0, 3, 1, 2) if self._last(rows) else rows

    def _last(self, rows: torch.Tensor) -> bool:
        return rows.ndim == 4 and self.numerics.channels_last

    def _rows(self, asked: _Asked, cut: int) -> torch.Tensor:
        """What the store has, or what is computed into it as the plan says; on the CPU."""
        store = self.store
        assert store is not None

        def key(at: int) -> BlockKey:
            return self._key(asked.structure, at, asked.strength, asked.view)

        @functools.cache
        def source() -> int:
            # Only asked for where rows are missing, as it looks into files.
            return asked.plan.source(cut, lambda below: store.has(key(below), asked.split.keys))

        return store.rows(
            key(cut),
            asked.split.keys,
            lambda missing: self._compute(asked, cut, source(), missing),
            to_disk=lambda: asked.plan.on_disk(cut, source()),
            check_stop=self.check_stop,
        )

    def _compute(self, asked: _Asked, cut: int, source: int, missing: Sequence[int]) -> Iterator[torch.Tensor]:
        """Rows of the examples `missing`, on the CPU, from the output at `source`.

        They come in pieces, so that those computed before a stop can be kept. A piece is always computed as a whole:
        the rows do not depend on where a run was stopped.
        """
        split = asked.split
        index = torch.as_tensor(missing, dtype=torch.int64)
        below = None
        if source:
            chosen = Split(
                split.inputs,
                split.rows[index],
                split.labels[index],
                (),
                ("",) * len(index),
                tuple(split.keys[i] for i in missing),
                change=split.change,
            )
            below = self._rows(replace(asked, split=chosen), source)

        def changed(chunk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
            # Has threads of its own.
            return chunk, split.take(index[chunk])[0] if split.change and below is None else None

        def computed(piece: tuple[torch.Tensor, torch.Tensor | None]) -> torch.Tensor:
            chunk, pixels = piece
            if below is not None:
                activations = self.as_activations(below[chunk].to(self.device, non_blocking=True))
            else:
                examples = index[chunk]
                random_numbers = None
                if asked.strength:
                    random_numbers = view_random_numbers([split.keys[i] for i in examples.tolist()], asked.view)
                if pixels is None:
                    pixels = self.pool(split)[split.rows[examples]]
                activations = self.inputs(pixels, asked.structure, asked.strength, random_numbers)
            # The last of several; a split of one batch needs no more memory than that takes.
            activations = filled_up(activations, min(at_once, len(index)))
            out = self.forward(asked.structure.backbone, activations, source, cut)[: len(chunk)]
            return (out.permute(0, 2, 3, 1) if self._last(out) else out).contiguous().cpu()

        self._place(asked.structure.backbone).ready()
        numbers = self._numbers_of_input(asked) if below is None else below[0].numel()
        at_once = rows_at_once(numbers, self.device)
        chunks = torch.split(torch.arange(len(index)), at_once)
        yield from side_by_side(computed, map(changed, chunks), self.device, self.check_stop)

    def _numbers_of_input(self, asked: _Asked) -> int:
        """Of an example as the first stage takes it."""
        constants = self._place(asked.structure.backbone).constants
        if constants is None:
            return asked.split.inputs[0].numel()
        return constants[0].shape[1] * asked.structure.resolution**2

    def _key(self, structure: Structure, cut: int, strength: int, view: int) -> BlockKey:
        name, backbone = structure.backbone, self._place(structure.backbone).backbone
        return BlockKey(
            backbone=name if needs_weights(name) else frozen_name(name, cut),
            weights=backbone.weights_digest if needs_weights(name) else digest_of(backbone.stages[:cut]),
            resolution=structure.resolution,
            augmentation=strength,
            further=structure.input.further,
            view=view if strength else 0,
            cut=cut,
            precision=f"{self.numerics}, {self.device.type}",
            torch=torch.__version__,
            kernels=REVISION,
        )

    def _place(self, name: str) -> _Placed:
        if name not in self._placed:
            backbone = self._backbones(name)
            freeze(backbone.stages, len(backbone.stages))
            self._placed[name] = _Placed(backbone, self.numerics, self.device)
        return self._placed[name]

    def _sizes(self, split: Split, structure: Structure) -> tuple[int, ...]:
        """Bytes of one example's output at the cuts 1, 2, ..."""
        key = (structure.backbone, structure.resolution, structure.input.further)
        if key not in self._row_bytes:
            placed = self._place(structure.backbone)
            photos = placed.constants is not None
            shape: tuple[int, ...] = split.inputs.shape[1:]
            if placed.constants is not None:
                shape = (placed.constants[0].shape[1], structure.resolution, structure.resolution)
            count = min(rows_to_try(math.prod(shape), self.device), max(len(split), 1))
            dtype = torch.float32 if photos else split.inputs.dtype
            rows = torch.zeros((count, *shape), dtype=dtype, device=self.device)
            if photos:
                rows = rows.contiguous(memory_format=self.numerics.memory_format)
            self._row_bytes[key] = row_bytes([*placed.lowered], placed.backbone.widths[-1], rows, self.numerics)
        return self._row_bytes[key]

    def pool(self, split: Split) -> torch.Tensor:
        """The pool of images, on the device where it has room for it."""
        if self.device.type == "cpu":
            return split.inputs
        return self._resident(f"images {tuple(split.inputs.shape)}", split.inputs)

    def _resident(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` on the device if a quarter of its free memory holds it; copied once, in one piece. Of each name the
        latest is there."""
        # The tensor is held beside its copy, so that its address can't become another one's.
        known = self._on_device.get(name)
        if known is None or known[0].data_ptr() != tensor.data_ptr():
            self._on_device.pop(name, None)
            free, _ = torch.cuda.mem_get_info(self.device)
            if tensor.numel() * tensor.element_size() > free // 4:
                return tensor
            self._on_device[name] = (tensor, tensor.to(self.device))
        return self._on_device[name][1]

    def leave_device(self) -> None:
        """Forgets what lies on the device, where memory is short: whoever asks next gets a copy if there is room."""
        self._on_device.clear()
