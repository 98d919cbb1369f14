"""The wheel carries our five packages whole and nothing else, and works where only it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from pomona.owner import PACKAGES

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Cases are the input of benchmarks run from a checkout.
NOT_SHIPPED = (Path("bench/cases"),)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves folders behind, and would pack what an earlier build left in them."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for stray in ("tests/__init__.py", "results/table.py", "bench/cases/case.py"):
        (source / stray).parent.mkdir(exist_ok=True)
        (source / stray).touch()
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)], cwd=source)
    (built,) = target.glob("*.whl")
    return built


def run(command: list[str], *, cwd: Path) -> str:
    # Without PYTHONPATH, which would lead back to the checkout.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def folders_with_code() -> set[str]:
    return {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not any(left_out in path.relative_to(ROOT).parents for left_out in NOT_SHIPPED)
    }


def test_no_package_is_forgotten_and_none_is_listed_that_is_not_there() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders_with_code()


def test_every_package_has_an_init() -> None:
    packages = PROJECT["tool"]["setuptools"]["packages"]
    assert [name for name in packages if not (ROOT / name.replace(".", "/") / "__init__.py").is_file()] == []


def test_the_top_level_is_exactly_our_five_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {
        *PACKAGES,
        f"pomona-{PROJECT['project']['version']}.dist-info",
    }


def test_the_wheel_holds_every_module_and_nothing_of_tests_results_or_cases(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in folders_with_code()
        for path in (ROOT / package.replace(".", "/")).glob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == modules
    assert not any(name.startswith(("tests/", "results/", "bench/cases/")) for name in names)


def test_the_wheel_holds_the_portfolio(wheel: Path) -> None:
    assert "studies/portfolio.json" in zipfile.ZipFile(wheel).namelist()


def test_installed_alone_it_works_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """In an environment with the dependencies of this one but without the checkout, not even as an editable install."""
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    run([sys.executable, "-m", "venv", "--without-pip", str(environment)], cwd=tmp_path)
    python = environment / "bin" / "python"
    install = ["-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", str(wheel)]
    run([sys.executable, *install], cwd=tmp_path)
    own = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=empty).strip())
    # A folder named in a .pth file comes after our own, and its own .pth files are not read.
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    where = "import importlib.util; print(importlib.util.find_spec('studies').origin)"
    assert run([str(python), "-c", where], cwd=empty).startswith(str(own))
    assert "fruit" in run([str(environment / "bin" / "pomona"), "tasks"], cwd=empty)
    assert list(empty.iterdir()) == []
