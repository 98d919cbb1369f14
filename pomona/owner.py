"""Are our packages ours? Their names are plain words, which another distribution or a folder nearby may carry too.

A package of that name installed later overwrites ours without a word. Nothing of ours is imported here before it is
known to be ours, and nothing heavy at all.
"""

from __future__ import annotations

import ast
import importlib.util
from importlib.metadata import packages_distributions
from pathlib import Path

PACKAGES = ("pomona", "search_spaces", "training", "studies", "bench")
_OWNER = "pomona"
# Of a file that no distribution installed: a project's own, most often.
_ELSEWHERE = "pomona has a package of that name; rename yours, or run pomona outside its folder"


def check_owner() -> None:
    """Stops where Python would import a foreign package in place of one of ours.

    Raises:
        InputError: `intruder()` found one.
    """
    if (sentence := intruder()) is None:
        return
    try:
        from search_spaces.errors import InputError
    except ImportError:
        # The intruder stands where our errors should be.
        raise ImportError(sentence) from None
    raise InputError(sentence)


def intruder() -> str | None:
    """One line naming the package that is missing or not ours, its file and who installed it; None if all is well."""
    home = Path(__file__).resolve().parents[1]
    for package in PACKAGES:
        try:
            spec = importlib.util.find_spec(package)
        except ValueError:
            # Imported by other means than Python's own, a module need not say where it is from.
            return f"package {package} is not pomona's: {_ELSEWHERE}"
        if spec is None:
            return f"package {package} is missing: install pomona again, in an environment of its own"
        # A folder without __init__.py has no origin.
        file = Path(spec.origin or next(iter(spec.submodule_search_locations or ("?",)))).resolve()
        if file.parent.parent != home or not _is_marked(file):
            others = _claimed(package)
            advice = "install pomona in an environment of its own" if others else _ELSEWHERE
            return f"package {package} is not pomona's but {file}{others}: {advice}"
    return None


def _is_marked(file: Path) -> bool:
    """Whether the file says `__owner__ = "pomona"`; read, not run."""
    if file.name != "__init__.py":
        return False
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    return any(
        isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "__owner__" for target in node.targets)
        and isinstance(node.value, ast.Constant)
        and node.value.value == _OWNER
        for node in tree.body
    )


def _claimed(package: str) -> str:
    others = sorted(set(packages_distributions().get(package, [])) - {_OWNER})
    return f" (installed by {', '.join(others)})" if others else ""
