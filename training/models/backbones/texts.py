"""Small networks for texts that begin with random weights: a bag of n-grams, and a transformer encoder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from ..dimensions import dimension
from .backbone import Parts
from .ngrams import SHORTEST, FirstWords, Ngrams

BAG = "bag:"
ENCODER = "encoder:"
FROZEN = 1
"""Stages that have nothing to train: the bytes become numbers in the first."""
WORDS = 64
"""Of a text, so many go into an encoder; few SMS have more."""
HEADS = 4
# Of embeddings that nothing was learnt about yet. With torch's 1 a word that training never saw is as loud as a known
# one: an encoder's F1 of spam was 0.94 with this and 0.88 with that (means of two seeds).
_SPREAD = 0.02
_BAG = re.compile(rf"{BAG}([1-9]\d*)(?::w(\d+)c(\d+)b([1-9]\d*)e([1-9]\d*))?")
_ENCODER = re.compile(rf"{ENCODER}([1-9]\d*)(?::b([1-9]\d*)e([1-9]\d*)l([1-9]\d*))?")


@dataclass(frozen=True)
class BagShape:
    """Of texts of `length` bytes n-grams up to `words` words and from 3 to `characters` characters, at least one kind.

    They are hashed into `buckets`, of which each has an embedding of `width`.
    """

    length: int
    words: int = dimension("ngram_words", int, 1)
    characters: int = dimension("ngram_chars", int, 0)
    buckets: int = dimension("buckets", int, 16_384)
    width: int = dimension("embedding_width", int, 32)


@dataclass(frozen=True)
class EncoderShape:
    """The first words of texts of `length` bytes, hashed into `buckets`, through `layers` of `width` channels."""

    length: int
    buckets: int = dimension("buckets", int, 16_384)
    width: int = dimension("embedding_width", int, 32)
    layers: int = dimension("encoder_layers", int, 1)


Shape = BagShape | EncoderShape


def shape_of(name: str) -> Shape | None:
    """The network of that name, `bag:L`, `encoder:L` or what `name_of` makes of it; None where `name` is none."""
    if (found := _BAG.fullmatch(name)) is not None:
        length, *others = (int(part) for part in found.groups() if part is not None)
        bag = BagShape(length, *others)
        return bag if (bag.words or bag.characters) and bag.characters not in range(1, SHORTEST) else None
    if (found := _ENCODER.fullmatch(name)) is not None:
        length, *others = (int(part) for part in found.groups() if part is not None)
        encoder = EncoderShape(length, *others)
        return encoder if encoder.width % HEADS == 0 and length >= WORDS else None
    return None


def name_of(shape: Shape) -> str:
    """What `shape_of` makes the shape of; a bag of nothing becomes one of words."""
    if isinstance(shape, EncoderShape):
        return f"{ENCODER}{shape.length}:b{shape.buckets}e{shape.width}l{shape.layers}"
    words = shape.words if shape.words or shape.characters else 1
    return f"{BAG}{shape.length}:w{words}c{shape.characters}b{shape.buckets}e{shape.width}"


def frozen_name(name: str) -> str:
    """What of `name` decides how texts become numbers: not the width of their embeddings, for one."""
    match shape_of(name):
        case BagShape(length, words, characters, buckets):
            return f"{BAG}{length}:w{words}c{characters}b{buckets}"
        case EncoderShape(length, buckets):
            return f"{ENCODER}{length}:{WORDS}:b{buckets}"
    return name


def parts(shape: Shape) -> Parts:
    """Two stages: the bytes (N, L) of texts to numbers of n-grams or words, and these to features (N, width).

    The weights are the same in every process; whoever trains them begins with others (`reset_stage`).
    """
    stages: tuple[nn.Module, ...]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        match shape:
            case BagShape(length, words, characters, buckets, width):
                orders = words + max(characters - SHORTEST + 1, 0)
                stages = (Ngrams(length, words, characters, buckets), Bag(buckets, width))
                numbers = length * orders
            case EncoderShape(length, buckets, width, layers):
                stages = (FirstWords(length, WORDS, buckets), Encoder(buckets, width, layers))
                numbers = WORDS
    return Parts(stages, (numbers, shape.width), None, nn.Identity(), nn.Identity())


def reset_stage(stage: nn.Module) -> None:
    """Random weights from torch's random state, as the makers of its modules choose them."""
    # A module that holds others may set theirs after they did: attention does.
    for child in stage.children():
        reset_stage(child)
    for name in ("reset_parameters", "_reset_parameters"):
        if (reset := getattr(stage, name, None)) is not None:
            reset()


class Bag(nn.Module):
    """Numbers (N, M) -> (N, width): the mean of the embeddings of those that are not 0, zeros where all are.

    As in fastText (Joulin et al. 2017).
    """

    def __init__(self, buckets: int, width: int) -> None:
        super().__init__()
        # The number 0 has a row too, which nothing reads: it saves a subtraction.
        self.weight = nn.Parameter(torch.empty(buckets + 1, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=_SPREAD)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        real = ids != 0
        count = real.sum(1)
        # How many n-grams there are is no constant of a graph.
        if torch.onnx.is_in_onnx_export():
            known = F.embedding(ids, self.weight) * real[..., None]
            return known.sum(1) / count.clamp(min=1)[:, None]
        begins = count.cumsum(0) - count
        # Only those of the texts are looked up, a small part of all.
        return F.embedding_bag(ids[real].to(begins.dtype), self.weight, begins, mode="mean")


class Encoder(nn.Module):
    """Numbers of words (N, `WORDS`) -> (N, width): the mean over the words, zeros where there is none.

    Pre-norm layers of attention and of a feed-forward part twice as wide (Vaswani et al. 2017; Xiong et al. 2020).
    """

    def __init__(self, buckets: int, width: int, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(buckets + 1, width)
        self.places = nn.Embedding(WORDS, width)
        self.layers = nn.ModuleList(_layer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Of the embeddings; the layers have their own."""
        for embedding in (self.words, self.places):
            nn.init.normal_(embedding.weight, std=_SPREAD)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        real = ids != 0
        # A text without words looks at its first place: a softmax over nothing is no number.
        seen = torch.cat([torch.ones_like(real[:, :1]), real[:, 1:]], 1)
        # In floats, which keeps torch from a fused way that ONNX doesn't know.
        mask = torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, float("-inf"))
        states = self.words(ids) + self.places.weight
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=mask)
        total = (self.norm(states) * real[..., None]).sum(1)
        return cast(torch.Tensor, total / real.sum(1).clamp(min=1)[:, None])


def _layer(width: int) -> nn.Module:
    # SiLU, not GELU, for the same reason as the mask in floats.
    layer = nn.TransformerEncoderLayer(
        width, HEADS, 2 * width, dropout=0.1, activation=F.silu, batch_first=True, norm_first=True
    )
    # Dropping attention's weights too made no clear difference to the answers and an epoch 1.4 times as long.
    layer.self_attn.dropout = 0.0
    return layer
