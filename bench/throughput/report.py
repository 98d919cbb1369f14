"""The tables in markdown, and the roofline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from training.machine.files import atomic_path

from .cases import INFERENCE
from .results import OURS, Candidate, Measured, Results, Spread

_EXPLAINED = """\
Training is augmentation, normalising, forward, backward and the optimizer's step, from bytes that lie on the device; \
inference is the same without what changes weights. The reference is a plain loop in the style of torchvision's \
references (eager, NCHW, SGD; autocast in bf16) whose images lie on the device as floats, already normalised and not \
augmented. All ways to do a case take turns; images/s are the median over rounds with the spread, ratios the median of \
the rounds' ratios. `best` is our fastest way.

Of the matrix products: the best rate of square matrix products in the same precision{tensor_cores}. Bandwidth bound: \
images/s if memory were accessed as fast as in a copy, where every layer reads and writes its input and output once \
forward and twice backward, and parameters, gradients and momentum are read and written once a step; code that fuses \
layers can pass it.
"""


def markdown(results: Results) -> str:
    """All tables, under what they depend on."""
    measured = results.measured
    tensor_cores = " (on a GPU fp32 means TF32 here)" if results.about["device_type"] == "cuda" else ""
    parts = [
        "# Throughput\n",
        _header(results),
        _EXPLAINED.format(tensor_cores=tensor_cores),
        _table(
            [
                "case",
                "best",
                "images/s",
                "reference, images/s",
                "faster by",
                "of matrix products",
                "of bandwidth bound",
                "peak memory",
            ],
            [_row(one) for one in measured],
        ),
    ]
    if results.about["device_type"] == "cpu":
        parts.append("Peak memory is known on a GPU only: a CPU's is that of the process, whatever ran in it.\n")
    parts += ["## Every way, images/s\n", _ways(measured)]
    if any(one.loaded for one in measured):
        parts += ["## With a loader in front, images/s\n", _loaded(measured)]
    if notes := [note for one in measured for note in _notes(one)]:
        parts.append("".join(f"- {note}\n" for note in notes))
    return "\n".join(parts)


def _header(results: Results) -> str:
    about = results.about
    environment = about["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    runs = {(one.case.precision, one.matmul, one.copy) for one in results.measured}
    ceilings = "; ".join(
        f"{precision} matrix products {matmul / 1e12:.3g} TFLOP/s, copy {copy / 1e9:.3g} GB/s"
        for precision, matmul, copy in sorted(runs)
    )
    return (
        f"- command: `{about['command']}`\n- machine: {environment['device']}\n"
        f"- versions: python {environment['python']}, {versions}{about['cuda']}\n"
        f"- commit: {environment['commit'] or 'none'}\n- ceilings: {ceilings or 'none'}\n"
        f"- {about['rounds']} rounds of {about['seconds']:g} s; augmentation {about['strength']} of 4\n"
    )


def _row(one: Measured) -> list[str]:
    best, peer = one.best, one.reference
    if best is None:
        reference = _spread(peer.speed) if peer else ""
        return [str(one.case), next(c.note for c in one.candidates if c.who == OURS), "", reference, "", "", "", ""]
    rate = best.speed.median
    ratio = one.ratio(best)
    return [
        str(one.case),
        _way(best),
        _spread(best.speed),
        _spread(peer.speed) if peer else "",
        _ratio(ratio) if ratio else "",
        f"{rate / one.compute_bound:.1%}",
        f"{rate / one.bandwidth_bound:.1%}",
        "" if best.peak_bytes is None else f"{best.peak_bytes / 2**30:.2f} GiB",
    ]


def _ways(measured: Sequence[Measured]) -> str:
    names = [*dict.fromkeys(f"{c.who}, {_way(c)}" for one in measured for c in one.candidates)]
    rows = []
    for one in measured:
        cells = {f"{c.who}, {_way(c)}": _spread(c.speed) if c.rates else "-" for c in one.candidates}
        rows.append([str(one.case), *(cells.get(name, "") for name in names)])
    return _table(["case", *names], rows)


def _loaded(measured: Sequence[Measured]) -> str:
    rows = [
        [
            str(one.case),
            loaded.who,
            _spread(Spread.of(loaded.alone)),
            f"{loaded.compute:,.0f}",
            _spread(Spread.of(loaded.together)),
            "the loader" if loaded.limits else "the training",
        ]
        for one in measured
        for loaded in one.loaded
    ]
    return _table(["case", "whose", "loader alone", "training alone", "together", "limit"], rows) + (
        "\nJPEGs of 500 x 375 pixels on a disk that has them in memory. In its first pass ours decodes all of them "
        "into a memory-mapped file and then trains; later it trains from that file, and loads nothing where the photos "
        "fit on the device. The reference decodes in every epoch, with a worker a core.\n"
    )


def _notes(one: Measured) -> Iterable[str]:
    return (f"{one.case}, {c.who}, {_way(c)}: {c.note}" for c in one.candidates if c.note)


def _way(candidate: Candidate) -> str:
    return f"{candidate.layout} {candidate.variant}"


def _spread(spread: Spread) -> str:
    digits = ",.0f" if spread.median >= 100 else ".3g"
    return f"{spread.median:{digits}} ({spread.low:{digits}} to {spread.high:{digits}})"


def _ratio(ratio: Spread) -> str:
    peer = "; the reference wins" if ratio.high < 1 else ""
    return f"{ratio.median:.2f} x ({ratio.low:.2f} to {ratio.high:.2f}{peer})"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """By hand: this benchmark runs where there is only torch."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [headings, *rows]
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]) + "\n"


def draw(measured: Sequence[Measured], path: Path) -> bool:
    """The roofline (Williams, Waterman and Patterson 2009); False where there is no matplotlib to draw it."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("agg")
    from matplotlib import pyplot

    points = [(one, best) for one in measured if (best := one.best) is not None]
    if not points:
        return False
    figure, axes = pyplot.subplots(figsize=(9, 6), layout="constrained")
    intensities = [one.work.flops / one.work.bytes for one, _ in points]
    left, right = min(intensities) / 4, max(intensities) * 4
    for precision in dict.fromkeys(one.case.precision for one, _ in points):
        roof = next(one for one, _ in points if one.case.precision == precision)
        ridge = min(max(roof.matmul / roof.copy, left), right)
        xs = [left, ridge, right]
        (line,) = axes.plot(xs, [min(roof.matmul, roof.copy * x) / 1e12 for x in xs], linestyle="--")
        line.set_label(f"ceilings, {precision}")
    colours = {
        name: f"C{number + 2}" for number, name in enumerate(dict.fromkeys(one.case.backbone for one, _ in points))
    }
    markers = {
        work: "osD^vP"[number % 6] for number, work in enumerate(dict.fromkeys(one.case.work for one, _ in points))
    }
    named: set[str] = set()
    for (one, best), intensity in zip(points, intensities, strict=True):
        label = f"{one.case.backbone}, {one.case.work}"
        axes.plot(
            intensity,
            best.speed.median * one.work.flops / 1e12,
            markers[one.case.work],
            color=colours[one.case.backbone],
            fillstyle="none" if one.case.work == INFERENCE else "full",
            label=None if label in named else label,
        )
        named.add(label)
    axes.set(xscale="log", yscale="log", xlabel="FLOP a byte of memory traffic", ylabel="TFLOP/s")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)
    return True
