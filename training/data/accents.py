"""Names with accents, which a Mac writes as characters of their own and others as parts of their letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence


def composed(text: str) -> str:
    """`text` with accents as parts of their letters (NFC)."""
    return unicodedata.normalize("NFC", text)


def forms_of(text: str) -> tuple[str, ...]:
    """`text` as it is, and with accents written in one way and in the other."""
    return text, composed(text), unicodedata.normalize("NFD", text)


def written_as(known: Sequence[str], names: Iterable[str]) -> list[str]:
    """`names`, each as one of `known` writes it where the two differ in the form of their accents only."""
    exact, alike = set(known), {composed(name): name for name in known}
    return [name if name in exact else alike.get(composed(name), name) for name in names]
