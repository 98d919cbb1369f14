from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import InputError
from training.data.published.download import RemoteFile, download, download_folder

from .folders import files_below
from .server import Server, serving

CONTENT = bytes(range(256)) * 4096  # 1 MiB: several reads


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(photos_tgz=CONTENT) as server:
        yield server


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_is_fetched_once_into_the_cache(server: Server, cache: Path, algorithm: str) -> None:
    file = server.file("photos.tgz", algorithm=algorithm, size=len(CONTENT))
    path = download(file)
    assert path == download_folder() / "photos.tgz"
    assert cache in path.parents
    assert path.read_bytes() == CONTENT
    assert download(file) == path
    assert server.asked == [("photos.tgz", None)]


def test_progress_counts_up_to_all_bytes(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download(server.file("photos.tgz"), tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_what_was_interrupted_goes_on(server: Server, tmp_path: Path) -> None:
    file = server.file("photos.tgz")

    def stop(done: int, _: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(file, tmp_path, progress=stop)
    there = (tmp_path / "photos.tgz.part").stat().st_size
    assert 0 < there < len(CONTENT)
    assert not (tmp_path / "photos.tgz").exists()
    seen: list[int] = []
    assert download(file, tmp_path, progress=lambda done, _: seen.append(done)).read_bytes() == CONTENT
    assert server.asked[1:] == [("photos.tgz", f"bytes={there}-")]
    assert seen[0] > there
    assert not (tmp_path / "photos.tgz.part").exists()


def test_a_line_that_drops_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    server.drops = len(CONTENT) // 3
    assert download(server.file("photos.tgz"), tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, *(f"bytes={n * server.drops}-" for n in (1, 2, 3))]


def test_a_line_that_drops_for_good_keeps_what_came(server: Server, tmp_path: Path) -> None:
    server.drops = 1000
    with pytest.raises(InputError, match=r"ended after 5000 bytes.*what has come is kept") as caught:
        download(server.file("photos.tgz"), tmp_path)
    assert (tmp_path / "photos.tgz.part").read_bytes() == CONTENT[:5000]
    assert "\n" not in str(caught.value)
    server.drops = None
    assert download(server.file("photos.tgz"), tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_gives_the_whole_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "photos.tgz.part").write_bytes(CONTENT[:77])
    server.ranges = False
    assert download(server.file("photos.tgz"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path, size: int) -> None:
    (tmp_path / "photos.tgz.part").write_bytes(b"x" * size)
    assert download(server.file("photos.tgz"), tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_whole_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "photos.tgz.part").write_bytes(CONTENT)
    assert download(server.file("photos.tgz"), tmp_path).read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("damage", ["another file", "a damaged part", "another size"])
def test_what_is_not_the_published_file_is_refused_and_removed(server: Server, tmp_path: Path, damage: str) -> None:
    file = server.file("photos.tgz", size=len(CONTENT) + 1 if damage == "another size" else len(CONTENT))
    if damage == "another file":
        server.files["photos.tgz"] = CONTENT[::-1]
    elif damage == "a damaged part":
        (tmp_path / "photos.tgz.part").write_bytes(b"x" * 1000)
    with pytest.raises(InputError, match=r"not the file that was published.*removed.*--data DIR") as caught:
        download(file, tmp_path)
    assert "\n" not in str(caught.value)
    assert [name for name in files_below(tmp_path) if not name.endswith(".lock")] == []


def test_a_wrong_file_put_there_by_hand_is_refused_and_left(server: Server, tmp_path: Path) -> None:
    (tmp_path / "photos.tgz").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"not the published file.*remove it"):
        download(server.file("photos.tgz"), tmp_path)
    assert (tmp_path / "photos.tgz").read_bytes() == b"mine"
    assert server.asked == []


def test_a_right_file_put_there_by_hand_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "photos.tgz").write_bytes(CONTENT)
    download(server.file("photos.tgz"), tmp_path)
    assert server.asked == []


def test_callers_at_the_same_time_download_once(server: Server, tmp_path: Path) -> None:
    file, together = server.file("photos.tgz"), threading.Barrier(4)

    def call(_: int) -> Path:
        together.wait()
        return download(file, tmp_path)

    with ThreadPoolExecutor(4) as pool:
        assert {path.read_bytes() for path in pool.map(call, range(4))} == {CONTENT}
    assert len(server.asked) == 1


def test_offline_says_the_two_ways_out_in_one_line(tmp_path: Path) -> None:
    with serving(photos_tgz=CONTENT) as gone:
        file = gone.file("photos.tgz")
    with pytest.raises(InputError) as caught:
        download(file, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in (file.url, f"into {tmp_path} by hand", "--data DIR"))


def test_mirrors_are_tried_in_order(server: Server, tmp_path: Path) -> None:
    server.files["other.tgz"] = CONTENT[::-1]
    mirrors = tuple(f"{server.address}/{name}" for name in ("other.tgz", "photos.tgz", "never.tgz"))
    file = replace(server.file("photos.tgz"), url=f"{server.address}/photos/gone.tgz", mirrors=mirrors)
    assert download(file, tmp_path) == tmp_path / "gone.tgz"
    assert (tmp_path / "gone.tgz").read_bytes() == CONTENT
    assert [name for name, _ in server.asked] == ["gone.tgz", "other.tgz", "photos.tgz"]


def test_what_one_address_began_another_ends(server: Server, tmp_path: Path) -> None:
    file = replace(server.file("photos.tgz"), mirrors=(f"{server.address}/mirror/photos.tgz",))
    (tmp_path / "photos.tgz.part").write_bytes(CONTENT[:-1000])
    with serving(photos_tgz=CONTENT) as gone:
        file = replace(file, url=gone.file("photos.tgz").url)
    assert download(file, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("photos.tgz", f"bytes={len(CONTENT) - 1000}-")]


def test_where_no_mirror_helps_the_problem_of_the_first_is_told(server: Server, tmp_path: Path) -> None:
    mirrors = (f"{server.address}/a.tgz", f"{server.address}/b.tgz")
    with serving(photos_tgz=CONTENT) as gone:
        file = replace(gone.file("photos.tgz"), mirrors=mirrors)
    with pytest.raises(InputError, match=re.escape(file.url)):
        download(file, tmp_path)
    assert [name for name, _ in server.asked] == ["a.tgz", "b.tgz"]


def test_a_file_without_a_published_checksum_is_resumed_and_taken_as_it_comes(server: Server, tmp_path: Path) -> None:
    file = replace(server.file("photos.tgz"), checksum=None)
    (tmp_path / "photos.tgz.part").write_bytes(CONTENT[:77])
    assert download(file, tmp_path).read_bytes() == CONTENT
    download(file, tmp_path)
    assert server.asked == [("photos.tgz", "bytes=77-")]


def test_a_whole_part_without_a_published_checksum_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "photos.tgz.part").write_bytes(CONTENT)
    assert download(replace(server.file("photos.tgz"), checksum=None), tmp_path).read_bytes() == CONTENT


def test_a_file_that_is_gone(server: Server, tmp_path: Path) -> None:
    file = replace(server.file("photos.tgz"), url=f"{server.address}/nothing.tgz")
    with pytest.raises(InputError, match="404"):
        download(file, tmp_path)


def test_a_folder_that_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        download(server.file("photos.tgz"), tmp_path / "file")


@pytest.mark.parametrize("checksum", ["", "md5:12", "crc:" + "0" * 32])
def test_a_checksum_that_checks_nothing_can_not_be_named(checksum: str) -> None:
    with pytest.raises(AssertionError):
        RemoteFile("http://localhost/x", checksum)
