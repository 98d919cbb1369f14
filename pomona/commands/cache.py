"""`pomona cache`"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search_spaces import InputError

from ..console import print_json, print_lines, print_table
from .options import AsJson

if TYPE_CHECKING:
    from training.frozen.store import BlockUse

PREFIXES, DECODED = "prefixes", "decoded"
KINDS = ("contents", "data", DECODED, "downloads", "numerics.json", PREFIXES, "rendered", "torchvision")
"""Everything that pomona puts into its cache folder."""

_DECODED = re.compile(r"[0-9a-f]{24}\.npy|\.[0-9a-f]{24}\.npy\.\w+")
_NAMED = 5  # foreign files that are named in a line


@dataclass(frozen=True)
class Kind:
    """One child of the cache folder; `last_used` is in seconds since 1970, None where there is no file."""

    name: str
    files: int
    bytes: int
    last_used: float | None


@dataclass(frozen=True)
class Cleared:
    """Bytes freed, by kind, and what was left because it is not ours, relative to the cache folder."""

    freed: dict[str, int]
    left: list[str]


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove activations and decoded photos.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is kept to save computing it again, or remove it. Results of studies are not kept here.

    POMONA_CACHE names the folder; POMONA_PREFIX_DISK and POMONA_PREFIX_MEMORY limit what frozen stages take (8G, 500M).

    Example: pomona cache --clear
    """
    from training import cache_folder
    from training.frozen import store as prefix_store

    root = cache_folder()
    if os.path.exists(root) and not os.path.isdir(root):
        raise InputError(f"POMONA_CACHE names {root}, which is a file: name a folder, which need not exist yet")
    prefixes = cache_folder(PREFIXES)
    cleared = _clear(root) if clear else None
    kinds = _kinds(root)
    payload: dict[str, Any] = {
        "folder": str(cache_folder()),
        "bytes": sum(kind.bytes for kind in kinds),
        "kinds": [asdict(kind) | {"last_used": _iso(kind.last_used)} for kind in kinds],
        "prefixes": [_block_to_json(block) for block in prefix_store.usage(prefixes)],
        "disk_limit": prefix_store.disk_limit(prefixes),
        "memory_limit": prefix_store.memory_limit(),
    }
    if cleared is not None:
        payload |= {"freed": cleared.freed, "left": cleared.left}
    if as_json:
        print_json(payload)
        return
    if cleared is not None:
        parts = ", ".join(f"{name} {size_text(size)}" for name, size in cleared.freed.items())
        print_lines([f"freed {size_text(sum(cleared.freed.values()))}: {parts}; computed again when needed"])
        if cleared.left:
            named = ", ".join(cleared.left[:_NAMED]) + (", ..." if len(cleared.left) > _NAMED else "")
            print_lines([f"left alone, as pomona did not make it: {named}"])
    _print(payload)


def size_text(size: int) -> str:
    """As in `1.5 GiB`."""
    number, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def _print(payload: dict[str, Any]) -> None:
    print_lines([f"{payload['folder']}: {size_text(payload['bytes'])}"])
    if payload["kinds"]:
        rows = [
            [kind["name"], str(kind["files"]), size_text(kind["bytes"]), kind["last_used"] or ""]
            for kind in payload["kinds"]
        ]
        print_lines([""])
        print_table(["kind", "files", "size", "last used"], rows, expendable=["last used"])
    kept = sum(block["bytes"] for block in payload["prefixes"])
    print_lines(
        [
            "",
            f"activations of frozen stages: {size_text(kept)} of at most {size_text(payload['disk_limit'])} on disk; "
            f"at most {size_text(payload['memory_limit'])} of memory in a worker",
        ]
    )
    if payload["prefixes"]:
        named = ["backbone", "resolution", "cut", "augmentation", "view", "precision", "rows"]
        cells = [
            [*(_cell(block[name]) for name in named), size_text(block["bytes"]), block["last_used"]]
            for block in payload["prefixes"]
        ]
        print_table([*named, "size", "last used"], cells, expendable=["last used", "precision"])


