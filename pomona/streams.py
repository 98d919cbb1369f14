"""stdout and stderr as the command line uses them: what can't be written never ends in a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


class AnswerLost(Exception):
    """stdout can't be written. The message is the reason, and None where its reader has just seen enough."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(reason)
        self.reason = reason


class _Stream:
    """Another stream, but for what happens when it can't be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as problem:
            self._failed(problem)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as problem:
            self._failed(problem)

    def _failed(self, problem: OSError | ValueError) -> None:
        # What is still buffered would fail once more as Python exits.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class _Answers(_Stream):
    def _failed(self, problem: OSError | ValueError) -> None:
        super()._failed(problem)
        if isinstance(problem, BrokenPipeError):
            raise AnswerLost(None) from None
        raise AnswerLost(str(getattr(problem, "strerror", None) or problem)) from None


class _Closed(_Answers):
    def write(self, text: str) -> int:
        raise AnswerLost("it is closed")

    def flush(self) -> None:
        raise AnswerLost("it is closed")


class _Notes(_Stream):
    """Notes that nobody can read are no reason to stop the work."""


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Guards stdout and stderr meanwhile: what their encoding lacks is written as an escape sequence.

    Writing to a stdout that is closed or full raises `AnswerLost`; a stderr that is, takes nothing.
    """
    _occupy_closed_descriptors()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = cast(TextIO, _Closed(nowhere) if before[0] is None else _Answers(_escaping(before[0])))
        sys.stderr = cast(TextIO, _Notes(nowhere if before[1] is None else _escaping(before[1])))
        try:
            yield
        finally:
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


def _escaping(stream: TextIO) -> TextIO:
    # Streams that tests or notebooks put in their place may lack this.
    if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
        reconfigure(errors="backslashreplace")
    return stream


def _occupy_closed_descriptors() -> None:
    """Otherwise the first files that are opened get the numbers of stdout and stderr, and what is meant for these."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)
