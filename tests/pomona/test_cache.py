"""`pomona cache`: what is kept, and that all of it which can be computed again can be removed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from pomona.commands.cache import size_text
from training.frozen.store import BlockKey, PrefixStore
from training.machine.cache import make_cache_folder

from .conftest import Run

BLOCK = BlockKey("mobilenet_v2", "0123abcd", 128, 1, "", 2, 17, "bf16, channels_last, cpu", "2.13.0", 1)

ONE, OTHER = f"{24 * 'a'}.npy", f"{24 * 'b'}.npy"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("POMONA_CACHE", str(folder))
    monkeypatch.setenv("POMONA_PREFIX_DISK", "8G")
    monkeypatch.setenv("POMONA_PREFIX_MEMORY", "512M")
    return folder


@pytest.fixture
def filled(folder: Path) -> Path:
    PrefixStore().rows(BLOCK, ("a", "b", "c"), lambda _: torch.zeros(3, 5))
    os.utime(folder / "prefixes" / BLOCK.digest / "block.json", (1_700_000_000, 1_700_000_000))
    make_cache_folder(folder / "decoded")
    for name, size in {f"decoded/{ONE}": 3000, f"decoded/.{OTHER}.x1": 40, "rendered/one/1.png": 7}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    (folder / "decoded" / f"{ONE}.lock").touch()
    (folder / "numerics.json").write_text("{}")
    return folder


def test_an_empty_cache(run: Run, folder: Path) -> None:
    code, out, _ = run("cache", "--json")
    assert code == 0
    assert json.loads(out) == {
        "schema_version": 1,
        "folder": str(folder),
        "bytes": 0,
        "kinds": [],
        "prefixes": [],
        "disk_limit": 2**33,
        "memory_limit": 2**29,
    }
    code, out, _ = run("cache", "--clear")
    assert code == 0
    assert "freed 0 B" in out


def test_what_is_kept(run: Run, filled: Path) -> None:
    code, out, _ = run("cache", "--json")
    told = json.loads(out)
    assert code == 0
    kinds = {kind["name"]: (kind["files"], kind["bytes"]) for kind in told["kinds"]}
    taken = sum(file.stat().st_size for file in (filled / "prefixes" / BLOCK.digest).iterdir())
    assert kinds == {"decoded": (2, 3040), "numerics.json": (1, 2), "prefixes": (2, taken), "rendered": (1, 7)}
    assert told["bytes"] == sum(size for _, size in kinds.values())
    assert told["prefixes"] == [
        {
            "backbone": "mobilenet_v2",
            "weights": "0123abcd",
            "resolution": 128,
            "augmentation": 1,
            "further": "",
            "view": 2,
            "cut": 17,
            "precision": "bf16, channels_last, cpu",
            "torch": "2.13.0",
            "kernels": 1,
            "digest": BLOCK.digest,
            "rows": 3,
            "bytes": taken,
            "last_used": "2023-11-14T22:13:20Z",
        }
    ]
    out = run("cache")[1]
    for word in ("decoded", "3.0 KiB", "mobilenet_v2", "bf16, channels_last", "8.0 GiB on disk", "512.0 MiB of memory"):
        assert word in out


def test_clear_removes_activations_and_decoded_photos(run: Run, filled: Path) -> None:
    before = json.loads(run("cache", "--json")[1])["bytes"]
    code, out, _ = run("cache", "--clear", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["freed"]["decoded"] == 3040
    assert told["bytes"] == before - sum(told["freed"].values()) == 9
    assert told["prefixes"] == []
    assert (filled / "rendered" / "one" / "1.png").exists()
    assert "freed 0 B: prefixes 0 B, decoded 0 B" in run("cache", "--clear")[1]


def test_clear_leaves_what_another_process_is_writing(run: Run, filled: Path) -> None:
    with FileLock(filled / "decoded" / f"{OTHER}.lock"), FileLock(filled / "prefixes" / f"{BLOCK.digest}.lock"):
        told = json.loads(run("cache", "--clear", "--json")[1])
    assert told["freed"] == {"decoded": 3000, "prefixes": 0}
    assert (filled / "decoded" / f".{OTHER}.x1").exists()


def test_a_block_whose_key_is_lost_is_shown(run: Run, filled: Path) -> None:
    (filled / "prefixes" / BLOCK.digest / "block.json").unlink()
    block = json.loads(run("cache", "--json")[1])["prefixes"][0]
    assert (block["backbone"], block["rows"]) == (None, 3)
    assert "?" in run("cache")[1]


def test_a_limit_that_is_no_size_is_told(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POMONA_PREFIX_DISK", "much")
    code, _, err = run("cache")
    assert code == 1
    assert err == "error: POMONA_PREFIX_DISK is a size such as 8G, 500M or a number of bytes, not 'much'\n"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 * 2**40, "5.0 TiB")]
)
def test_sizes_are_short(size: int, text: str) -> None:
    assert size_text(size) == text


def _below(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_clear_leaves_what_is_not_ours_and_says_so(run: Run, filled: Path) -> None:
    foreign = [
        "decoded/mine.npy",
        "decoded/notes.txt",
        f"prefixes/{BLOCK.digest}/mine.safetensors",
        "prefixes/a/b",
        "x",
    ]
    for name in foreign:
        (filled / name).parent.mkdir(parents=True, exist_ok=True)
        (filled / name).write_text("mine")
    code, out, _ = run("cache", "--clear", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["freed"]["decoded"] == 3040
    assert told["freed"]["prefixes"] > 0
    assert sorted(told["left"]) == sorted([*(name for name in foreign if name != "prefixes/a/b"), "prefixes/a"])
    kept = _below(filled)
    assert all(kept.pop(name) == b"mine" for name in foreign)
    assert sorted(kept) == ["decoded/CACHEDIR.TAG", "numerics.json", "prefixes/CACHEDIR.TAG", "rendered/one/1.png"]
    assert "left alone, as pomona did not make it: decoded/mine.npy, decoded/notes.txt" in run("cache", "--clear")[1]


def test_clear_follows_no_symbolic_link(run: Run, filled: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    for name in (ONE, "photo.jpg", f"{BLOCK.digest}/block.json", f"{BLOCK.digest}/3-{24 * 'c'}.safetensors"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text("mine")
    before = _below(own)
    (filled / "decoded" / OTHER).symlink_to(own / ONE)
    (filled / "decoded" / "own").symlink_to(own)
    (filled / "prefixes" / f"{24 * 'd'}").symlink_to(own / BLOCK.digest)
    assert run("cache", "--clear")[0] == 0
    assert _below(own) == before
    for name in ("decoded", "prefixes"):
        (filled / name).rename(tmp_path / name)
        (filled / name).symlink_to(own)
    assert json.loads(run("cache", "--clear", "--json")[1])["left"] == ["decoded", "prefixes"]
    assert _below(own) == before


def test_clear_empties_no_folder_of_the_users_that_has_the_name_of_one_of_ours(run: Run, folder: Path) -> None:
    for name in (f"decoded/{ONE}", f"prefixes/{BLOCK.digest}/3-{24 * 'c'}.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    before = _below(folder)
    told = json.loads(run("cache", "--clear", "--json")[1])
    assert told["left"] == ["decoded", "prefixes"]
    assert _below(folder) == before


def test_clear_empties_what_an_earlier_version_left_in_the_usual_place(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POMONA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    (folder / "pomona" / "decoded").mkdir(parents=True)
    (folder / "pomona" / "decoded" / ONE).write_bytes(bytes(3000))
    assert json.loads(run("cache", "--clear", "--json")[1])["freed"]["decoded"] == 3000


@pytest.mark.parametrize("place", ["file", "/dev/null/x", "file/x"])
@pytest.mark.parametrize("options", [[], ["--clear"]])
def test_a_cache_that_cannot_be_is_no_traceback(
    run: Run, place: str, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("kept")
    monkeypatch.setenv("POMONA_CACHE", place)
    code, _, err = run("cache", *options)
    if place == "file":
        assert (code, err) == (
            1,
            "error: POMONA_CACHE names file, which is a file: name a folder, which need not exist yet\n",
        )
    else:
        assert (code, err) == (0, "")
    assert Path("file").read_text() == "kept"
