from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import InputError, task_named
from training.data import open_data
from training.data.idx import idx_files, idx_folder, read_idx
from training.data.published.sources import SOURCES, Idx, Published, data_folder, fetch_data
from training.data.published.unpacking import unpack_cifar10
from training.machine import vision

from .archives import cifar_members, sms_zip, tgz
from .folders import files_below, write_folder
from .server import Server, serving, serving_idx
from .test_idx import folder_of


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves a tiny CIFAR-10 in the place of the published one."""
    monkeypatch.setenv("no_proxy", "*")
    with serving(cifar_tgz=tgz(cifar_members())) as server:
        source = Published("https://example.org/cifar", (server.file("cifar.tgz"),), unpack_cifar10)
        monkeypatch.setitem(SOURCES, "cifar10", source)
        yield server


def test_the_data_goes_into_a_folder_once(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    fetched = fetch_data("cifar10", tmp_path / "to/here", progress=lambda *counts: seen.append(counts))
    assert (fetched.folder, fetched.new) == (tmp_path / "to/here", True)
    assert len(files_below(fetched.folder)) == 18
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == ["downloading cifar.tgz", "unpacking"]
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["here"]
    seen.clear()
    assert not fetch_data("cifar10", tmp_path / "to/here", progress=lambda *counts: seen.append(counts)).new
    assert seen == []


def test_a_second_folder_needs_no_second_download(server: Server, tmp_path: Path, cache: Path) -> None:
    assert fetch_data("cifar10").folder == data_folder("cifar10")
    assert cache in data_folder("cifar10").parents
    fetch_data("cifar10", tmp_path / "again")
    assert files_below(tmp_path / "again") == files_below(data_folder("cifar10"))
    assert len(server.asked) == 1


def test_half_a_folder_is_never_seen(server: Server, tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "unpacking" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_data("cifar10", tmp_path / "here", progress=stop)
    assert list(tmp_path.iterdir()) == []
    assert fetch_data("cifar10", tmp_path / "here").new
    assert len(server.asked) == 1


def test_a_folder_of_other_things_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other things"):
        fetch_data("cifar10", tmp_path)
    with pytest.raises(InputError, match="is a file"):
        fetch_data("cifar10", tmp_path / "notes.txt")
    assert server.asked == []
    assert files_below(tmp_path) == ["notes.txt"]


def test_an_empty_folder_is_filled(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert fetch_data("cifar10", tmp_path / "empty").new


def test_a_task_without_public_data() -> None:
    with pytest.raises(InputError, match=r"no public source is known for 'images', only for .*cifar10"):
        fetch_data("images")


def _kagglehub(monkeypatch: pytest.MonkeyPatch, download: object) -> None:
    module = types.ModuleType("kagglehub")
    module.dataset_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", module)


def test_kaggles_data_is_copied_without_its_second_self(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "kaggle"
    for inside in ("dataset", "dataset/dataset"):
        write_folder(there / inside, {"train/freshapples": 2, "train/rottenapples": 1, "test/freshapples": 1})
    asked: list[str] = []

    def dataset_download(name: str) -> str:
        asked.append(name)
        return str(there)

    _kagglehub(monkeypatch, dataset_download)
    folder = fetch_data("fruit", tmp_path / "fruit").folder
    assert asked == ["sriramr/fruits-fresh-and-rotten-for-classification"]
    assert files_below(folder) == [
        "test/freshapples/0.png",
        "train/freshapples/0.png",
        "train/freshapples/1.png",
        "train/rottenapples/0.png",
    ]
    assert len(files_below(there)) == 8


def test_kaggle_without_kagglehub_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(InputError, match=r"pip install kagglehub.*--data DIR") as caught:
        fetch_data("fruit", tmp_path / "fruit")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_kaggle_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> str:
        raise RuntimeError("no route\nto host")

    _kagglehub(monkeypatch, fail)
    with pytest.raises(InputError, match=r"can't be downloaded \(no route\).*--data DIR") as caught:
        fetch_data("fruit", tmp_path / "fruit")
    assert "\n" not in str(caught.value)


def test_kaggle_that_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _kagglehub(monkeypatch, lambda _: str(tmp_path))
    with pytest.raises(InputError, match="holds no dataset/train"):
        fetch_data("fruit", tmp_path / "fruit")
    assert list(tmp_path.iterdir()) == []


def test_addresses_and_checksums_are_torchvisions() -> None:
    datasets = vision.torchvision().datasets
    cifar, flowers = SOURCES["cifar10"], SOURCES["flowers"]
    assert isinstance(cifar, Published)
    assert isinstance(flowers, Published)
    assert [(f.url, f.checksum) for f in cifar.files] == [(datasets.CIFAR10.url, f"md5:{datasets.CIFAR10.tgz_md5}")]
    prefix, theirs = datasets.Flowers102._download_url_prefix, datasets.Flowers102._file_dict
    assert [(f.url, f.checksum) for f in flowers.files] == [
        (prefix + theirs[key][0], f"md5:{theirs[key][1]}") for key in ("image", "label", "setid")
    ]


@pytest.mark.parametrize("task", SOURCES)
def test_every_source_is_of_a_task_and_says_where_it_comes_from(task: str, cache: Path) -> None:
    source = SOURCES[task]
    assert task_named(task).name == task
    assert source.page.startswith(("https://", "http://"))
    assert cache in data_folder(task).parents
    if isinstance(source, Idx):
        assert task_named(task).sources == (f"torchvision:{source.kind}",)


def test_idx_files_go_where_their_tasks_look_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = folder_of(tmp_path / "published", kind="FashionMNIST")
    seen: list[tuple[str, int, int]] = []
    with serving_idx(published, monkeypatch, "FashionMNIST") as server:
        fetched = fetch_data("fashion_mlp", progress=lambda *counts: seen.append(counts))
        assert (fetched.folder, fetched.new) == (idx_folder("FashionMNIST"), True)
        assert seen[-1][0] == "downloading FashionMNIST"
        assert seen[-1][1] == seen[-1][2]
        for task in ("fashion_mlp", "fashion_cnn", "fashion_transfer"):
            again = fetch_data(task)
            assert (again.folder, again.new) == (fetched.folder, False)
        opened = [open_data(source, task_named("fashion_cnn")) for source in (None, str(fetched.folder))]
        assert [data.fingerprint for data in opened] == 2 * [read_idx(published).fingerprint]
        assert len(server.asked) == 4


def test_idx_files_are_copied_into_a_folder_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = folder_of(tmp_path / "published")
    with serving_idx(published, monkeypatch) as server:
        assert fetch_data("mnist_mlp", tmp_path / "here").new
        assert files_below(tmp_path / "here") == files_below(published)
        assert read_idx(tmp_path / "here").fingerprint == read_idx(published).fingerprint
        assert not fetch_data("mnist_mlp", tmp_path / "here").new
        assert not fetch_data("mnist_mlp").new
        assert len(server.asked) == 4
    with pytest.raises(InputError, match="holds other things"):
        fetch_data("fashion_mlp", tmp_path / "here")


def test_half_of_the_idx_files_are_not_taken_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_idx(folder_of(tmp_path / "published"), monkeypatch) as server:
        held_back = server.files.pop("t10k-labels-idx1-ubyte.gz")
        with pytest.raises(InputError, match="404"):
            fetch_data("mnist_mlp")
        assert len(idx_files(idx_folder("MNIST"), "MNIST")) == 3
        server.files["t10k-labels-idx1-ubyte.gz"] = held_back
        assert fetch_data("mnist_mlp").new
        assert len(server.asked) == 5


def test_texts_become_a_folder_that_is_read_as_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    source = SOURCES["sms_spam"]
    assert isinstance(source, Published)
    with serving(**{"sms+spam+collection_zip": sms_zip()}) as server:
        there = replace(source.files[0], url=f"{server.address}/static/{source.files[0].name}")
        monkeypatch.setitem(SOURCES, "sms_spam", replace(source, files=(there,)))
        fetched = fetch_data("sms_spam", tmp_path / "sms")
        assert fetched.new
        assert sum(open_data(fetched.folder, task_named("sms_spam")).counts["train"].values()) == 16
        assert not fetch_data("sms_spam", tmp_path / "sms").new
        assert len(server.asked) == 1


def test_a_generated_table_is_not_fetched() -> None:
    with pytest.raises(InputError, match="bonus has nothing to fetch: its table is generated"):
        fetch_data("bonus")
