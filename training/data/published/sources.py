"""Where the data of a task can be had by everyone, and fetching it as a folder that is read like any other."""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from search_spaces import CLOTHING, TASKS, InputError

from ...machine.cache import cache_folder
from ...machine.threads import Progress, only_one_process
from ..idx import TORCHVISION, fetch_idx, idx_files, idx_folder
from ..layout import SPLITS
from ..tables import GENERATED
from .download import RemoteFile, download, download_folder
from .unpacking import SMS_TEXTS, unpack_cifar10, unpack_class_folders, unpack_flowers102, unpack_sms_spam

StageProgress = Callable[[str, int, int], None]
"""Called with (what is being done, done, total)."""


class Source(Protocol):
    """Where the data of a task can be had. A folder of it has `holds`; `page` is for people."""

    @property
    def page(self) -> str: ...

    @property
    def holds(self) -> str: ...

    def home(self, task: str) -> Path:
        """Where the data goes unless another folder is named."""

    def fill_in_place(self, folder: Path, progress: StageProgress | None) -> bool | None:
        """Whether something was missing in `folder` and was added; None where it is only made as a whole."""

    def prepare(self, progress: StageProgress | None) -> Callable[[Path], None]:
        """Fetches what can be kept elsewhere, and gives what makes a folder of it."""


class _AsAWhole:
    """A folder of the task's own, which is there or not."""

    def home(self, task: str) -> Path:
        return cache_folder("data", task)

    def fill_in_place(self, folder: Path, progress: StageProgress | None) -> bool | None:
        return None


@dataclass(frozen=True)
class Published(_AsAWhole):
    """Files on the web, and what makes a folder of them that has `holds`: `unpack(files, folder, progress)`."""

    page: str
    files: tuple[RemoteFile, ...]
    unpack: Callable[[Sequence[Path], Path, Progress | None], None]
    holds: str = "train"

    def prepare(self, progress: StageProgress | None) -> Callable[[Path], None]:
        files = [download(file, progress=_stage(progress, f"downloading {file.name}")) for file in self.files]
        return lambda folder: self.unpack(files, folder, _stage(progress, "unpacking"))


@dataclass(frozen=True)
class Kaggle(_AsAWhole):
    """A data set of Kaggle's whose folder `inside` holds train/ and more."""

    dataset: str
    inside: str
    holds: str = "train"

    @property
    def page(self) -> str:
        return f"https://www.kaggle.com/datasets/{self.dataset}"

    def prepare(self, progress: StageProgress | None) -> Callable[[Path], None]:
        return lambda folder: _from_kaggle(self, folder, progress)


@dataclass(frozen=True)
class Idx:
    """The data of `torchvision:KIND`, kept where it is looked for when no data is named; several tasks share it."""

    page: str
    kind: str

    @property
    def holds(self) -> str:
        return f"{self.kind}/raw"

    def home(self, task: str) -> Path:
        return idx_folder(self.kind)

    def fill_in_place(self, folder: Path, progress: StageProgress | None) -> bool | None:
        if folder != idx_folder(self.kind).absolute():
            return None
        before = idx_files(folder, self.kind)
        self._fetch(progress)
        return idx_files(folder, self.kind) != before

    def prepare(self, progress: StageProgress | None) -> Callable[[Path], None]:
        files = self._fetch(progress)
        return lambda folder: _copy(files, folder / self.holds)

    def _fetch(self, progress: StageProgress | None) -> list[Path]:
        folder = fetch_idx(TORCHVISION + self.kind, progress=_stage(progress, f"downloading {self.kind}"))
        return idx_files(folder, self.kind)


_FASHION = Idx("https://github.com/zalandoresearch/fashion-mnist", "FashionMNIST")
_FLOWERS102 = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"

