"""Photos in class folders, in folders of splits or without, and what lies beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from search_spaces import InputError

from ..machine.display import display_names
from .accents import composed, written_as
from .found import Contents, Found, check_all_or_no_splits, examples_of, joined_split, unused_columns_note
from .listed import missing_file
from .listing import Entry, entries, folders_in, is_picture_name, usable_entries
from .manifest import MANIFEST, Manifest, Row
from .split_names import split_of


@dataclass(frozen=True)
class _Splits:
    """`folders` hold the class folders, each with its split; `unused` are notes on what lies beside them."""

    folders: list[tuple[str, Path]]
    unused: list[str]


def has_classes(folder: Path, manifest: Manifest) -> bool:
    """Whether the labels are those of class folders, so that the manifest only adds to what these say.

    Not so where a class folder holds folders, or none is called like a label. A column of labels under another name
    than `label` has nothing to say where there are several class folders.

    Raises:
        InputError: a link is broken.
        OSError: a folder can't be read.
    """
    tops = folders_in(folder)
    splits = {top.name: inner for top in tops if split_of(top.name) and (inner := folders_in(top.path))}
    in_splits = any(split_of(name) == "train" for name in splits)
    candidates = [entry for inner in splits.values() for entry in inner] if in_splits else tops
    if any(_folders(candidate.path) for candidate in candidates):
        return False
    names = {composed(candidate.name).casefold() for candidate in candidates}
    if not _are_labels(manifest) and len(names) > 1 and not _all_splits(candidates):
        return True
    return not names.isdisjoint(row.label.casefold() for row in manifest.rows.values())


def photos_in_class_folders(folder: Path, manifest: Manifest, *, to_train: bool = True) -> Contents:
    """The files of `DIR/<split>/<class>/` or `DIR/<class>/`, with what the manifest says of them.

    Raises:
        InputError: the folder is empty or laid out otherwise, a link is broken, the manifest contradicts it, or it is
            `to_train` on and of its splits none is train.
        OSError: a folder can't be read.
    """
    splits = _split_folders(folder, to_train)
    unused = list(splits.unused)
    photos = [photo for split, path in splits.folders for photo in _photos_of(folder, path, split, unused)]
    if not photos:
        raise InputError(f"no class folders in {str(folder)!r}: {_what_to_give(folder)}")
    shown = display_names(photo.label for photo in photos)
    photos = [Found(photo.path, shown[photo.label], photo.split, "") for photo in photos]
    if manifest.rows:
        photos = _with_manifest(folder, photos, manifest)
    notes = [f"not used: {examples_of(unused)}"] if unused else []
    notes += filter(None, [unused_columns_note(manifest), _ignored_labels_note(photos, manifest)])
    return Contents(photos, tuple(notes), grouped=any(photo.group for photo in photos))


def _what_to_give(folder: Path) -> str:
    tables = [entry.name for entry in entries(folder) if PurePosixPath(entry.name).suffix.lower() in (".csv", ".tsv")]
    wanted = "give the folder that holds train/, or class folders"
    if tables and tables[0].casefold() != MANIFEST:
        return f"{wanted}, or call {tables[0]!r} {MANIFEST} if it is a table of path,label"
    return f"{wanted}, or add a {MANIFEST} with path,label"


def _split_folders(folder: Path, to_train: bool) -> _Splits:
    """Folders that hold class folders; the folder itself, without a split, where it has no splits."""
    tops = usable_entries(folder)
    splits: dict[str, Entry] = {}
    flat: dict[str, Entry] = {}
    for top in tops:
        if top.kind != "folder" or not (split := split_of(top.name)):
            continue
        # A folder called "train" without folders in it is a class of locomotives.
        if not folders_in(top.path):
            flat[split] = top
        elif split in splits:
            raise InputError(f"{splits[split].name}/ and {top.name}/ in {str(folder)!r} mean the same: keep one")
        else:
            splits[split] = top
    if to_train and splits and "train" not in splits:
        how = f"{flat['train'].name}/ holds no class folders" if "train" in flat else "no train/: add it"
        raise InputError(f"{str(folder)!r} has {', '.join(top.name for top in splits.values())} but {how}")
    if splits:
        beside = [top for top in tops if top not in splits.values()]
        _check_no_validation(folder, splits, beside)
        return _Splits([(split, top.path) for split, top in splits.items()], _unused(beside))
    classes = [top for top in tops if top.kind == "folder"]
    if _all_splits(classes):
        names = " and ".join(f"{top.name}/" for top in classes)
        raise InputError(
            f"{names} in {str(folder)!r} hold no class folders: sort the photos into train/<class>/, or label them in "
            "a manifest.csv with path,label"
        )
    return _Splits([("", folder)], [])


def _all_splits(classes: Sequence[Entry]) -> bool:
    """Whether folders that seem to be classes are all called like splits, several of them."""
    return len(classes) > 1 and all(split_of(entry.name) for entry in classes)


def _check_no_validation(folder: Path, splits: dict[str, Entry], beside: Iterable[Entry]) -> None:
    """Raises InputError where there is train and no valid, but another folder that may be meant to be it."""
    if "valid" in splits or "train" not in splits:
        return
    classes = {entry.name.casefold() for entry in folders_in(splits["train"].path)}
    for entry in beside:
        if entry.kind != "folder":
            continue
        if split_of(entry.name) == "valid" and _holds_photos(entry.path):
            raise InputError(
                f"{entry.name}/ in {str(folder)!r} holds no class folders: sort its photos, or move it away"
            )
        if not classes.isdisjoint(inner.name.casefold() for inner in _folders(entry.path)):
            raise InputError(
                f"{entry.name}/ in {str(folder)!r} has the classes of train/, but its name is that of no split: "
                "rename it to valid or test, or move it away"
            )


def _unused(beside: Sequence[Entry]) -> list[str]:
    folders = [entry for entry in beside if entry.kind == "folder" and _holds_photos(entry.path)]
    named = [repr(f"{e.name}/") + ("" if _folders(e.path) else " (no class folders)") for e in folders]
    return named + _loose(beside)


def _loose(found: Sequence[Entry], where: str = "") -> list[str]:
    """A note on pictures that are in no class folder."""
    names = [entry.name for entry in found if entry.kind == "file" and is_picture_name(entry.name)]
    count = f"{len(names)} photo{'s' if len(names) > 1 else ''}"
    return [f"{count} outside class folders, such as {where + names[0]!r}"] if names else []


def _holds_photos(folder: Path) -> bool:
    return any(entry.kind == "folder" or is_picture_name(entry.name) for entry in entries(folder))


def _folders(folder: Path) -> list[Entry]:
    return [entry for entry in entries(folder) if entry.kind == "folder"]


def _photos_of(root: Path, folder: Path, split: str, unused: list[str]) -> Iterable[Found]:
    """The files of the class folders in `folder`, labelled by their true names; what else is there goes to `unused`."""
    found = usable_entries(folder)
    where = "" if folder == root else f"{folder.name}/"
    unused += _loose(found, where)
    class_folders = [entry for entry in found if entry.kind == "folder"]
    for class_folder in class_folders:
        inside = where + class_folder.name
        files = entries(class_folder.path)
        for file in files:
            if file.kind == "folder":
                raise InputError(_nested(root, class_folder, inside, alone=len(class_folders) == 1))
            if file.kind == "other":
                raise InputError(f"{str(file.path)!r} is neither a file nor a folder: remove it")
            yield Found(f"{inside}/{file.name}", class_folder.name, split, "")
        if not files:
            raise InputError(f"class folder {inside!r} in {str(root)!r} is empty: add photos or remove it")


def _nested(root: Path, class_folder: Entry, inside: str, *, alone: bool) -> str:
    problem = f"{inside!r} in {str(root)!r} holds folders: photos must lie directly in class folders"
    in_root = class_folder.path.parent == root
    if in_root and (alone or any(split_of(inner.name) == "train" for inner in _folders(class_folder.path))):
        return f"{problem}; if it is the data set, give {str(class_folder.path)!r}"
    return problem


def _with_manifest(folder: Path, photos: Sequence[Found], manifest: Manifest) -> list[Found]:
    by_path = {photo.path: photo for photo in photos}
    for path, row in _rows_of(photos, manifest).items():
        if path not in by_path:
            if not (folder / path).is_file():
                raise missing_file(folder, manifest, path)
            raise InputError(
                f"{manifest.name} names {path!r}, which is in no class folder: correct or remove that line"
            )
        photo = by_path[path]
        if row.label not in ("", composed(photo.label)) and _are_labels(manifest):
            raise InputError(f"{manifest.name} calls {path!r} {row.label!r}, but its folder says {photo.label!r}")
        by_path[path] = Found(path, photo.label, joined_split(manifest, row, path, photo.split), row.group)
    joined = list(by_path.values())
    check_all_or_no_splits(manifest, joined)
    return joined


def _rows_of(photos: Sequence[Found], manifest: Manifest) -> dict[str, Row]:
    """The rows of the manifest by the paths of the photos, which may write accents otherwise than it does."""
    rows: dict[str, Row] = {}
    paths = written_as([photo.path for photo in photos], manifest.rows)
    for path, row in zip(paths, manifest.rows.values(), strict=True):
        if path in rows:
            raise InputError(f"{manifest.name} names {path!r} twice: keep one line")
        rows[path] = row
    return rows


def _are_labels(manifest: Manifest) -> bool:
    return manifest.label_column.casefold() == "label"


def _ignored_labels_note(photos: Sequence[Found], manifest: Manifest) -> str:
    if not manifest.rows or _are_labels(manifest) or not manifest.label_column:
        return ""
    folder_says = {photo.path: composed(photo.label) for photo in photos}
    if all(row.label in ("", folder_says[path]) for path, row in _rows_of(photos, manifest).items()):
        return ""
    column = repr(manifest.label_column)
    return f"column {column} of {manifest.name} is not used, as class folders name the classes"
