"""What runs left goes; what others put there stays, behind links too."""

from __future__ import annotations

from pathlib import Path

from studies.leftovers import remove_ours


def _written(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)
    return path


def test_our_files_go_with_their_folders(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "00003"
    for name in (
        "000004-0/00003.safetensors",
        "alone-00007/000001-1/00007.safetensors",
        "unfinished-x/.00003.safetensors.ab12",
    ):
        _written(folder / name)
    remove_ours(folder)
    assert not folder.exists()
    assert folder.parent.is_dir()


def test_others_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "trials"
    ours = _written(folder / "00003" / "000001-0" / "00003.safetensors")
    theirs = [_written(folder / "00003" / name) for name in ("model.safetensors", "notes.txt", "000001-0/weights.pt")]
    remove_ours(folder)
    assert not ours.exists()
    assert all(file.exists() for file in theirs)


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = _written(tmp_path / "outside" / "00001.safetensors")
    study = tmp_path / "study"
    (study / "trials").mkdir(parents=True)
    (study / "trials" / "00001").symlink_to(outside.parent)
    remove_ours(study / "trials")
    remove_ours(study / "trials" / "00001")
    linked = tmp_path / "linked"
    linked.symlink_to(outside.parent.parent)
    remove_ours(linked / "outside")
    assert outside.exists()
