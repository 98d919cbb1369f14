"""Real photos and weights, where the machine has them beside the repository."""

from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"
SHARED_DATA = _SHARED / "data"
SHARED_WEIGHTS = _SHARED / "weights"

needs_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="no folder ../shared/data with real photos")
needs_weights = pytest.mark.skipif(not SHARED_WEIGHTS.is_dir(), reason="no folder ../shared/weights")
