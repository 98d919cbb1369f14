"""Names of files, folders and classes, and numbers, as people may read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# Control characters, halves of surrogate pairs, separators of lines and of paragraphs.
_UNSHOWN = ("Cc", "Cs", "Zl", "Zp")
# How Python holds the bytes 0x80 to 0xff of a file name that is not UTF-8.
_UNDECODED = range(0xDC80, 0xDD00)
_FIRST_BYTE = 0xDC00
# Below it, floats hold every whole number and a digit behind the point.
_PLAIN = 1e15


def display_name(name: str) -> str:
    r"""`name` on one line and in valid UTF-8: bytes that are not UTF-8 and control characters as `\xe9` or `\n`.

    Only for people to read: a file is opened by its true name.
    """
    if name.isprintable():
        return name
    return "".join(_escaped(char) if unicodedata.category(char) in _UNSHOWN else char for char in name)


def display_names(names: Iterable[str]) -> dict[str, str]:
    """The `display_name` of each name, with a number after it where another name reads the same."""
    shown: dict[str, str] = {}
    taken: set[str] = set()
    # Names that are shown as they are come first, so that they stay so.
    for name in sorted(set(names), key=lambda name: (name != display_name(name), name)):
        plain = candidate = display_name(name)
        number = 1
        while candidate in taken:
            number += 1
            candidate = f"{plain} ({number})"
        taken.add(candidate)
        shown[name] = candidate
    return shown


def number_text(value: float) -> str:
    """A number for people: six digits, or two more than its whole part has. No digit before the point gets lost."""
    whole = len(f"{abs(value):.0f}") if abs(value) < _PLAIN else 0
    return f"{value:.{max(6, whole + 2)}g}"


def _escaped(char: str) -> str:
    if ord(char) in _UNDECODED:
        return f"\\x{ord(char) - _FIRST_BYTE:02x}"
    return char.encode("unicode_escape").decode("ascii")
