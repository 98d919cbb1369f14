"""`pomona dashboard`"""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from ..console import note
from .options import Storage


def dashboard(
    study: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="Open at this study; the list of studies otherwise.")
    ] = None,
    storage: Storage = None,
    port: Annotated[int, typer.Option(metavar="PORT", min=1, max=65535, help="The port to listen on.")] = 8080,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse everything that changes a study.")] = False,
) -> None:
    """Open optuna-dashboard on the storage, on this machine only (127.0.0.1). Ctrl-C ends it.

    It answers pages of this machine only: requests for another host name, and changes that another site asks for,
    are refused.

    Example: pomona dashboard fruit-1 --port 8081
    """
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    from optuna_dashboard import wsgi

    from search_spaces import InputError
    from studies import open_storage, open_study

    from ..dashboard_guard import compressed, guarded

    class Threaded(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    address = f"http://127.0.0.1:{port}/"
    if study is not None:
        opened = open_study(study, storage)
        address += f"dashboard/studies/{opened.id}"
        if count := opened.counts().get("interrupted"):
            note(f"shown as running, but interrupted, as nobody runs the study: {count} trial{'s' * (count > 1)}")
    application = guarded(compressed(wsgi(open_storage(storage, require_existing=True))), port, read_only=read_only)
    try:
        server = make_server("127.0.0.1", port, application, Threaded, Quiet)
    except OSError as problem:
        raise InputError(f"port {port} can't be used ({problem.strerror}): choose another with --port") from None
    with server:
        mode = ", read-only" if read_only else ""
        # The note too: who reads it may stop at once.
        with contextlib.suppress(KeyboardInterrupt):
            note(f"optuna-dashboard: {address} (Ctrl-C ends it{mode})")
            server.serve_forever()
