"""Pictures of more than eight bits, of many pixels and of odd kinds: read by their range or refused, never black."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from pomona import onnx_predict
from training.data import pictures
from training.data.contents import ContentIndex
from training.data.photos import scan
from training.data.pictures import examined, square, why_unreadable
from training.machine.threads import Weights

SIDE = 16
RAMP = np.tile(np.linspace(0, 1, SIDE), (SIDE, 1))
PIXEL = RAMP.size


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(values: NDArray[np.generic], kind: str = "PNG", **options: object) -> bytes:
    return saved(Image.fromarray(values), kind, **options)


def deep_png(values: NDArray[np.uint16]) -> bytes:
    """Colours of 16 bits (h, w, 2 to 4), which Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def levels(bits: int) -> NDArray[np.uint16]:
    return np.asarray((RAMP * (2**bits - 1)).round(), np.uint16)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "big-endian TIFF", "packed TIFF", "int32 TIFF"])
def test_a_ramp_of_any_depth_goes_from_black_to_white(bits: int, kind: str) -> None:
    values = levels(bits)
    match kind:
        case "big-endian TIFF":
            data = saved(Image.frombytes("I;16B", (SIDE, SIDE), values.astype(">u2").tobytes()), "TIFF")
        case "packed TIFF":
            data = grey(values, "TIFF", compression="tiff_lzw")
        case "int32 TIFF":
            data = grey(values.astype(np.int32), "TIFF")
        case _:
            data = grey(values, kind)
    picture = square(data, SIDE)
    np.testing.assert_allclose(picture[:, :, 1], RAMP * 255, atol=1)
    assert examined(data) == ("" if bits == 16 else str(bits), None)
    assert np.array_equal(onnx_predict.square(data, SIDE), picture)


@given(high=st.integers(0, 2**16 - 1), wide=st.booleans(), seed=st.integers(0, 9))
def test_a_value_is_divided_by_the_smallest_range_that_holds_all(high: int, wide: bool, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, high + 1, (SIDE, SIDE))
    values[0, 0] = high
    data = grey(values.astype(np.int32 if wide else np.uint16), "TIFF")
    bits = next(bits for bits in (8, 10, 12, 14, 16) if high < 2**bits)
    picture = square(data, SIDE)
    assert np.array_equal(picture[:, :, 0], values >> (bits - 8))
    assert np.array_equal(onnx_predict.square(data, SIDE), picture)


