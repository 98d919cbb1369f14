"""What a caller raises to end work early."""

from __future__ import annotations

from search_spaces import PomonaError


class Stop(PomonaError):
    """Raised by `on_epoch`: this trial is pruned. The message is the reason."""


class Interrupted(PomonaError):
    """The run is to end now; what is under way stays as it was after its last whole epoch. The message says why."""
