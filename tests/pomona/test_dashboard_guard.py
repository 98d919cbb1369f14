"""Only this machine's own pages reach the dashboard."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from typing import Any

import pytest

from pomona.dashboard_guard import compressed, guarded

PORT = 8080


def _inner(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"reached"]


def _status(method: str, *, read_only: bool = False, host: str | None = f"127.0.0.1:{PORT}", **headers: str) -> str:
    environ = {"REQUEST_METHOD": method, **{f"HTTP_{name.upper()}": value for name, value in headers.items()}}
    if host is not None:
        environ["HTTP_HOST"] = host
    statuses: list[str] = []

    def start_response(status: str, _headers: list[tuple[str, str]]) -> None:
        statuses.append(status)

    body = b"".join(guarded(_inner, PORT, read_only=read_only)(environ, start_response))
    assert (body == b"reached") == (statuses == ["200 OK"])
    return statuses[0][:3]


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"LOCALHOST:{PORT}", f"[::1]:{PORT}"])
def test_this_machine_is_answered(host: str) -> None:
    assert _status("GET", host=host) == "200"


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", f"127.0.0.1.evil.example:{PORT}", "127.0.0.1:9", "127.0.0.1", None]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_other_host_names_are_refused(method: str, host: str | None) -> None:
    assert _status(method, host=host) == "403"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"origin": "http://127.0.0.1:9"},
        {"origin": "null"},
        {"referer": "http://evil.example/page"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": f"http://127.0.0.1:{PORT}"},
    ],
    ids=str,
)
def test_other_sites_may_not_write(method: str, headers: dict[str, str]) -> None:
    assert _status(method, **headers) == "403"


@pytest.mark.parametrize(
    "headers",
    [
        {},  # curl
        {"origin": f"http://127.0.0.1:{PORT}", "sec_fetch_site": "same-origin"},
        {"origin": f"http://localhost:{PORT}", "host": f"localhost:{PORT}"},
        {"referer": f"http://127.0.0.1:{PORT}/dashboard/studies/0"},
    ],
    ids=str,
)
def test_its_own_page_and_programs_may_write_unless_it_is_read_only(headers: dict[str, str]) -> None:
    assert _status("DELETE", **headers) == "200"
    assert _status("DELETE", read_only=True, **headers) == "403"
    assert _status("GET", read_only=True, **headers) == "200"


@pytest.mark.parametrize(
    ("size", "accepts", "smaller"), [(200_000, "gzip, br", True), (200_000, "", False), (10, "gzip", False)]
)
def test_large_answers_travel_compressed_where_the_client_can_read_that(size: int, accepts: str, smaller: bool) -> None:
    body = b"x" * size

    def application(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(size)), ("Content-Type", "application/json")])
        return [body]

    sent: dict[str, str] = {}

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        assert status == "200 OK"
        sent.update(headers)

    answer = b"".join(compressed(application)({"HTTP_ACCEPT_ENCODING": accepts}, start_response))
    assert int(sent["Content-Length"]) == len(answer)
    assert (len(answer) < size) == smaller
    assert (gzip.decompress(answer) if smaller else answer) == body
    assert (sent.get("Content-Encoding") == "gzip") == smaller