def _cell(value: object) -> str:
    return "?" if value is None else str(value)


def _block_to_json(block: BlockUse) -> dict[str, Any]:
    from training.frozen.store import BlockKey

    key = dict.fromkeys(BlockKey.__dataclass_fields__) if block.key is None else asdict(block.key)
    use = {"digest": block.folder.name, "rows": block.rows, "bytes": block.bytes, "last_used": _iso(block.last_used)}
    return key | use


def _kinds(folder: Path) -> list[Kind]:
    # Not Path.exists(), which raises where a folder may not be looked into.
    return [_kind(folder / name) for name in KINDS if os.path.exists(folder / name)]


def _kind(child: Path) -> Kind:
    files = size = 0
    last_used = None
    for path in [child, *child.rglob("*")] if child.is_dir() and not child.is_symlink() else [child]:
        # A running search may remove a file at any time.
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and not _is_bookkeeping(path):
                files += 1
                size += status.st_size
                last_used = max(last_used or 0.0, status.st_atime, status.st_mtime)
    return Kind(child.name, files, size, last_used)


def _clear(root: Path) -> Cleared:
    """Removes activations and decoded photos, as far as they are ours; no symbolic link is followed."""
    from training.frozen import store as prefix_store

    prefixes, decoded = root / PREFIXES, root / DECODED
    left = [path.name for path in _children(root) if path.name not in KINDS and not _is_bookkeeping(path)]
    freed = {PREFIXES: 0, DECODED: 0}
    if _may_be_emptied(prefixes, prefix_store.is_block, left):
        freed[PREFIXES] = prefix_store.clear(prefixes)
        # What is still in a block's folder and has no name of ours.
        blocks = filter(prefix_store.is_block, _children(prefixes))
        inside = (file for block in blocks for file in _children(block) if not prefix_store.is_ours(file))
        left += [str(file.relative_to(root)) for file in inside]
    if _may_be_emptied(decoded, _is_decoded, left):
        freed[DECODED] = _clear_decoded(decoded)
    return Cleared(freed, sorted(left))


def _may_be_emptied(folder: Path, is_ours: Callable[[Path], bool], left: list[str]) -> bool:
    """Whether `folder` is a cache of ours; what is foreign in it, or itself, is added to `left`.

    Ours is what carries our mark. Earlier versions set none: theirs are known by lying in the usual place.
    """
    from training.machine.cache import ROOT, is_marked

    if not os.path.lexists(folder):
        return False
    if is_marked(folder) or (not os.environ.get(ROOT) and not folder.is_symlink()):
        left += [
            f"{folder.name}/{path.name}"
            for path in _children(folder)
            if not is_ours(path) and not _is_bookkeeping(path)
        ]
        return True
    left.append(folder.name)
    return False


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_bookkeeping(path: Path) -> bool:
    """Locks and marks: they take next to nothing, and a running search may hold them."""
    from training.machine.cache import TAG

    return path.suffix == ".lock" or path.name == TAG


def _is_decoded(path: Path) -> bool:
    """KEY.npy, or .KEY.npy.XXXX of a writer, and no link to somewhere else."""
    return _DECODED.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def _clear_decoded(folder: Path) -> int:
    """Removes what no other process is writing; returns the bytes freed."""
    from training.frozen.store import unless_busy

    targets: dict[str, list[Path]] = {}
    for file in filter(_is_decoded, _children(folder)):
        key = file.name.removeprefix(".").partition(".")[0]
        targets.setdefault(f"{key}.npy", []).append(file)
    freed = 0
    for name, files in targets.items():
        with unless_busy(folder / name) as free:
            for file in files if free else []:
                with suppress(OSError):
                    size = file.lstat().st_size
                    file.unlink()
                    freed += size
    return freed


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
