"""Bags of n-grams and encoders: from the bytes of a text to features, in torch as in ONNX."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.data.texts import BYTES, encode_texts
from training.models.backbones import build
from training.models.backbones.ngrams import BASE, MIX, PRIME, WALK, FirstWords, Ngrams
from training.models.backbones.texts import Bag, BagShape, Encoder, EncoderShape, name_of, parts, reset_stage, shape_of
from training.models.classifier import Head
from training.models.spec import HeadSpec

TEXTS = (
    "",
    "Free entry in 2 a wkly comp: txt WIN to 80086!!",
    "Ok lar... Joking wif u oni...",
    "?!",
    "Été à la £100 plage, 早上好 " * 20,
    "x" * BYTES,
    "a",
)
WORD = re.compile(rb"[a-z0-9\x80-\xff]+")
# Words, what stands between them, and words that are longer than a hash looks back.
some_text = st.lists(
    st.one_of(st.text(max_size=6), st.sampled_from("aZ 09!.é\t"), st.just("word" * 9)), max_size=8
).map("".join)


def hashed(digits: list[int], order: int, buckets: int) -> int:
    value = 0
    for digit in digits:
        value = (value * BASE + digit) % PRIME
    return value * pow(MIX, order, PRIME) % PRIME % buckets + 1


def words_ending(text: bytes, end: int) -> list[bytes]:
    """The words that a walk from the byte before `end` sees, the last one first; none where no word ends there."""
    if WORD.match(text[end - 1 : end]) is None or WORD.match(text[end : end + 1]):
        return []
    return WORD.findall(text[max(0, end - WALK) : end])[::-1]


def ids_by_hand(text: str, words: int, characters: int, buckets: int) -> list[int]:
    data = text.encode().replace(b"\0", b"")[:BYTES].lower()
    found = []
    for order in range(1, words + 1):
        for end in range(1, BYTES + 1):
            seen = words_ending(data, end)[:order]
            digits = list(seen[0][::-1]) if seen else []
            for earlier in seen[1:]:
                digits += [earlier[-1] + 256, *earlier[-2::-1]]
            found.append(hashed(digits, order, buckets) if len(seen) == order else 0)
    for order in range(3, characters + 1):
        for start in range(BYTES):
            piece = data[start : start + order]
            found.append(hashed(list(piece), order, buckets) if len(piece) == order else 0)
    return found


@given(some_text, st.integers(0, 2), st.sampled_from([0, 3, 5]), st.sampled_from([7, 4096]))
def test_numbers_are_those_counted_by_hand(text: str, words: int, characters: int, buckets: int) -> None:
    if not words and not characters:
        words = 1
    found = Ngrams(BYTES, words, characters, buckets)(encode_texts([text]))
    assert found.dtype == torch.int32
    assert found[0].tolist() == ids_by_hand(text, words, characters, buckets)


@given(some_text)
def test_an_encoder_sees_the_first_words_in_order(text: str) -> None:
    found = FirstWords(BYTES, 8, 4096)(encode_texts([text]))
    words = [number for number in ids_by_hand(text, 1, 0, 4096) if number]
    assert found[0].tolist() == (words + [0] * 8)[:8]


def test_case_is_not_seen_but_order_and_length_are() -> None:
    ngrams = Ngrams(BYTES, 2, 4, 2**30)
    first, shouted, turned = ngrams(encode_texts(["call me Now", "CALL ME now", "now me call"]))
    assert torch.equal(first, shouted)
    assert set(first[:BYTES].tolist()) == set(turned[:BYTES].tolist())
    assert not set(first[BYTES:].tolist()) & set(turned[BYTES : 2 * BYTES].tolist()) - {0}
    # "now" as a word, and as three characters.
    words, _, threes, fours = first.view(4, BYTES)
    numbers = [set(ids[ids > 0].tolist()) for ids in (words, threes, fours)]
    assert [len(each) for each in numbers] == [3, 9, 8]
    assert not numbers[0] & numbers[1]
    assert not numbers[1] & numbers[2]


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 50), min_size=12, max_size=12), min_size=1, max_size=5))
def test_a_bag_in_training_is_the_one_that_is_exported(rows: list[list[int]]) -> None:
    bag, ids = Bag(50, 8), torch.tensor(rows, dtype=torch.int32)
    known = bag(ids)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
        exported = bag(ids)
    torch.testing.assert_close(known, exported)
    gradients = [torch.autograd.grad(features.square().sum(), bag.weight)[0] for features in (known, exported)]
    torch.testing.assert_close(*gradients)
    by_hand = [bag.weight[[n for n in row if n]].sum(0) / max(1, sum(n > 0 for n in row)) for row in rows]
    torch.testing.assert_close(known, torch.stack(by_hand))


@pytest.mark.parametrize("layers", [1, 2])
def test_an_encoder_looks_at_words_only(layers: int) -> None:
    encoder = Encoder(50, 16, layers).eval()
    ids = torch.zeros(3, 64, dtype=torch.int32)
    ids[1, :4] = torch.tensor([3, 1, 4, 1])
    ids[2, :2] = torch.tensor([1, 3])
    features = encoder(ids)
    assert torch.equal(features[0], torch.zeros(16))
    assert torch.isfinite(features).all()
    torch.testing.assert_close(encoder(ids[1:2]), features[1:2])
    with torch.no_grad():
        encoder.words.weight[0] += 1
    torch.testing.assert_close(encoder(ids), features)


def test_a_gradient_of_a_text_without_words_is_a_number() -> None:
    encoder = Encoder(50, 16, 1)
    encoder(torch.zeros(2, 64, dtype=torch.int32)).sum().backward()
    assert all(torch.isfinite(each.grad).all() for each in encoder.parameters() if each.grad is not None)


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("shape", [BagShape(BYTES, 2, 4, 4096, 8), BagShape(BYTES), EncoderShape(BYTES, 4096, 16, 2)])
def test_onnx_takes_bytes_and_answers_as_torch_does(tmp_path: Path, shape: BagShape | EncoderShape, size: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    taken = parts(shape)
    model = nn.Sequential(*taken.stages, Head(shape.width, 2, HeadSpec(width=8))).eval().requires_grad_(False)
    reset_stage(model[1])
    example, file = torch.zeros(2, BYTES, dtype=torch.uint8), str(tmp_path / "model.onnx")
    axes = {"texts": {0: "batch"}, "logits": {0: "batch"}}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            file,
            dynamo=False,
            opset_version=17,
            input_names=["texts"],
            output_names=["logits"],
            dynamic_axes=axes,
        )
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    texts = encode_texts(TEXTS)
    for start in range(0, len(TEXTS), size):
        some = texts[start : start + size]
        (found,) = session.run(None, {"texts": some.numpy()})
        np.testing.assert_allclose(found, model(some).numpy(), rtol=1e-4, atol=1e-5)


@given(st.integers(0, 2), st.sampled_from([0, 3, 4, 5]), st.sampled_from([4096, 65_536]), st.sampled_from([8, 64]))
def test_a_bags_name_says_its_shape(words: int, characters: int, buckets: int, width: int) -> None:
    expected = BagShape(320, words or (characters == 0), characters, buckets, width)
    assert shape_of(name_of(BagShape(320, words, characters, buckets, width))) == expected


@given(st.sampled_from([1, 2]), st.sampled_from([4096, 65_536]), st.sampled_from([8, 64]))
def test_an_encoders_name_says_its_shape(layers: int, buckets: int, width: int) -> None:
    shape = EncoderShape(320, buckets, width, layers)
    assert shape_of(name_of(shape)) == shape


def test_a_plain_name_is_the_plain_shape() -> None:
    for name, shape in (("bag:320", BagShape(320)), ("encoder:320", EncoderShape(320))):
        assert shape_of(name) == shape_of(name_of(shape)) == shape
    for name in ("bag:", "bag:320:w0c0b16e8", "bag:320:w1c2b16e8", "encoder:320:b16e10l1", "encoder:8", "cnn:1x28x28"):
        assert shape_of(name) is None


@pytest.mark.parametrize("shape", [BagShape(320, 2, 5, 4096, 8), EncoderShape(320, 4096, 8, 1)])
def test_weights_begin_the_same_everywhere_and_anew_by_seed(shape: BagShape | EncoderShape) -> None:
    name = name_of(shape)
    torch.manual_seed(0)
    first = build(name)
    torch.manual_seed(1)
    assert build(name).weights_digest == first.weights_digest
    backbone = parts(shape)
    assert next(backbone.stages[0].parameters(), None) is None
    states = []
    for seed in (2, 2, 3):
        torch.manual_seed(seed)
        reset_stage(backbone.stages[1])
        states.append({key: value.clone() for key, value in backbone.stages[1].state_dict().items()})
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)),
        lambda: nn.MultiheadAttention(8, 2),
        lambda: Encoder(9, 8, 2),
        lambda: Bag(9, 8),
    ],
)
def test_beginning_anew_is_what_making_it_would_give(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(6)
    fresh, used = make(), make()
    for parameter in used.parameters():
        nn.init.constant_(parameter, 7.0)
    torch.manual_seed(6)
    reset_stage(used)
    for key, value in fresh.state_dict().items():
        torch.testing.assert_close(used.state_dict()[key], value, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["bag:320:w2c5b4096e8", "encoder:320:b4096e8l1"])
def test_features_are_as_wide_as_the_backbone_says(name: str) -> None:
    backbone = build(name)
    seen = encode_texts(TEXTS)
    for stage, width in zip(backbone.stages, backbone.widths, strict=True):
        seen = stage(seen)
        assert seen.shape == (len(TEXTS), width)
    assert backbone.pool(seen).dtype == torch.float32
