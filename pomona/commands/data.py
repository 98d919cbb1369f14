"""`pomona data`: the data of a task, or of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces import InputError

from ..console import counting, print_json, print_lines, print_table
from .options import AsJson, Data, SkipUnreadable, TrustSplit

if TYPE_CHECKING:
    from ..data_view import DataView

data = typer.Typer(name="data", help="Look at the data of a task, or of a folder.", no_args_is_help=True)


@data.command()
def show(
    target: Annotated[str, typer.Argument(metavar="TASK|DIR", help="A task, or a folder of class folders.")],
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where the picture goes. [default: TASK-train.png, ...]")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(metavar="N", help="How many are shown. [default: 16 photos, 32 texts, 500 rows]", min=1),
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(metavar="R", help="Of photos, pixels a side. [default: the recipe's]", min=8, max=1024)
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Of the order; another one shows other examples.", min=0)] = 0,
    split: Annotated[str, typer.Option(metavar="NAME", help="train, valid or test.")] = "train",
    skip_unreadable: SkipUnreadable = False,
    trust_split: TrustSplit = False,
    as_json: AsJson = False,
) -> None:
    """Draw some examples as training sees them: photos with their classes, at every strength of augmentation, lines of
    text with theirs, or the target of a table against each feature.

    Example: pomona data show fruit --data photos --out fruit.png
    """
    if out is not None and (out.suffix.lower() != ".png" or out.is_dir()):
        raise InputError(f"the picture is a PNG file: give --out a name that ends in .png, not {str(out)!r}")
    from ..data_view import view_data
    from ..figures import figure_of, save

    with counting("reading the data") as progress:
        view = view_data(
            target,
            data,
            count=count,
            resolution=resolution,
            seed=seed,
            split=split,
            skip_unreadable=skip_unreadable,
            trust_split=trust_split,
            progress=progress,
        )
    file = out or Path(f"{view.name}-{split}.png")
    save(figure_of(view.shown), file)
    if as_json:
        print_json(_to_json(view, file))
        return
    print_lines([view.summary, ""])
    sizes = [str(sum(counts.values())) for counts in view.counts.values()]
    if view.classes:
        rows = [[label, *(str(counts[label]) for counts in view.counts.values())] for label in view.classes]
        print_table(["class", *view.counts], [*rows, ["all", *sizes]])
    else:
        print_table(["", *view.counts], [["rows", *sizes]])
    print_lines(["", f"written: {file}"])


def _to_json(view: DataView, file: Path) -> dict[str, object]:
    payload: dict[str, object] = {
        "file": str(file),
        "source": view.source,
        "classes": list(view.classes),
        "counts": view.counts,
        "fingerprint": view.fingerprint,
    }
    if view.resolution is not None:
        payload |= {"resolution": view.resolution, "strengths": list(view.strengths)}
    if view.columns:
        payload |= {"columns": list(view.columns)}
    return payload
