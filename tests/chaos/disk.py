"""A disk without room."""

from __future__ import annotations

import resource


def fill_disk(size: int) -> None:
    """From now on no file of this process can grow beyond a size, whoever the user is; writing fails as on a full disk.

    A process that is started from here on is bound too.
    """
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
