"""The study runner: Optuna storage, samplers, engines, leaderboard.

Names are loaded when they are first used: commands that only read a study need nothing of what runs one.
"""

from lazy_loader import attach_stub

__owner__ = "pomona"

# The names stand in __init__.pyi.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
