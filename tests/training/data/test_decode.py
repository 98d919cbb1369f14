from __future__ import annotations

import hashlib
import io
import os
import resource
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces import InputError
from training.data import decode
from training.data.decode import decoded, decoder, read_rgb, square, why_unreadable
from training.machine.digest import note

from .folders import files_below, write_photo


def _photos(folder: Path, count: int) -> dict[str, Path]:
    paths = [write_photo(folder / f"{number}.png", str(number)) for number in range(count)]
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths}


def _bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGB", (40, 40), left)
    image.paste(right, (20, 0, 40, 40))
    return image


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("resolution", [4, 16])
def test_the_pool_holds_each_photo_as_pillow_resizes_it(tmp_path: Path, workers: int, resolution: int) -> None:
    photos = _photos(tmp_path, 9)
    pool = decoded(photos, resolution, workers=workers)
    assert pool.dtype == torch.uint8
    assert pool.shape == (9, resolution, resolution, 3)
    for row, digest in enumerate(sorted(photos)):
        plain = Image.open(photos[digest]).convert("RGB").resize((resolution, resolution), Image.Resampling.BICUBIC)
        assert np.array_equal(pool[row].numpy(), np.asarray(plain))


def test_a_large_jpeg_decoded_the_cheap_way_looks_like_one_decoded_whole() -> None:
    y, x = np.mgrid[0:900, 0:1200] / 900
    waves = [127 + 80 * np.sin(9 * x + 3 * y + c) + 40 * np.cos(31 * x * y) for c in range(3)]
    data = _bytes(Image.fromarray(np.stack(waves, axis=2).clip(0, 255).astype(np.uint8)), "JPEG", quality=92)
    whole = Image.open(io.BytesIO(data)).resize((96, 96), Image.Resampling.BICUBIC)
    assert read_rgb(data, 96).size < (1200, 900)
    difference = np.abs(square(data, 96).astype(int) - np.asarray(whole).astype(int))
    assert difference.mean() < 1
    assert difference.max() < 8


def test_the_second_time_nothing_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = _photos(tmp_path, 3)
    first = decoded(photos, 8)
    monkeypatch.setattr(decode, "square", None)
    assert torch.equal(decoded(photos, 8), first)


def test_workers_that_start_together_decode_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, calls = _photos(tmp_path, 4), []
    start = threading.Barrier(3)

    def counted(data: bytes, resolution: int) -> object:
        calls.append(1)
        return square(data, resolution)

    def work() -> None:
        start.wait()
        decoded(photos, 8)

    monkeypatch.setattr(decode, "square", counted)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 4


def test_writing_into_the_pool_does_not_reach_the_cache(tmp_path: Path) -> None:
    photos = _photos(tmp_path, 2)
    before = decoded(photos, 8).clone()
    decoded(photos, 8).zero_()
    assert torch.equal(decoded(photos, 8), before)


@pytest.mark.parametrize("damage", ["cut short", "cut in the header", "empty", "another shape"])
def test_a_torn_cache_file_is_made_again(tmp_path: Path, cache: Path, damage: str) -> None:
    photos = _photos(tmp_path, 3)
    expected = decoded(photos, 8).clone()
    (file,) = (cache / "decoded").glob("*.npy")
    if damage == "another shape":
        np.save(file, np.zeros((2, 8, 8, 3), np.uint8))
    else:
        kept = {"cut short": file.stat().st_size - 1, "cut in the header": 20, "empty": 0}[damage]
        os.truncate(file, kept)
    assert torch.equal(decoded(photos, 8), expected)
    assert np.load(file).shape == (3, 8, 8, 3)


