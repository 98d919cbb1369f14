"""In which precision and memory layout tensors are multiplied. Commands that only print it do not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

ModuleT = TypeVar("ModuleT", bound="torch.nn.Module")

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Numerics:
    """How tensors are laid out and multiplied. Weights stay fp32; `bf16` means autocast of the backbone."""

    precision: str = "fp32"
    channels_last: bool = False

    def autocast(self, device: torch.device) -> torch.autocast:
        import torch

        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def memory_format(self) -> torch.memory_format:
        import torch

        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, module: ModuleT, device: torch.device) -> ModuleT:
        """`module` on `device` in this layout."""
        # torch's annotations forget this keyword.
        return module.to(device=device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def __str__(self) -> str:
        return f"{self.precision}, {'channels_last' if self.channels_last else 'contiguous'}"
