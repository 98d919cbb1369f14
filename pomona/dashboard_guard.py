"""Around optuna-dashboard: who may talk to it (browsers on this machine, and nobody else), and how much is sent.

optuna-dashboard has no passwords and deletes a study on one request. Listening on 127.0.0.1 does not protect it from
the user's own browser: a page from elsewhere can send it requests (cross-site request forgery), and a host name that an
attacker first points at a server of theirs and then at 127.0.0.1 makes its answers readable too (DNS rebinding).
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_READING = ("GET", "HEAD", "OPTIONS")
# What a browser says of a request that the shown page itself made, or that the user typed or bookmarked.
_OWN_SITE = ("same-origin", "none")


def guarded(application: Application, port: int, *, read_only: bool = False) -> Application:
    """`application` (WSGI) for requests to this machine by its own pages; the others are answered with 403.

    Requests must name this machine as their host. Those that write must come from a page of this address, where the
    client says what page that is (browsers do); with `read_only` none of them is let through.
    """
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    if port == 80:
        hosts |= {"127.0.0.1", "localhost", "[::1]"}

    def guard(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        refusal = _refusal(environ, hosts, read_only=read_only)
        if refusal is None:
            return application(environ, start_response)
        body = f"{refusal}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response("403 Forbidden", headers)
        return [body]

    return guard


def _refusal(environ: dict[str, Any], hosts: set[str], *, read_only: bool) -> str | None:
    if str(environ.get("HTTP_HOST", "")).lower() not in hosts:
        return "This dashboard answers requests to 127.0.0.1 and localhost only."
    if environ["REQUEST_METHOD"] in _READING:
        return None
    if read_only:
        return "This dashboard is read-only: start it without --read-only to change studies."
    if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in _OWN_SITE:
        return "This dashboard takes no changes from other sites."
    for header in ("HTTP_ORIGIN", "HTTP_REFERER"):
        if (page := environ.get(header)) is not None:
            parts = urlsplit(page)
            own = parts.scheme == "http" and parts.netloc.lower() in hosts
            return None if own else "This dashboard takes no changes from other sites."
    return None


# What is smaller than this is sent as it is.
_WORTH_COMPRESSING = 64 * 1024


def compressed(application: Application) -> Application:
    """`application` (WSGI) with large answers in gzip where the client takes it.

    optuna-dashboard repeats the distribution of every parameter in every trial: the page of a study of 10,000 trials
    is some 50 MB, which shrinks to a fiftieth.
    """

    def compress(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "gzip" not in environ.get("HTTP_ACCEPT_ENCODING", ""):
            return application(environ, start_response)
        begun: list[Any] = []

        def keep(status: str, headers: list[tuple[str, str]], problem: Any = None) -> None:
            begun[:] = [status, headers, problem]

        answer = application(environ, keep)
        try:
            body = b"".join(answer)
        finally:
            if callable(close := getattr(answer, "close", None)):
                close()
        status, headers, problem = begun
        names = {name.lower() for name, _ in headers}
        if len(body) >= _WORTH_COMPRESSING and "content-encoding" not in names:
            body = gzip.compress(body, compresslevel=1)
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
            headers += [("Content-Encoding", "gzip"), ("Content-Length", str(len(body))), ("Vary", "Accept-Encoding")]
        start_response(status, headers, *([problem] if problem else []))
        return [body]

    return compress
