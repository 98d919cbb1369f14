"""The errors that are raised on purpose; everything else that escapes is a bug."""


class PomonaError(Exception):
    """Base of the errors that pomona raises on purpose."""


class InputError(PomonaError):
    """What the caller gave is wrong. The message is one line: what is wrong, and what to do.

    Args:
        problem: what is wrong; all of the message where it says itself what to do.
        ways: what may be done, each by itself, as not every command has the options that they name.
    """

    def __init__(self, problem: str, *ways: str) -> None:
        *first, last = ways or ("",)
        either = f"{', '.join(first)}, or {last}" if first else last
        super().__init__(f"{problem}: {either}" if either else problem)
        self.problem = problem
        self.ways = ways
