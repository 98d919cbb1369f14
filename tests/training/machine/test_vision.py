from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.machine import vision

DESCRIPTIONS = "torchvision._meta_registrations"
# The line of torchvision that matters.
PACKAGE = "from . import _meta_registrations\n"
NEEDS_OPERATORS = "raise RuntimeError('operator torchvision::nms does not exist')\n"
NEEDS_NOTHING = "REGISTERED = True\n"


@pytest.fixture(autouse=True)
def _no_torchvision_yet() -> Iterator[None]:
    """As in a fresh process; what was imported comes back afterwards."""

    def imported() -> dict[str, types.ModuleType]:
        return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torchvision"}

    kept = imported()
    for name in kept:
        del sys.modules[name]
    yield
    for name in imported():
        del sys.modules[name]
    sys.modules.update(kept)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where torchvision is looked for first."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").write_text(PACKAGE)
    return folder


@pytest.mark.parametrize("library", [None, b"no library at all"], ids=["absent", "not loadable"])
def test_operators_that_cannot_load_are_not_described(package: Path, library: bytes | None) -> None:
    (package / "_meta_registrations.py").write_text(NEEDS_OPERATORS)
    if library is not None:
        (package / "_C.so").write_bytes(library)
    with pytest.raises(RuntimeError, match="nms"):
        __import__("torchvision")
    module = vision.torchvision()
    assert module.__file__ == str(package / "__init__.py")
    assert not hasattr(sys.modules[DESCRIPTIONS], "__file__")
    assert vision.torchvision() is module


def test_operators_that_load_are_left_alone(package: Path) -> None:
    (package / "_meta_registrations.py").write_text(NEEDS_NOTHING)
    (package / "_C.so").symlink_to(torch._C.__file__)  # any library that loads
    vision.torchvision()
    assert sys.modules[DESCRIPTIONS].REGISTERED


def test_a_torchvision_that_is_imported_already_is_left_alone(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "_meta_registrations.py").write_text(NEEDS_NOTHING)
    module = __import__("torchvision")
    monkeypatch.setattr(vision, "_operators_load", lambda: pytest.fail("asked again"))
    assert vision.torchvision() is module
    assert sys.modules[DESCRIPTIONS].REGISTERED


@pytest.mark.slow
def test_a_fresh_process_gets_the_real_ones_quickly_and_quietly() -> None:
    """Importing the module imports neither library; asking for them gives working models and says nothing."""
    program = (
        "import sys; from training.machine import vision\n"
        "assert not {'torchvision', 'timm'} & set(sys.modules)\n"
        "import torch\n"
        "model = vision.torchvision().models.squeezenet1_1().eval()\n"
        "assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)\n"
        "assert not vision.has_timm() or vision.timm().list_models()\n"
    )
    done = subprocess.run([sys.executable, "-W", "default", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_torchs_compiler_is_not_loaded_until_it_is_asked() -> None:
    program = (
        "import sys, torch; from training.machine import vision\n"
        "from training.lanes.optimisation import make_optimizer\n"
        "from training.models.spec import OptimizerSpec\n"
        "real = torch.compiler.disable\n"
        "vision.torchvision(); vision.has_timm() and vision.timm()\n"
        "layer = torch.nn.Linear(2, 1)\n"
        "for name in ('sgd', 'adamw'):\n"
        "    optimizer = make_optimizer(OptimizerSpec(learning_rate=0.1, name=name), layer.parameters())\n"
        "    optimizer.load_state_dict(optimizer.state_dict()); optimizer.zero_grad()\n"
        "assert not {'torch._dynamo', 'torch._dynamo.utils'} & set(sys.modules)\n"
        "assert torch.compiler.disable is real\n"
        "supports = sys.modules['torchvision.ops.roi_align'].is_compile_supported\n"
        "assert supports('cpu') is True and 'torch._dynamo' in sys.modules\n"
        "assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item() == 2\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "wanted",
    [
        "import torch._dynamo",
        "from torch._dynamo.utils import counters",
        "from torch._dynamo import utils; utils.counters",
        "from torch._dynamo.utils import is_compile_supported; assert is_compile_supported('cpu')",
    ],
)
def test_a_torchvision_that_wants_more_of_the_compiler_gets_it(package: Path, wanted: str) -> None:
    (package / "__init__.py").write_text(f"{wanted}\n")
    program = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r}); from training.machine import vision\n"
        "vision.torchvision()\n"
        "import torch; assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item() == 2\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