def test_what_the_file_says_of_its_range_is_believed() -> None:
    dark = levels(8)
    assert square(grey(dark, "TIFF", tiffinfo={281: 4095}), SIDE).max() == 255 >> 4
    assert square(grey(dark, "TIFF", tiffinfo={281: 65535}), SIDE).max() == 255
    for maximum, white in ((4095, 15), (65534, 0)):
        header = f"P5 {SIDE} {SIDE} {maximum}\n".encode()
        assert abs(int(square(header + dark.astype(">u2").tobytes(), SIDE).max()) - white) <= 1
    packed = np.zeros((SIDE, SIDE // 2, 3), np.uint8)  # twelve bits, two values in three bytes
    packed[:, :, 0], packed[:, :, 1], packed[:, :, 2] = 0x3F, 0x03, 0xF0
    tags = {256: SIDE, 257: SIDE, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: SIDE, 279: packed.size}
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in tags.items())
    twelve = struct.pack("<2sHI", b"II", 42, 8 + packed.size) + packed.tobytes() + directory + bytes(4)
    assert set(np.unique(square(twelve, SIDE))) == {0x3F}


FULL_WHITE = {
    "PGM": lambda values: f"P5 {SIDE} {SIDE} 65535\n".encode() + values.astype(">u2").tobytes(),
    "plain PGM": lambda values: f"P2 {SIDE} {SIDE} 65535\n{' '.join(map(str, values.ravel()))}\n".encode(),
    "JPEG 2000": lambda values: grey(values, "JPEG2000", irreversible=False),
}
"""Files that say 16 bits, as programs do for any array of uint16."""


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", FULL_WHITE)
def test_a_file_that_says_16_bits_is_read_by_what_it_fills(bits: int, kind: str) -> None:
    data = FULL_WHITE[kind](levels(bits))
    picture = square(data, SIDE)
    np.testing.assert_allclose(picture[:, :, 1], RAMP * 255, atol=1)
    assert examined(data) == ("" if bits == 16 else str(bits), None)
    assert np.array_equal(onnx_predict.square(data, SIDE), picture)


def test_jpeg_2000_that_says_fewer_bits_is_believed() -> None:
    # Values are kept as what they lie above the middle of the range, which Pillow takes for that of 16 bits.
    data = grey(levels(10) + (2**15 - 2**11), "JPEG2000", irreversible=False, no_jp2=True)
    place = data.index(b"\xff\x4f\xff\x51") + 42
    twelve = data[:place] + bytes([12 - 1]) + data[place + 1 :]
    picture = square(twelve, SIDE)
    np.testing.assert_allclose(picture[:, :, 1], RAMP * 255 / 4, atol=1)
    assert examined(twelve) == ("", None)
    assert np.array_equal(onnx_predict.square(twelve, SIDE), picture)


def ppm(values: NDArray[np.uint16], white: int) -> bytes:
    return f"P6 {SIDE} {SIDE} {white}\n".encode() + np.stack([values] * 3, 2).astype(">u2").tobytes()


@pytest.mark.parametrize("bits", [8, 12, 14])
def test_dark_colours_of_a_ppm_that_says_16_bits_are_refused(bits: int) -> None:
    data = ppm(levels(bits), 65535)
    assert "use 14 bits or fewer" in str(why_unreadable(data))
    with pytest.raises(ValueError, match="14 bits or fewer"):
        onnx_predict.square(data, SIDE)


@pytest.mark.parametrize(("bits", "white"), [(16, 65535), (12, 4095), (10, 1023)])
def test_colours_of_a_ppm_that_fill_what_it_says_are_read(bits: int, white: int) -> None:
    data = ppm(levels(bits), white)
    np.testing.assert_allclose(square(data, SIDE)[:, :, 1], RAMP * 255, atol=1)
    assert np.array_equal(onnx_predict.square(data, SIDE), square(data, SIDE))


def test_where_white_is_zero_a_ramp_is_reversed() -> None:
    data = grey(levels(16), "TIFF", tiffinfo={262: 0})
    if Image.open(io.BytesIO(data)).tag_v2[262] != 0:  # type: ignore[attr-defined]
        data = data.replace(struct.pack("<HHIHH", 262, 3, 1, 1, 0), struct.pack("<HHIHH", 262, 3, 1, 0, 0))
    assert Image.open(io.BytesIO(data)).tag_v2[262] == 0  # type: ignore[attr-defined]
    assert np.array_equal(square(data, SIDE)[:, :, 0], 255 - (levels(16) >> 8))
    assert examined(data) == ("16n", None)
    assert np.array_equal(onnx_predict.square(data, SIDE), square(data, SIDE))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_are_full_or_refused(channels: int) -> None:
    full, opaque = np.stack([levels(16)] * channels, 2), channels in (2, 4)
    few = np.stack([levels(12)] * channels, 2)
    if opaque:
        full[:, :, -1] = few[:, :, -1] = 65535
    assert np.array_equal(square(deep_png(full), SIDE)[:, :, 0], levels(16) >> 8)
    assert "use 14 bits or fewer" in str(why_unreadable(deep_png(few)))
    with pytest.raises(ValueError, match="14 bits or fewer"):
        onnx_predict.square(deep_png(few), SIDE)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (grey((RAMP * 300 - 1).astype(np.int32), "TIFF"), "grey values from -1 to 299 have no agreed range"),
        (grey((RAMP * 2**20).astype(np.int32), "TIFF"), "grey values from 0 to 1048576 have no agreed range"),
        (grey(RAMP.astype(np.float32), "TIFF"), "floating-point"),
    ],
    ids=["negative", "beyond 16 bits", "floats"],
)
def test_values_without_an_agreed_range_are_refused_in_a_line(data: bytes, reason: str) -> None:
    assert reason in str(why_unreadable(data))
    with pytest.raises(ValueError, match=reason):
        onnx_predict.square(data, SIDE)


