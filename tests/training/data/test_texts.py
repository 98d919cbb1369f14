"""Texts with labels: read from lines, split so that equal ones stay together, and turned into bytes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError
from training.data.texts import BYTES, TextSet, encode_texts, read_texts

from ...shared import SHARED_DATA, needs_data

WORDS = ("free", "call", "now", "lunch", "later", "ok", "win", "home", "été", "£100")


def lines_of(count: int = 40) -> list[str]:
    """Different texts, every fourth of them spam."""
    return [f"{'spam' if n % 4 == 0 else 'ham'}\t{WORDS[n % 10]} {WORDS[n // 10]} {n}" for n in range(count)]


def written(folder: Path, lines: list[str], name: str = "texts.tsv") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return file


def sides(data: TextSet) -> dict[str, set[str]]:
    """Of each text, without case and white space, the splits that it is in."""
    found = defaultdict(set)
    splits = data.at(0)
    for name, split in (("train", splits.train), ("valid", splits.valid)):
        for text in split.names:
            found["".join(text.casefold().split())].add(name)
    return found


def test_a_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    data = read_texts(written(tmp_path, lines_of()))
    assert data.classes == ("ham", "spam")
    assert data.counts == {"train": {"ham": 24, "spam": 8}, "valid": {"ham": 6, "spam": 2}}
    splits = data.at(0)
    assert splits.test is None
    assert sorted([*splits.train.rows.tolist(), *splits.valid.rows.tolist()]) == list(range(40))
    for split in (splits.train, splits.valid):
        inputs, labels = split.take(torch.arange(len(split)))
        assert torch.equal(inputs, encode_texts(split.names))
        assert [int(text.split()[-1]) % 4 == 0 for text in split.names] == (labels == 1).tolist()


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from("aAbB"), st.booleans()), min_size=20, max_size=60))
def test_equal_texts_are_on_one_side(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, str, bool]]
) -> None:
    lines = lines_of(20) + [f"{'spam' if spam else 'ham'}\t {word}  {letter}" for word, letter, spam in drawn]
    data = read_texts(written(tmp_path_factory.mktemp("texts"), lines))
    assert {len(found) for found in sides(data).values()} == {1}
    assert len(data.at(0).valid) > 0


@needs_data
def test_the_sms_collection_is_split_by_text() -> None:
    folder = SHARED_DATA / "sms_spam"
    data = read_texts(folder)
    assert [sum(counts.values()) for counts in data.counts.values()] == [3790, 948]
    assert (data.labels == 1).sum() == 635
    assert {len(found) for found in sides(data).values()} == {1}
    splits = data.at(0)
    assert not set(splits.train.keys) & set(splits.valid.keys)


def test_the_fingerprint_is_of_contents_labels_and_split(tmp_path: Path) -> None:
    lines = lines_of()
    prints = {
        read_texts(written(tmp_path, changed), seed=seed).fingerprint
        for changed, seed in (
            (lines, 0),
            ([lines[0] + "!", *lines[1:]], 0),
            ([lines[0].replace("spam", "ham"), *lines[1:]], 0),
            ([line.replace("spam", "spim") for line in lines], 0),
            (lines, 1),
        )
    }
    assert len(prints) == 5
    assert read_texts(written(tmp_path, lines, "again.txt")).fingerprint in prints


def test_a_file_or_its_folder_is_the_same_data(tmp_path: Path) -> None:
    file = written(tmp_path / "sms", lines_of(), "SMSSpamCollection")
    (tmp_path / "sms" / "readme").write_text("about")
    one, other = read_texts(file), read_texts(file.parent)
    assert one.fingerprint == other.fingerprint
    assert (one.source, other.source) == ("SMSSpamCollection", "sms")
    assert read_texts(Path(other.location)).fingerprint == other.fingerprint
    assert "32, valid 8 texts of 2 classes" in one.summary()


def test_windows_line_ends_and_a_byte_order_mark_are_no_text(tmp_path: Path) -> None:
    plain, marked = (tmp_path / name for name in ("plain.tsv", "marked.tsv"))
    plain.write_bytes("\n".join(lines_of()).encode())
    marked.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines_of()).encode() + b"\r\n\r\n")
    assert read_texts(plain).texts == read_texts(marked).texts
    assert read_texts(plain).classes == read_texts(marked).classes


@given(st.lists(st.text(max_size=400), max_size=5))
def test_bytes_hold_the_beginning_of_each_text(texts: list[str]) -> None:
    pool = encode_texts(texts)
    assert (pool.dtype, pool.shape) == (torch.uint8, (len(texts), BYTES))
    for text, row in zip(texts, pool.numpy(), strict=True):
        expected = text.replace("\0", "").encode()[:BYTES]
        assert row[: len(expected)].tobytes() == expected
        assert not row[len(expected) :].any()


def test_keys_stand_for_what_a_model_sees(tmp_path: Path) -> None:
    long = "x" * BYTES
    lines = [*lines_of(), f"ham\t{long}", f"ham\t{long} and more", "spam\tfree\0 gift", "spam\tfree gift"]
    splits = read_texts(written(tmp_path, lines)).at(0)
    keys = dict(zip((*splits.train.names, *splits.valid.names), (*splits.train.keys, *splits.valid.keys), strict=True))
    assert keys[long] == keys[f"{long} and more"]
    assert len(set(keys.values())) == len(lines) - 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ham\tone\nspam two\n", "line 2 has no tab"),
        (b"ham\tone\n\n\t two\n", "line 3 has no label"),
        (b"ham\tone\nspam\t\xff\n", "line 2 is no UTF-8"),
        (b"", "there are no texts"),
        (b"ham\tone\nham\ttwo\n", "all 2 texts are 'ham'"),
        (b"ham\tone\nham\ttwo\nspam\tthree\nspam\tThree \n", r"to be split \(ham 2, spam 2\)"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "texts.tsv"
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"texts\.tsv.*{said}"):
        read_texts(tmp_path)


def test_a_folder_must_hold_one_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.tsv or \.txt file"):
        read_texts(tmp_path)
    with pytest.raises(InputError, match="there is no"):
        read_texts(tmp_path / "absent.tsv")
    for name in ("a.tsv", "b.txt"):
        written(tmp_path, lines_of(), name)
    with pytest.raises(InputError, match=r"a\.tsv, b\.txt: name one"):
        read_texts(tmp_path)


def test_the_seed_decides_the_split(tmp_path: Path) -> None:
    file = written(tmp_path, lines_of())
    assert np.array_equal(read_texts(file, seed=3).held_out, read_texts(file, seed=3).held_out)
    assert not np.array_equal(read_texts(file, seed=3).held_out, read_texts(file, seed=4).held_out)
