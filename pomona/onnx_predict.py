"""Answers of a model that `pomona export` wrote, with onnxruntime, numpy and Pillow alone.

A deployment needs this one file and the model: copied elsewhere, it works without pomona.

    from onnx_predict import predict

    predict("fruit.onnx", ["apple.jpg"])[0]["label"]

A process that answers more than once keeps the model: `model = load("fruit.onnx")`, then `model.predict([...])`.
From a shell: `python -m pomona.onnx_predict fruit.onnx apple.jpg`, with `--profile` for the time and memory it takes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

# The libraries are imported by the functions, so that their time can be taken.

_BATCH = 32
_WHITE = (255, 255, 255)


class PredictionError(ValueError):
    """The model or an image is not what it should be; one line says what to do."""


class Model:
    """A model in memory. `resolution` is the side of the squares that it takes."""

    def __init__(self, session: Any, classes: Sequence[str], resolution: int) -> None:
        self.session = session
        self.classes = tuple(classes)
        self.resolution = resolution

    def predict(self, images: Sequence[str | Path]) -> list[dict[str, Any]]:
        """For each image file its `path`, `label`, the label's `probability`, and the `probabilities` of all classes.

        Raises:
            PredictionError: a file is missing or no picture.
        """
        import numpy as np

        answers = []
        for start in range(0, len(images), _BATCH):
            paths = images[start : start + _BATCH]
            pixels = np.stack([_read(Path(path), self.resolution) for path in paths])
            (logits,) = self.session.run(["logits"], {"images": pixels})
            for path, row in zip(paths, _softmax(logits), strict=True):
                best = int(row.argmax())
                answers.append(
                    {
                        "path": str(path),
                        "label": self.classes[best],
                        "probability": float(row[best]),
                        "probabilities": dict(zip(self.classes, row.tolist(), strict=True)),
                    }
                )
        return answers


def predict(model: str | Path, images: Sequence[str | Path]) -> list[dict[str, Any]]:
    """`load(model).predict(images)`."""
    return load(model).predict(images)


def load(model: str | Path) -> Model:
    """Opens an ONNX file.

    Raises:
        PredictionError: there is none, or `pomona export` did not write it, or onnxruntime is not installed.
    """
    if not Path(model).is_file():
        raise PredictionError(f"no file {model}: expected a model that `pomona export` wrote")
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ModuleNotFoundError as missing:
        if missing.name != "onnxruntime":
            raise
        raise PredictionError("an ONNX model needs onnxruntime: pip install onnxruntime") from None

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        told = session.get_modelmeta().custom_metadata_map
    # Its errors have no common class but this one.
    except Exception as problem:
        reason = _one_line(problem)
        raise PredictionError(f"{model} can't be read as an ONNX model ({reason}): export it again") from None
    if "pomona.classes" not in told:
        raise PredictionError(f"{model} does not name its classes: expected a model that `pomona export` wrote")
    return Model(session, json.loads(told["pomona.classes"]), int(told["pomona.resolution"]))


def square(data: bytes, resolution: int) -> NDArray[np.uint8]:
    """The whole picture in `data` as uint8 (resolution, resolution, 3), pixel for pixel as the model was trained on it.

    Upright, transparent parts white, aspect not kept. What `pomona` itself does when it trains is written out here once
    more, as this file must work without it; a test compares the two.

    Raises:
        Exception: what Pillow's many parsers raise on what is no whole picture.
    """
    import numpy as np
    from PIL import Image

    side = (resolution, resolution)
    return np.asarray(_read_rgb(data, resolution).resize(side, Image.Resampling.BICUBIC, reducing_gap=3.0))


def _read_rgb(data: bytes, resolution: int) -> Image.Image:
    import numpy as np
    from PIL import Image, ImageOps

    image: Image.Image = Image.open(BytesIO(data))
    image.draft(None, (2 * resolution, 2 * resolution))
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        flat = Image.new("RGB", image.size, _WHITE)
        flat.paste(image, mask=image.getchannel("A"))
        return flat
    return image.convert("RGB")


def _read(path: Path, resolution: int) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            # Odd metadata are not the caller's concern, nor is a picture that is merely large.
            warnings.filterwarnings("ignore", module="PIL")
            return square(path.read_bytes(), resolution)
    except OSError as problem:
        raise PredictionError(f"cannot read {str(path)!r}: {problem.strerror or 'it is no whole picture'}") from None
    except Exception as problem:
        raise PredictionError(f"cannot read {str(path)!r}: {_one_line(problem)}") from None


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    import numpy as np

    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200] or type(problem).__name__


def profile(model: str | Path, images: Sequence[str | Path]) -> dict[str, float]:
    """Seconds for the imports, for opening the model and for the first answers, and the peak memory of this process.

    What it says is true of a fresh process; afterwards the imports are free.
    """
    start = time.perf_counter()
    for library in ("numpy", "PIL.Image", "PIL.ImageOps", "onnxruntime"):
        importlib.import_module(library)
    imported = time.perf_counter()
    loaded = load(model)
    opened = time.perf_counter()
    loaded.predict(images)
    return {
        "import_seconds": imported - start,
        "load_seconds": opened - imported,
        "answer_seconds": time.perf_counter() - opened,
        "peak_megabytes": _peak_megabytes(),
    }


def _peak_megabytes() -> float:
    try:
        # On Linux, the other figure starts with what the parent process had at its peak.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, ValueError, IndexError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="onnx_predict", description="Name what is on photos. Prints JSON.")
    parser.add_argument("--profile", action="store_true", help="print what it took in place of the answers")
    parser.add_argument("model", metavar="MODEL", help="a file that `pomona export` wrote")
    parser.add_argument("images", metavar="IMAGE", nargs="+")
    wanted = parser.parse_args(argv)
    try:
        told: object = (profile if wanted.profile else predict)(wanted.model, wanted.images)
    except PredictionError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
