"""Photos: folders of files, with a folder a class or a manifest, and fruit that our own code draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..drawn.rendered import rendered_folder
from ..photos import TRUST_SPLIT, PhotoSet, labelled_photos, scan
from ..shifts import SHIFTS, shifted_photos
from ..splits import Labelled, Split
from .images import Images
from .modality import Kind, Reading, number_in

RENDERED = "rendered"
_TRUSTED = f"{TRUST_SPLIT}:"


class Photos(Images):
    """`rendered` or `rendered:SEED`, else a folder, before which `trust-split:` may stand."""

    def open(self, source: str | Path, kind: Kind, reading: Reading) -> PhotoSet:
        if is_rendered(source):
            seed = number_in(str(source), RENDERED)
            return scan(
                rendered_folder(seed, progress=reading.progress),
                source=f"{RENDERED} (seed {seed})",
                location=f"{RENDERED}:{seed}",
                progress=reading.progress,
            )
        folder, trusted = _folder(source)
        return scan(
            folder,
            seed=reading.seed,
            skip_unreadable=reading.skip_unreadable,
            trust_split=trusted or reading.trust_split,
            progress=reading.progress,
        )

    def open_labelled(
        self,
        source: str,
        classes: Sequence[str],
        kind: Kind,
        split: str | None,
        resolution: int,
        reading: Reading,
    ) -> Labelled:
        if is_rendered(source):
            return super().open_labelled(source, classes, kind, split, resolution, reading)
        folder, trusted = _folder(source)
        return labelled_photos(
            folder,
            classes,
            split,
            resolution,
            skip_unreadable=reading.skip_unreadable,
            trust_split=trusted or reading.trust_split,
            progress=reading.progress,
        )

    @property
    def forms(self) -> int:
        return len(SHIFTS)

    def shifted(self, split: Split) -> tuple[Split, ...]:
        return shifted_photos(split)


def is_rendered(source: str | Path) -> bool:
    """A path is a folder, even one of that name."""
    return isinstance(source, str) and source.partition(":")[0] == RENDERED


def _folder(source: str | Path) -> tuple[Path, bool]:
    """The folder, and whether its own split is to be kept."""
    if isinstance(source, str) and source.startswith(_TRUSTED):
        return Path(source.removeprefix(_TRUSTED)), True
    return Path(source), False