@pytest.mark.parametrize("place", ["the first pixel", "the last pixel", "the footer", "the header"])
def test_a_flipped_bit_in_the_cache_is_decoded_again_with_a_note(
    tmp_path: Path, cache: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    photos = _photos(tmp_path, 3)
    expected = decoded(photos, 8).clone()
    (file,) = (cache / "decoded").glob("*.npy")
    whole = file.read_bytes()
    content, first = bytearray(whole), whole.index(expected.numpy().tobytes())
    places = {"the first pixel": first, "the last pixel": first + expected.numel() - 1, "the footer": -1}
    content[places.get(place, 20)] ^= 1
    file.write_bytes(content)
    note.cache_clear()
    assert torch.equal(decoded(photos, 8), expected)
    assert [record.getMessage() for record in caplog.records if record.name == "pomona"] == [
        f"{file} is damaged or of an earlier version: its photos are decoded again"
    ]
    assert file.read_bytes() == whole


def test_a_photo_that_changed_in_the_meantime_is_an_error_that_leaves_no_array(tmp_path: Path, cache: Path) -> None:
    photos = _photos(tmp_path, 3)
    write_photo(next(iter(photos.values())), "another")
    with pytest.raises(InputError, match="has changed since"):
        decoded(photos, 8)
    assert not [name for name in files_below(cache) if not name.endswith((".lock", "CACHEDIR.TAG"))]


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_the_array_is_an_error_that_leaves_no_array(tmp_path: Path, cache: Path) -> None:
    photos = _photos(tmp_path, 3)
    with _largest_file(1000), pytest.raises(InputError, match="no room"):
        decoded(photos, 64)
    assert not [name for name in files_below(cache) if not name.endswith((".lock", "CACHEDIR.TAG"))]


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_photo(tmp_path / "in the way" / "file.png")
    monkeypatch.setenv("POMONA_CACHE", str(file))
    with pytest.raises(InputError, match="POMONA_CACHE can name another"):
        decoded(_photos(tmp_path / "photos", 2), 8)


def test_progress_counts_up_to_all(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    decoded(_photos(tmp_path, 5), 8, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]


RED, BLUE = (230, 20, 20), (20, 20, 230)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(orientation: int) -> None:
    corners = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "tl", 6: "tr", 7: "br", 8: "bl"}
    image = Image.new("RGB", (40, 40), BLUE)
    image.paste(RED, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = square(_bytes(image, "PNG", exif=exif), 8)
    row = 1 if "t" in corners[orientation] else 6
    column = 1 if "l" in corners[orientation] else 6
    assert tuple(upright[row, column]) == RED
    assert tuple(upright[7 - row, 7 - column]) == BLUE


def test_transparent_parts_become_white() -> None:
    image = _halves(RED, BLUE).convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 20, axis=1).repeat(40, axis=0)))
    for data in (_bytes(image, "PNG"), _bytes(image, "WEBP", lossless=True)):
        picture = square(data, 8)
        assert tuple(picture[4, 1]) == (255, 255, 255)
        assert tuple(picture[4, 6]) == BLUE


def test_palettes_with_and_without_transparency() -> None:
    image = _halves(RED, BLUE).quantize(2)
    assert np.array_equal(square(_bytes(image, "PNG"), 8), square(_bytes(image.convert("RGB"), "PNG"), 8))
    red = image.getpixel((0, 0))
    picture = square(_bytes(image, "PNG", transparency=red), 8)
    assert tuple(picture[4, 1]) == (255, 255, 255)
    assert picture[4, 6, 2] > 200


def test_grey_becomes_three_equal_channels() -> None:
    picture = square(_bytes(_halves(RED, BLUE).convert("L"), "PNG"), 8)
    assert picture.shape == (8, 8, 3)
    assert (picture[..., 0] == picture[..., 1]).all()
    assert (picture[..., 0] == picture[..., 2]).all()


def test_inks_become_colours() -> None:
    picture = square(_bytes(_halves(RED, BLUE).convert("CMYK"), "JPEG", quality=95), 8).astype(int)
    assert np.abs(picture[4, 1] - RED).max() < 30
    assert np.abs(picture[4, 6] - BLUE).max() < 30


def test_sixteen_bits_keep_their_upper_eight() -> None:
    deep = np.repeat(np.array([[0x1234, 0xF0FF]], np.uint16), 8, axis=1).repeat(16, axis=0)
    picture = square(_bytes(Image.fromarray(deep), "PNG"), 16)
    assert tuple(picture[8, 1]) == (0x12,) * 3
    assert tuple(picture[8, 14]) == (0xF0,) * 3


def _bomb() -> bytes:
    """A PNG that says it is 30,000 pixels a side."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no image format"),
        (b"pears are ripe in October", "no image format"),
        (_bytes(NOISE, "JPEG")[:-900], "truncated"),
        (_bytes(NOISE, "PNG")[:-900], "truncated|broken"),
        (_bytes(NOISE, "GIF")[:-900], "truncated|process"),
        (_bomb(), "decompression bomb"),
        (_bytes(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), "floating-point"),
    ],
    ids=["empty", "text", "half a JPEG", "half a PNG", "half a GIF", "bomb", "floats"],
)
def test_what_is_no_whole_picture_has_a_reason(data: bytes, reason: str) -> None:
    problem = why_unreadable(data)
    assert problem is not None
    assert any(word in problem for word in reason.split("|")), problem
    assert "\n" not in problem


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF"])
def test_usual_formats_are_readable(kind: str) -> None:
    assert why_unreadable(_bytes(NOISE, kind)) is None


def test_another_pillow_decodes_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other versions of it, and of the library that reads JPEG, may give other pixels."""
    names = {decoder()}
    for version in ("0.1", "0.2"):
        monkeypatch.setattr("PIL.__version__", version)
        decoder.cache_clear()
        names.add(decoder())
    monkeypatch.undo()
    decoder.cache_clear()
    assert len(names) == 3
    assert decoder() in names
