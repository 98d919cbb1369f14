"""What a caller raises to end a training run early."""

from __future__ import annotations

from search_spaces import PomonaError


class Stop(PomonaError):
    """Raised by `on_epoch`: this trial is pruned. The message is the reason."""
