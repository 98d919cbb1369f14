"""The training core: data -> batches -> model -> epochs. Knows nothing of searching.

Names are loaded when they are first used: a part of the core runs where only its own libraries are installed.
"""

__owner__ = "pomona"

try:
    from lazy_loader import attach_stub
except ModuleNotFoundError:
    # Where there is nothing but torch and torchvision: the throughput benchmark names modules in full.
    pass
else:
    # The names stand in __init__.pyi.
    __getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
