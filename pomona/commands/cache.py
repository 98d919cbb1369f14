"""`pomona cache`"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import print_json, print_lines, print_table
from .options import AsJson

if TYPE_CHECKING:
    from training.prefix_store import BlockUse

PREFIXES, DECODED = "prefixes", "decoded"


@dataclass(frozen=True)
class Kind:
    """One child of the cache folder; `last_used` is in seconds since 1970, None where there is no file."""

    name: str
    files: int
    bytes: int
    last_used: float | None


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove activations and decoded photos.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is kept to save computing it again, or remove it. Results of studies are not kept here.

    POMONA_CACHE names the folder; POMONA_PREFIX_DISK and POMONA_PREFIX_MEMORY limit what frozen stages take (8G, 500M).

    Example: pomona cache --clear
    """
    from training import cache_folder, prefix_store

    prefixes = cache_folder(PREFIXES)
    freed = {PREFIXES: prefix_store.clear(prefixes), DECODED: _clear_decoded(cache_folder(DECODED))} if clear else None
    kinds = _kinds(cache_folder())
    told: dict[str, Any] = {
        "folder": str(cache_folder()),
        "bytes": sum(kind.bytes for kind in kinds),
        "kinds": [asdict(kind) | {"last_used": _iso(kind.last_used)} for kind in kinds],
        "prefixes": [_block_to_json(block) for block in prefix_store.usage(prefixes)],
        "disk_limit": prefix_store.disk_limit(prefixes),
        "memory_limit": prefix_store.memory_limit(),
    }
    if freed is not None:
        told["freed"] = freed
    if as_json:
        print_json(told)
        return
    if freed is not None:
        parts = ", ".join(f"{name} {size_text(size)}" for name, size in freed.items())
        print_lines([f"freed {size_text(sum(freed.values()))}: {parts}; computed again when needed"])
    _print(told)


def size_text(size: int) -> str:
    """As in `1.5 GiB`."""
    number, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def _print(told: dict[str, Any]) -> None:
    print_lines([f"{told['folder']}: {size_text(told['bytes'])}"])
    if told["kinds"]:
        rows = [
            [kind["name"], str(kind["files"]), size_text(kind["bytes"]), kind["last_used"] or ""]
            for kind in told["kinds"]
        ]
        print_lines([""])
        print_table(["kind", "files", "size", "last used"], rows, expendable=["last used"])
    kept = sum(block["bytes"] for block in told["prefixes"])
    print_lines(
        [
            "",
            f"activations of frozen stages: {size_text(kept)} of at most {size_text(told['disk_limit'])} on disk; "
            f"at most {size_text(told['memory_limit'])} of memory in a worker",
        ]
    )
    if told["prefixes"]:
        named = ["backbone", "resolution", "cut", "augmentation", "view", "precision", "rows"]
        cells = [
            [*(_cell(block[name]) for name in named), size_text(block["bytes"]), block["last_used"]]
            for block in told["prefixes"]
        ]
        print_table([*named, "size", "last used"], cells, expendable=["last used", "precision"])


def _cell(value: object) -> str:
    return "?" if value is None else str(value)


def _block_to_json(block: BlockUse) -> dict[str, Any]:
    from training.prefix_store import BlockKey

    key = dict.fromkeys(BlockKey.__dataclass_fields__) if block.key is None else asdict(block.key)
    use = {"digest": block.folder.name, "rows": block.rows, "bytes": block.bytes, "last_used": _iso(block.last_used)}
    return key | use


def _kinds(folder: Path) -> list[Kind]:
    children = sorted(folder.iterdir()) if folder.is_dir() else []
    return [_kind(child) for child in children if child.suffix != ".lock"]


def _kind(child: Path) -> Kind:
    files = size = 0
    last_used = None
    for path in [child, *child.rglob("*")] if child.is_dir() else [child]:
        # A running search may remove a file at any time.
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and path.suffix != ".lock":
                files += 1
                size += status.st_size
                last_used = max(last_used or 0.0, status.st_atime, status.st_mtime)
    return Kind(child.name, files, size, last_used)


def _clear_decoded(folder: Path) -> int:
    """Removes what no other process is writing; returns the bytes freed."""
    from training.prefix_store import unless_busy

    freed = 0
    for name, files in _by_target(folder):
        with unless_busy(folder / name) as free:
            for file in files if free else []:
                with suppress(OSError):
                    size = file.stat().st_size
                    file.unlink()
                    freed += size
    return freed


def _by_target(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """The files by the name that they have or are to have: KEY.npy, and .KEY.npy.XXXX of a writer."""
    targets: dict[str, list[Path]] = {}
    for file in folder.iterdir() if folder.is_dir() else []:
        if file.suffix != ".lock":
            key = file.name.removeprefix(".").partition(".")[0]
            targets.setdefault(f"{key}.npy", []).append(file)
    yield from targets.items()


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
