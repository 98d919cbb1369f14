from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from pomona.commands.data_get import get
from search_spaces import InputError
from training.data.published.sources import SOURCES, Published
from training.data.published.unpacking import unpack_cifar10

from ..training.data.archives import cifar_members, tgz
from ..training.data.server import Server, serving, serving_idx
from ..training.data.test_idx import folder_of


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("POMONA_CACHE", str(tmp_path / "cache"))
    with serving(cifar_tgz=tgz(cifar_members())) as server:
        source = Published("https://example.org/cifar", (server.file("cifar.tgz"),), unpack_cifar10)
        monkeypatch.setitem(SOURCES, "cifar10", source)
        yield server


def _call(*arguments: str) -> None:
    app = typer.Typer()
    app.command()(get)
    app(args=list(arguments), standalone_mode=False)


def test_the_answer_is_the_folder(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "with space"
    _call("cifar10", "--to", str(folder))
    out, err = capsys.readouterr()
    assert out == f"{folder}: from https://example.org/cifar\n"
    assert f"pomona search cifar10 --data '{folder}'" in err
    _call("cifar10", "--to", str(folder), "--json")
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": 1,
        "task": "cifar10",
        "folder": str(folder),
        "source": "https://example.org/cifar",
        "new": False,
    }
    assert len(server.asked) == 1


def test_without_a_folder_it_goes_into_the_cache(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _call("cifar10", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["new"]
    assert Path(told["folder"]) == tmp_path / "cache/data/cifar10"


def test_a_task_whose_data_is_found_without_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POMONA_CACHE", str(tmp_path / "cache"))
    with serving_idx(folder_of(tmp_path / "published"), monkeypatch):
        _call("mnist_mlp", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["new"]
    assert Path(told["folder"]) == tmp_path / "cache/torchvision/MNIST"


def test_nothing_to_fetch_is_said_in_a_line() -> None:
    with pytest.raises(InputError, match="generated when no --data is given"):
        _call("bonus")


def test_an_unknown_task() -> None:
    with pytest.raises(InputError, match="no public source is known for 'quince'"):
        _call("quince")