SOURCES: dict[str, Source] = {
    "fruit": Kaggle("sriramr/fruits-fresh-and-rotten-for-classification", "dataset"),
    # Addresses and checksums as torchvision has them.
    "cifar10": Published(
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
        files=(
            RemoteFile(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a"
            ),
        ),
        unpack=unpack_cifar10,
    ),
    "flowers": Published(
        page=_FLOWERS102,
        files=(
            RemoteFile(f"{_FLOWERS102}102flowers.tgz", "md5:52808999861908f626f3c1f4e79d11fa"),
            RemoteFile(f"{_FLOWERS102}imagelabels.mat", "md5:e0620be6f572b9609742df49c70aed4d"),
            RemoteFile(f"{_FLOWERS102}setid.mat", "md5:a5357ecc9cb78c4bef273ce3793fc85c"),
        ),
        unpack=unpack_flowers102,
    ),
    # Of these two no checksum is published; the zip's own are checked as it is unpacked.
    "cats_dogs": Published(
        page="https://developers.google.com/machine-learning/practica/image-classification",
        files=(RemoteFile("https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip", None),),
        unpack=partial(unpack_class_folders, classes={"cats": "cat", "dogs": "dog"}),
    ),
    "clothing": Published(
        page="https://github.com/alexeygrigorev/clothing-dataset-small",
        files=(
            RemoteFile("https://github.com/alexeygrigorev/clothing-dataset-small/archive/refs/heads/master.zip", None),
        ),
        unpack=partial(unpack_class_folders, classes={name: name for name in CLOTHING.classes}),
    ),
    "mnist_mlp": Idx("http://yann.lecun.com/exdb/mnist/", "MNIST"),
    "fashion_mlp": _FASHION,
    "fashion_cnn": _FASHION,
    "fashion_transfer": _FASHION,
    "sms_spam": Published(
        page="https://archive.ics.uci.edu/dataset/228/sms+spam+collection",
        # Nor here.
        files=(RemoteFile("https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip", None),),
        unpack=unpack_sms_spam,
        holds=SMS_TEXTS,
    ),
}


@dataclass(frozen=True)
class Fetched:
    """A folder with the data of a task; `new` unless it was there already."""

    folder: Path
    page: str
    new: bool


def data_folder(task: str) -> Path:
    """Where the data of a task goes unless another folder is named."""
    source = SOURCES.get(task)
    return cache_folder("data", task) if source is None else source.home(task)


def fetch_data(task: str, to: Path | None = None, *, progress: StageProgress | None = None) -> Fetched:
    """The public data of a task in folder `to` (`data_folder` by default), which is whole or not there.

    Downloads are kept in the cache. A folder that is there already is left as it is.

    Raises:
        InputError: no public source is known, or it can't be had or written, or the folder holds something else.
    """
    source = SOURCES.get(task)
    if source is None:
        raise InputError(_nothing_to_fetch(task))
    folder = (to or data_folder(task)).absolute()
    if (new := source.fill_in_place(folder, progress)) is not None:
        return Fetched(folder, source.page, new)
    if _is_there(folder, source.holds):
        return Fetched(folder, source.page, new=False)
    # In the cache, so that no file of ours is left in folders of the user.
    with only_one_process(download_folder() / f"unpacking-{task}"):
        if _is_there(folder, source.holds):
            return Fetched(folder, source.page, new=False)
        _write(folder, source.prepare(progress))
    return Fetched(folder, source.page, new=True)


def _nothing_to_fetch(task: str) -> str:
    if any(one.name == task and GENERATED in one.sources for one in TASKS):
        return f"{task} has nothing to fetch: its table is generated when no --data is given"
    return f"no public source is known for {task!r}, only for {', '.join(SOURCES)}: name data with --data DIR"


def _is_there(folder: Path, holds: str) -> bool:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder that does not exist yet")
    if not folder.exists() or not any(folder.iterdir()):
        return False
    if not (folder / holds).exists():
        raise InputError(f"{folder} holds other things: name a folder that does not exist yet")
    return True


def _write(folder: Path, fill: Callable[[Path], None]) -> None:
    """Makes `folder` by way of one beside it, so that half of it is never seen."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            fill(temporary)
            temporary.chmod(0o755)
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"no room left to unpack in {folder.parent}: free some space") from None
        raise InputError(f"cannot write {folder}: {problem.strerror or problem}") from None


def _copy(files: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)


def _from_kaggle(source: Kaggle, folder: Path, progress: StageProgress | None) -> None:
    """Copies the data set out of kagglehub's own cache, where it stays."""
    try:
        kagglehub: Any = importlib.import_module("kagglehub")
    except ModuleNotFoundError:
        raise InputError(
            f"Kaggle's data comes by way of kagglehub: pip install kagglehub, or get it by hand from {source.page} "
            "and name it with --data DIR"
        ) from None
    try:
        downloaded = Path(kagglehub.dataset_download(source.dataset)) / source.inside
    # Network, credentials, quotas: kagglehub fails in many ways, and the ways out are the same.
    except Exception as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:120]
        raise InputError(
            f"{source.page} can't be downloaded ({reason}): try again, or get it by hand and name it with --data DIR"
        ) from None
    splits = [split for split in SPLITS if (downloaded / split).is_dir()]
    if "train" not in splits:
        raise InputError(f"{source.page} has changed, it holds no {source.inside}/train: get it by hand")
    files = [file for split in splits for file in sorted((downloaded / split).glob("*/*")) if file.is_file()]
    for done, file in enumerate(files, 1):
        target = folder / file.relative_to(downloaded)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        if progress is not None:
            progress("copying", done, len(files))


def _stage(progress: StageProgress | None, name: str) -> Progress | None:
    return None if progress is None else lambda done, total: progress(name, done, total)
