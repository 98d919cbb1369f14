"""What `bench compare` must know of a machine besides what pytest-benchmark tells of it."""

from __future__ import annotations

from typing import Any

import torch


def pytest_benchmark_update_machine_info(config: object, machine_info: dict[str, Any]) -> None:
    machine_info["torch"] = torch.__version__
