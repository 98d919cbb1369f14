"""A web server on this machine, as good or as bad as a test needs it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from training.data import idx
from training.data.published.download import RemoteFile


@dataclass
class Server:
    """`files` by name; `ranges` whether parts are served; `drops` after how many bytes of a body the line drops."""

    files: dict[str, bytes]
    address: str = ""
    ranges: bool = True
    drops: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Of each request, the name and the range."""

    def file(self, name: str, *, algorithm: str = "sha256", size: int | None = None) -> RemoteFile:
        checksum = hashlib.new(algorithm, self.files[name]).hexdigest()
        return RemoteFile(f"{self.address}/some/where/{name}", f"{algorithm}:{checksum}", size)


@contextmanager
def serving(**files: bytes) -> Iterator[Server]:
    """`a_tgz=b"..."` is served as `a.tgz`."""
    site = Server({name.replace("_", "."): content for name, content in files.items()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            wanted = self.headers.get("Range")
            site.asked.append((name, wanted))
            content = site.files.get(name)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and site.ranges else 0
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            # HTTP/1.0: the connection ends with the body, however short it is.
            self.wfile.write(content[start:][: site.drops])

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving_idx(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "MNIST") -> Iterator[Server]:
    """Serves the packed files of `folder` in the place of those that are published as `kind`."""
    monkeypatch.setenv("no_proxy", "*")
    with serving() as site:
        contents = {path.name: path.read_bytes() for path in idx.idx_files(folder, kind)}
        site.files.update(contents)
        told = tuple((hashlib.md5(content).hexdigest(), len(content)) for content in contents.values())
        monkeypatch.setitem(idx._PUBLISHED, kind, told)
        monkeypatch.setitem(idx._MIRRORS, kind, (f"{site.address}/some/where/",))
        yield site
