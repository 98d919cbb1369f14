"""From a checkpoint to an ONNX file and its answers, also where there is nothing but onnxruntime, numpy and Pillow."""

from __future__ import annotations

import io
import json
import os
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import pomona
from pomona import onnx_predict
from pomona.cli import main
from search_spaces import FRUIT
from training import Numerics, load_checkpoint
from training.data import decode
from training.export import export_int8, held_out
from training.lanes.checkpoint import save_checkpoint

from .conftest import Run

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

ROOT = Path(__file__).resolve().parents[2]
# What a deployment has not.
ABSENT = ("torch", "torchvision", "timm", "pandas", "sklearn", "scipy", "optuna", "ray", "onnx", "safetensors")
OURS = ("pomona", "search_spaces", "training", "studies", "bench")
CLOSE = 1e-4


@pytest.fixture(scope="module")
def checkpoint(photos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("checkpoint") / "c"
    sets = ["backbone=squeezenet1_1", "resolution=96", "batch_size=16"]
    options = ["--data", photos, "--weights-dir", weights, *(part for s in sets for part in ("--set", s))]
    assert main([str(part) for part in ("train", "fruit", "--recipe", *options, "--epochs", 1, "--out", out)]) == 0
    # A machine that trains in bf16 answers in it too, which is not what an fp32 file is compared with.
    trained = load_checkpoint(out)
    save_checkpoint(out, replace(trained.record, numerics=Numerics()), trained.tensors)
    return out


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "fruit.onnx"
    assert main(["export", str(checkpoint), "--onnx", str(file)]) == 0
    return file


@pytest.fixture(scope="module")
def images(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photos as the world has them: of several formats and modes, on their side, larger than need be."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    coloured = Image.fromarray(rng.integers(0, 256, (300, 200, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    coloured.resize((900, 600)).save(folder / "turned.jpg", exif=turned)
    coloured.convert("L").save(folder / "grey.png")
    coloured.convert("P").save(folder / "palette.gif")
    coloured.convert("RGBA").rotate(30).save(folder / "see-through.webp", lossless=True)
    Image.fromarray(rng.integers(0, 2**16, (50, 70), dtype=np.uint16)).save(folder / "deep.png")
    return [*sorted(folder.iterdir()), photos / "valid" / "freshapples" / "0.png"]


@pytest.fixture(autouse=True)
def _timed_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_int8, "_TIMED_SECONDS", 0)


def same(found: list[dict[str, object]], expected: list[dict[str, object]]) -> None:
    assert [answer["path"] for answer in found] == [answer["path"] for answer in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=CLOSE)
        assert one["probability"] == pytest.approx(other["probability"], abs=CLOSE)
        assert one["probability"] == max(one["probabilities"].values())  # type: ignore[attr-defined]
        assert one["probabilities"][one["label"]] == one["probability"]  # type: ignore[index]


def test_json_of_an_export(run: Run, checkpoint: Path, photos: Path) -> None:
    code, out, err = run("export", checkpoint, "--onnx", "new/fruit.onnx", "--int8", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert {"file", "bytes", "max_difference", "images", "classes", "resolution", "opset"} <= set(told)
    assert told["bytes"] == Path("new/fruit.onnx").stat().st_size
    assert told["classes"] == list(FRUIT.classes)
    assert (told["images"], told["resolution"]) == (18, 96)
    assert told["max_difference"] <= told["tolerance"]
    assert told["accuracy"] == json.loads((checkpoint / "checkpoint.json").read_text())["value"]
    eight = told["int8"]
    assert eight["bytes"] == Path("new/fruit.int8.onnx").stat().st_size
    assert {"accuracy", "ci95", "lost", "gained", "calibration_images", "milliseconds"} <= set(eight)
    assert set(eight["milliseconds"]["int8"]) == {"1", "32"}
    # A folder without splits serves for both.
    bare = ["export", checkpoint, "--data", photos / "valid", "--onnx", "bare.onnx", "--json"]
    assert json.loads(run(*bare)[1])["images"] == 18
    told = json.loads(run(*bare, "--int8")[1])
    assert (told["images"], told["int8"]["calibration_images"]) == (4, 14)


def test_what_people_read(run: Run, checkpoint: Path, photos: Path) -> None:
    code, out, err = run("export", checkpoint, "--onnx", "fruit.onnx", "--int8")
    assert code == 0, err
    assert "largest difference from torch" in out
    assert "fruit.int8.onnx" in out
    assert "batch 32" in out
    code, out, err = run("predict", "fruit.int8.onnx", photos / "valid" / "freshapples" / "0.png")
    assert code == 0, err
    assert "probability %" in out


def test_a_file_answers_as_its_checkpoint(run: Run, checkpoint: Path, model: Path, images: list[Path]) -> None:
    by_checkpoint, by_file = (run("predict", source, *images, "--json") for source in (checkpoint, model))
    assert by_file[0] == 0, by_file[2]
    same(json.loads(by_file[1]), json.loads(by_checkpoint[1]))
    assert pomona.predict(model, images[:1])[0].label == json.loads(by_file[1])[0]["label"]


def test_it_needs_nothing_but_three_libraries(run: Run, checkpoint: Path, model: Path, images: list[Path]) -> None:
    code = (
        f"import sys, json; sys.modules.update(dict.fromkeys({ABSENT!r})); from pomona.onnx_predict import predict; "
        "print(json.dumps(predict(sys.argv[1], sys.argv[2:])))"
    )
    command = [sys.executable, "-c", code, str(model), *map(str, images)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    same(json.loads(done.stdout), json.loads(run("predict", checkpoint, *images, "--json")[1]))


def test_a_copy_of_the_file_is_a_deployment(
    run: Run, checkpoint: Path, model: Path, images: list[Path], tmp_path: Path
) -> None:
    copied = shutil.copy(ROOT / "pomona" / "onnx_predict.py", tmp_path / "answer.py")
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({ABSENT + OURS!r})); "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, copied, str(model), *map(str, images)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    same(json.loads(done.stdout), json.loads(run("predict", checkpoint, *images, "--json")[1]))


def test_the_command_line_answers_without_torch(model: Path, images: list[Path]) -> None:
    code = (
        "import sys; from pomona.cli import main; code = main(sys.argv[1:]); "
        "print(sorted({'torch', 'pandas', 'optuna', 'sklearn'} & set(sys.modules)), code)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "predict", str(model), str(images[0])]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[] 0"


def test_what_it_takes_is_told(model: Path, images: list[Path]) -> None:
    command = [sys.executable, "-m", "pomona.onnx_predict", "--profile", str(model), str(images[0])]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    told = json.loads(done.stdout)
    assert set(told) == {"import_seconds", "load_seconds", "answer_seconds", "peak_megabytes"}
    assert all(value > 0 for value in told.values())


def test_run_as_a_program(
    model: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert onnx_predict.main([str(model), str(images[0])]) == 0
    assert json.loads(capsys.readouterr().out) == onnx_predict.predict(model, images[:1])
    monkeypatch.setattr(sys, "argv", ["onnx_predict.py", "none.onnx", str(images[0])])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_path(str(ROOT / "pomona" / "onnx_predict.py"), run_name="__main__")
    assert capsys.readouterr().err == "error: no file none.onnx: expected a model that `pomona export` wrote\n"


def run_as_a_program(model: Path, image: Path | str, shell: str) -> subprocess.CompletedProcess[str]:
    command = f'"$0" -m pomona.onnx_predict "$1" "$2" {shell}'
    arguments = [sys.executable, str(model), str(image)]
    return subprocess.run(["bash", "-c", command, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)


def test_as_a_program_it_names_files_that_are_not_utf8_in_valid_json(
    model: Path, images: list[Path], tmp_path: Path
) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    shutil.copy(images[0], file)
    done = run_as_a_program(model, file, "")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["path"] == f"{tmp_path}/caf\\xe9.jpg"
    assert "\\ud" not in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_as_a_program_it_says_that_its_answer_is_lost(model: Path, images: list[Path]) -> None:
    lost = "error: the answer can't be written to stdout: "
    for shell, code, said in (
        (">/dev/full", 1, f"{lost}No space left on device\n"),
        (">&-", 1, f"{lost}it is closed\n"),
        ("| true; exit ${PIPESTATUS[0]}", 0, ""),
    ):
        done = run_as_a_program(model, images[0], shell)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_more_images_than_a_batch(model: Path, images: list[Path]) -> None:
    many = (images * 7)[:35]
    predictions = onnx_predict.predict(model, many)
    assert [answer["path"] for answer in predictions] == [str(path) for path in many]
    opened = onnx_predict.load(model)
    for index in (0, 31, 32, 34):
        same(opened.predict([many[index]]), [predictions[index]])


def test_a_checkpoint_may_be_called_like_an_onnx_file(
    run: Run, checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(checkpoint, tmp_path / "fruit.onnx")
    for command in ("predict", "evaluate"):
        named, other = [
            run(command, source, *(images[:1] if command == "predict" else []), "--json")
            for source in ("fruit.onnx", checkpoint)
        ]
        assert named[:2] == other[:2]
        assert named[0] == 0, named[2]


def test_where_an_export_cannot_be_written_is_said_before_data_is_read(
    run: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "open_again", None)
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").touch()
    for name, saying in (
        ("folder.onnx", "folder.onnx is a folder: choose another name"),
        ("fruit.pt", "an ONNX file is named fruit.onnx, not 'fruit.pt'"),
        ("file/new/fruit.onnx", "file is in the way and is not a folder"),
    ):
        code, out, err = run("export", checkpoint, "--onnx", name)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert saying in err
    monkeypatch.setattr(os, "access", lambda folder, _mode: folder != tmp_path)
    assert "may not be written to, choose another folder" in run("export", checkpoint, "--onnx", "new/fruit.onnx")[2]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("form", ["checkpoint", "ONNX"])
def test_what_can_be_read_is_answered_for(
    run: Run, checkpoint: Path, model: Path, images: list[Path], tmp_path: Path, form: str
) -> None:
    source = checkpoint if form == "checkpoint" else model
    good, broken = [str(path) for path in images[:2]], ["torn.jpg", "none.jpg", "folder", "x.heic"]
    (tmp_path / "torn.jpg").write_bytes(images[-1].read_bytes()[:40])
    (tmp_path / "x.heic").write_text("x")
    (tmp_path / "folder").mkdir()
    mixed = [good[0], *broken, good[1]]
    code, out, err = run("predict", source, *mixed)
    assert (code, out) == (1, "")
    assert "error: cannot read 4 of 6 files: 'torn.jpg' (" in err
    assert "'folder' (it is a folder, name its files: folder/*), ...: repair them, or leave them out" in err
    code, out, err = run("predict", source, *mixed, "--skip-unreadable", "--json")
    assert code == 0, err
    assert [answer["path"] for answer in json.loads(out)] == good
    assert "4 of 6 files left out: cannot read 'torn.jpg': " in err
    code, out, err = run("predict", source, *broken, "--skip-unreadable")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "none of the 4 files can be read: cannot read 'torn.jpg'" in err
    answers = pomona.predict(source, mixed, skip_unreadable=True)
    assert [answer.label for answer in answers] == [answer.label for answer in pomona.predict(source, good)]


def test_a_deployment_answers_for_what_can_be_read(
    model: Path, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.heic").write_text("x")
    mixed = [str(images[0]), str(tmp_path / "x.heic")]
    assert onnx_predict.main([str(model), *mixed]) == 1
    assert "cannot read 1 of 2 files" in capsys.readouterr().err
    assert onnx_predict.main([str(model), *mixed, "--skip-unreadable"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == onnx_predict.predict(model, mixed[:1])
    assert err.startswith(f"left out: cannot read {mixed[1]!r}: ")
    assert onnx_predict.main([str(model), mixed[1], "--skip-unreadable"]) == 1
    assert "none of the 1 files can be read" in capsys.readouterr().err


def test_what_is_wrong_is_said_in_a_line(run: Run, model: Path, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "torn.jpg").write_bytes(images[-1].read_bytes()[:40])
    import onnx

    foreign = onnx.load(str(model))
    del foreign.metadata_props[:]
    onnx.save(foreign, str(tmp_path / "foreign.onnx"))
    for arguments, saying in (
        (("none.onnx", images[0]), "no file none.onnx"),
        (("text.onnx", images[0]), "can't be read as an ONNX model"),
        (("foreign.onnx", images[0]), "does not name its classes"),
        ((model, "nothing.jpg"), "cannot read 'nothing.jpg': No such file"),
        ((model, "torn.jpg"), "cannot read 'torn.jpg'"),
        ((model, images[0], "--device", "cuda"), "leave --device out"),
    ):
        code, out, err = run("predict", *arguments)
        assert (code, out) == (1, "")
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1
        assert saying in err


def test_without_onnxruntime(run: Run, model: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, err = run("predict", model, images[0])
    assert (code, err) == (1, "error: an ONNX model needs onnxruntime: pip install onnxruntime\n")


@given(
    mode=st.sampled_from(["RGB", "L", "LA", "RGBA", "P", "1", "CMYK", "I;16", "I"]),
    bits=st.integers(1, 16),
    kind=st.sampled_from(["png", "jpeg", "tiff", "webp"]),
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    orientation=st.integers(1, 8),
    resolution=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_its_pixels_are_those_of_the_training(
    mode: str, bits: int, kind: str, width: int, height: int, orientation: int, resolution: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    if mode.startswith("I"):
        deep = rng.integers(0, 2**bits, (height, width))
        image = Image.fromarray(deep.astype(np.uint16 if mode == "I;16" else np.int32))
    else:
        image = Image.fromarray(rng.integers(0, 256, (height, width, 4), dtype=np.uint8)).convert("RGBA")
        image = image if mode == "RGBA" else image.convert("RGB").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    try:
        image.save(file, kind, exif=exif)
    except (OSError, ValueError):
        return  # a format that has no such pixels
    expected = decode.square(file.getvalue(), resolution)
    assert np.array_equal(onnx_predict.square(file.getvalue(), resolution), expected)
