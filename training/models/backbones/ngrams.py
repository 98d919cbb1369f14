"""Text as numbers without a vocabulary: n-grams of words and characters, hashed into buckets (Weinberger et al. 2009).

All of it is integer arithmetic that ONNX has too, so a model takes the bytes of a text and nobody who uses it can split
or count words in another way.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

# Below 2**31, so that no product of two remainders overflows 64 bits.
PRIME = 2**31 - 1
BASE = 1_000_003
"""An n-gram's bytes are the digits of a number to this base, which is hashed as its remainder by `PRIME`."""
MIX = 16_807
"""To the power of its order times the remainder, so that orders don't meet in the same buckets."""
WALK = 32
"""A word's hash looks at no more than this many bytes up to the word's end: nor does that of two words."""
SHORTEST = 3
"""The shortest n-gram of characters."""


def folded(text: torch.Tensor) -> torch.Tensor:
    """Bytes (N, L), uint8 -> int64, ASCII letters in lower case."""
    codes = text.to(torch.int64)
    return torch.where((codes >= ord("A")) & (codes <= ord("Z")), codes + (ord("a") - ord("A")), codes)


def in_word(codes: torch.Tensor) -> torch.Tensor:
    """Whether a byte of a folded text is a letter, a digit, or part of a character beyond ASCII."""
    digit = (codes >= ord("0")) & (codes <= ord("9"))
    return digit | ((codes >= ord("a")) & (codes <= ord("z"))) | (codes >= 128)


def bucket(remainder: torch.Tensor, order: int, buckets: int) -> torch.Tensor:
    """1 to `buckets`."""
    return 1 + remainder * pow(MIX, order, PRIME) % PRIME % buckets


def word_ids(codes: torch.Tensor, length: int, orders: int, buckets: int) -> list[torch.Tensor]:
    """For 1 to `orders` words: at the last byte of each word the bucket of it and the words before it, elsewhere 0.

    `codes` are folded texts (N, length). From every byte at once a walk goes backwards. A byte is a digit of the hash,
    plus 256 where a further word begins; what stands between words is none. A word that is longer than the walk counts
    as its end; where an earlier word lies beyond the walk there is no n-gram.
    """
    padded = F.pad(codes, (WALK - 1, 1))
    inside = in_word(padded)
    ends = inside[:, WALK - 1 : -1] & ~inside[:, WALK:]
    began = ends.to(torch.int64)
    remainder = torch.zeros_like(codes)
    hashes = [remainder] * orders
    for back in range(WALK):
        start = WALK - 1 - back
        here = inside[:, start : start + length]
        if back:
            fresh = here & ~inside[:, start + 1 : start + 1 + length]
            began = began + fresh.to(torch.int64)
            digit = padded[:, start : start + length] + 256 * fresh.to(torch.int64)
        else:
            digit = padded[:, start : start + length]
        remainder = torch.where(here, (remainder * BASE + digit) % PRIME, remainder)
        hashes = [torch.where(began <= order, remainder, known) for order, known in enumerate(hashes, 1)]
    return [
        torch.where(ends & (began >= order), bucket(found, order, buckets), 0) for order, found in enumerate(hashes, 1)
    ]


def character_ids(codes: torch.Tensor, length: int, longest: int, buckets: int) -> list[torch.Tensor]:
    """For 3 to `longest` bytes: the bucket of the bytes that begin here, 0 where the text ends before."""
    padded = F.pad(codes, (0, longest))
    remainder = torch.zeros_like(codes)
    found = []
    for order in range(1, longest + 1):
        last = padded[:, order - 1 : order - 1 + length]
        remainder = (remainder * BASE + last) % PRIME
        if order >= SHORTEST:
            found.append(torch.where(last > 0, bucket(remainder, order, buckets), 0))
    return found


class Ngrams(nn.Module):
    """Bytes (N, L), zeros after the text -> int32 (N, L * orders): 0 or the bucket, from 1, of an n-gram.

    Of words in the order 1 to `words`, of characters in the order 3 to `characters`; 0 is none of that kind.
    """

    def __init__(self, length: int, words: int, characters: int, buckets: int) -> None:
        super().__init__()
        self.length = length
        self.words = words
        self.characters = characters
        self.buckets = buckets

    def extra_repr(self) -> str:
        return f"{self.length}, words={self.words}, characters={self.characters}, buckets={self.buckets}"

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        codes = folded(text)
        found = word_ids(codes, self.length, self.words, self.buckets) if self.words else []
        if self.characters:
            found += character_ids(codes, self.length, self.characters, self.buckets)
        return torch.cat(found, 1).to(torch.int32)


class FirstWords(nn.Module):
    """Bytes (N, L), zeros after the text -> int32 (N, `most`): the buckets of its first words in order, then zeros."""

    def __init__(self, length: int, most: int, buckets: int) -> None:
        super().__init__()
        self.length = length
        self.most = most
        self.buckets = buckets

    def extra_repr(self) -> str:
        return f"{self.length}, most={self.most}, buckets={self.buckets}"

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        (ids,) = word_ids(folded(text), self.length, 1, self.buckets)
        # Large where the text begins: the largest are its first words.
        places = torch.arange(self.length, 0, -1, device=ids.device)
        _, first = torch.topk(torch.where(ids > 0, places, 0), self.most, dim=1)
        # Beyond the last word it takes places where no word ends: their ids are 0.
        return ids.gather(1, first).to(torch.int32)
