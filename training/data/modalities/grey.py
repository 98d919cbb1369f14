"""Grey images in IDX files: MNIST and its like."""

from __future__ import annotations

from pathlib import Path

from ..idx import TORCHVISION, IdxSet, fetch_idx, is_idx, read_idx
from .images import Images
from .modality import Kind, Reading


class GreyImages(Images):
    """`torchvision:MNIST` or `torchvision:FashionMNIST`, or a folder that torchvision filled."""

    def recognises(self, source: str | Path) -> bool:
        return str(source).startswith(TORCHVISION) or is_idx(Path(source))

    def open(self, source: str | Path, kind: Kind, reading: Reading) -> IdxSet:
        if str(source).startswith(TORCHVISION):
            source = fetch_idx(str(source), progress=reading.progress)
        return read_idx(Path(source), seed=reading.seed)
