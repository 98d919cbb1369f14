"""The errors that are raised on purpose; everything else that escapes is a bug."""


class PomonaError(Exception):
    """Base of the errors that pomona raises on purpose."""


class InputError(PomonaError):
    """What the caller gave is wrong. The message is one line: what is wrong, and what to do."""
