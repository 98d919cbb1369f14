"""A foreign package in the place of one of ours is named, whichever way it came."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from pathlib import Path
from types import ModuleType

import pytest

import pomona.owner
from pomona.owner import PACKAGES, check_owner, intruder
from search_spaces import InputError

MARK = '__owner__ = "pomona"\n'


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like site-packages with our packages, as empty as can be, first on the path."""
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(MARK)
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    # An editable install of this checkout finds it by an import hook, which would answer beside the path.
    monkeypatch.setattr(sys, "meta_path", [BuiltinImporter, FrozenImporter, PathFinder])
    monkeypatch.setattr(pomona.owner, "__file__", str(tmp_path / "pomona" / "owner.py"))
    return tmp_path


def sentence() -> str:
    found = intruder()
    assert found is not None
    assert "\n" not in found
    return found


def test_here_all_is_ours() -> None:
    assert intruder() is None
    check_owner()


def test_installed_all_is_ours(installed: Path) -> None:
    assert intruder() is None


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    "content",
    ["", "__owner__ = 'somebody'\n", "owner = 'pomona'\n", "def broken(:\n", "raise RuntimeError('was run')\n", "\0"],
    ids=["no mark", "another's mark", "another name", "broken", "not run", "not text"],
)
def test_a_package_that_was_overwritten_is_named(installed: Path, package: str, content: str) -> None:
    file = installed / package / "__init__.py"
    file.write_text(content)
    assert sentence().startswith(f"package {package} is not pomona's but {file}: ")


@pytest.mark.parametrize("marked", [False, True], ids=["not marked", "another copy of ours"])
def test_a_package_that_stands_before_ours_is_named(
    installed: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, marked: bool
) -> None:
    other = tmp_path_factory.mktemp("project")
    (other / "training").mkdir()
    (other / "training" / "__init__.py").write_text(MARK if marked else "")
    monkeypatch.syspath_prepend(other)
    assert str(other / "training" / "__init__.py") in sentence()


def test_a_module_of_the_same_name_is_named(
    installed: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("project")
    (other / "bench.py").write_text(MARK)
    monkeypatch.syspath_prepend(other)
    assert str(other / "bench.py") in sentence()


def test_a_folder_without_init_is_named(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (installed / "studies" / "__init__.py").unlink()
    monkeypatch.setattr(sys, "path", [str(installed)])
    assert f"package studies is not pomona's but {installed / 'studies'}" in sentence()


def test_a_missing_package_is_named(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (installed / "bench" / "__init__.py").unlink()
    (installed / "bench").rmdir()
    monkeypatch.setattr(sys, "path", [str(installed)])
    assert sentence().startswith("package bench is missing: ")


def test_another_distribution_that_installed_the_package_is_named(installed: Path) -> None:
    for name in ("pomona", "frappe-bench"):
        info = installed / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text("bench/__init__.py,,\n")
    (installed / "bench" / "__init__.py").write_text("")
    assert sentence().endswith("(installed by frappe-bench): install pomona in an environment of its own")


def test_an_intruder_is_an_error_of_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pomona.owner, "intruder", lambda: "package bench is not pomona's")
    with pytest.raises(InputError, match="package bench is not pomona's"):
        check_owner()


def test_an_intruder_in_the_place_of_our_errors_is_named_all_the_same(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "search_spaces.errors")
    (installed / "search_spaces" / "__init__.py").write_text("")
    with pytest.raises(ImportError, match="package search_spaces is not pomona's"):
        check_owner()


@pytest.mark.parametrize("package", ["training", "search_spaces"])
def test_a_project_with_a_package_of_that_name_gets_the_same_line_from_python(tmp_path: Path, package: str) -> None:
    """`import pomona` is fine; the first use says what is wrong, as the command line does."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("ours = 1\n")
    program = (
        "import pomona\n"
        "for use in (lambda: pomona.search('bonus'), lambda: pomona.load('m'), lambda: pomona.InputError):\n"
        "    try:\n"
        "        use()\n"
        "    except Exception as problem:\n"
        "        print(type(problem).__name__, problem)"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[2])])}
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, env=env)
    advice = "pomona has a package of that name; rename yours, or run pomona outside its folder"
    line = f"package {package} is not pomona's but {tmp_path}/{package}/__init__.py: {advice}"
    said = [said.partition(" ") for said in run.stdout.splitlines()]
    assert [sentence for _, _, sentence in said] == [line] * 3, run.stderr
    # Where our own errors are not to be had, it is Python's.
    assert {kind for kind, _, _ in said} <= {"InputError", "ImportError"}


def test_a_module_that_says_nothing_of_its_origin_is_an_intruder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "training", ModuleType("training"))
    assert sentence().startswith("package training is not pomona's: ")


def test_importing_pomona_loads_nothing_heavy() -> None:
    program = "import sys, pomona; pomona.__version__; print(*{name.partition('.')[0] for name in sys.modules})"
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert not {"torch", "optuna", "numpy", "training", "studies", "bench", "rich"} & set(run.stdout.split())


def test_the_check_loads_nothing_heavy() -> None:
    program = "import sys, pomona.owner as o; o.check_owner(); print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "optuna", "numpy", "training", "studies", "bench"} & set(run.stdout.split())