@pytest.mark.parametrize("value", [0, 4095, 65535])
def test_the_transparent_value_of_a_grey_png_of_16_bits_is_white_and_no_light(value: int) -> None:
    values = levels(12)
    values[0, 0] = value
    data = grey(values, transparency=value)
    picture = square(data, SIDE)[:, :, 1]
    assert np.array_equal(picture, np.where(values == value, 255, values >> 4))
    assert examined(data) == ("12t", None)
    assert np.array_equal(onnx_predict.square(data, SIDE)[:, :, 1], picture)
    everywhere = np.full((SIDE, SIDE), value, np.uint16)
    assert square(grey(everywhere, transparency=value), SIDE).min() == 255


def test_black_stays_black_and_one_bit_becomes_black_and_white() -> None:
    assert square(grey(np.zeros((SIDE, SIDE), np.uint16)), SIDE).max() == 0
    checks = Image.fromarray((RAMP > 0.5).astype(np.uint8) * 255).convert("1")
    assert set(np.unique(square(saved(checks, "PNG"), SIDE))) == {0, 255}
    assert set(np.unique(square(saved(checks, "TIFF", compression="group4"), SIDE))) == {0, 255}


def test_of_an_animation_the_first_frame_is_seen() -> None:
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert len(list(ImageSequence.Iterator(Image.open(io.BytesIO(data))))) == 2
        picture = square(data, SIDE)[SIDE // 2, SIDE // 2].astype(int)
        assert picture[0] > 200 > 50 > picture[2]


def test_a_file_that_was_read_as_black_before_has_another_digest(tmp_path: Path) -> None:
    files = {
        "deep.png": grey(levels(12)),
        "full.png": grey(levels(16)),
        "plain.png": grey((RAMP * 255).astype(np.uint8)),
    }
    for split in ("train", "valid"):
        for label in "ab":
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for name, data in files.items():
                # What stands behind the end of a picture makes another file of it.
                (folder / name).write_bytes(data + f"{split}{label}".encode())
    names = [f"train/a/{name}" for name in files]
    digests = [content.digest for content in ContentIndex(tmp_path).examine(names)]
    plain = [hashlib.sha256(files[name] + b"traina").hexdigest() for name in files]
    assert digests == [f"{plain[0]}.12", plain[1], plain[2]]
    pixels, _ = scan(tmp_path).at(SIDE).train.take(torch.arange(6))
    assert pixels.amax((1, 2, 3)).min() >= 254


def test_pictures_that_take_much_memory_are_refused_by_their_header(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("L", (1000, 1000)), "PNG")
    monkeypatch.setattr(pictures, "machine_memory", lambda: 2**24)
    assert "1000 x 1000 pixels take 15 MiB to decode" in str(why_unreadable(data))
    assert why_unreadable(saved(Image.new("L", (1000, 1000)), "JPEG")) is None


def test_a_picture_is_decoded_and_resized_while_it_holds_room(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    seen: list[tuple[int, ...]] = []

    class Room(Weights):
        @contextmanager
        def hold(self, weight: int) -> Iterator[None]:
            held.append(weight)
            yield
            held.pop()

    room, turn = Room(1), pictures._rgb

    def watched(image: Image.Image) -> tuple[Image.Image, str]:
        seen.append(tuple(held))
        return turn(image)

    monkeypatch.setattr(pictures, "_room", lambda: room)
    monkeypatch.setattr(pictures, "_rgb", watched)
    data = grey((RAMP * 255).astype(np.uint8))
    square(data, SIDE)
    assert why_unreadable(data) is None
    assert seen == [(16 * PIXEL,)] * 2
    assert held == []


def test_who_needs_more_than_is_free_waits_and_others_do_not() -> None:
    room = Weights(20)

    def taking(weight: int) -> threading.Thread:
        def work() -> None:
            with room.hold(weight):
                pass

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    with room.hold(15):
        large, small = taking(10), taking(5)
        small.join(10)
        large.join(0.02)
        assert large.is_alive()
        assert not small.is_alive()
    for thread in (large, taking(1000)):
        thread.join(10)
        assert not thread.is_alive()


def test_room_is_given_back_after_a_broken_picture() -> None:
    room = Weights(3)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), room.hold(2):
            raise ValueError("broken")
    with room.hold(3):
        pass
