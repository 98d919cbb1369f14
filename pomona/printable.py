"""Text that may hold anything, made safe to print.

Names of files, classes and studies come from users and may hold line breaks, escape sequences that a terminal obeys, or
bytes that are no text.
"""

from __future__ import annotations

import re

# C0 and C1 controls, separators of lines and paragraphs, overrides of the writing direction, and surrogates, which
# stand for bytes that are no UTF-8 and which no strict stream can write.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[{_CONTROLS}]")
_UNSAFE_BUT_LAYOUT = re.compile(f"(?![\n\t])[{_CONTROLS}]")


def one_line(text: str) -> str:
    """`text` with every control character written as its escape sequence, as in `\\x1b` and `\\n`."""
    return _UNSAFE.sub(_escaped, text)


def printable(text: str) -> str:
    """`one_line` for text of several lines: line breaks and tabs stay."""
    return _UNSAFE_BUT_LAYOUT.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        # What Python makes of a byte that it could not decode.
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode("ascii")
