"""Studies on a database server for a while, straight and through Optuna's gRPC proxy in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import uuid
from collections.abc import Iterator

import optuna

from search_spaces import Config
from studies import Study, delete_study, open_storage
from studies.creation import stored_study
from studies.database import database_of
from studies.patience import Patience
from studies.sampling import experimental
from studies.settings import Settings

_HOST = "localhost"
_START_SECONDS = 60.0


@contextlib.contextmanager
def kept_for_a_while(url: str, settings: Settings, recipe: Config) -> Iterator[Study]:
    """A new study of a name that nobody has; it is gone afterwards."""
    study = Study.create(f"scaling-{uuid.uuid4().hex[:8]}", url, settings, recipe)
    try:
        yield study
    finally:
        delete_study(study.name, url)


def server_version(study: Study) -> str:
    """The version of the database server that keeps a study."""
    found = database_of(study._study._storage).engine.dialect.server_version_info
    return ".".join(map(str, found or ()))


@contextlib.contextmanager
def proxied(url: str) -> Iterator[optuna.storages.BaseStorage]:
    """The storage at `url` behind a proxy, whose server is another process as it would be on another machine."""
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = free.getsockname()[1]
    # Not forked: gRPC and drivers have threads.
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(url, port), daemon=True)
    server.start()
    try:
        with experimental():
            proxy = optuna.storages.GrpcStorageProxy(host=_HOST, port=port)
        proxy.wait_server_ready(_START_SECONDS)
        try:
            yield proxy
        finally:
            proxy.close()
    finally:
        server.terminate()
        server.join()


def opened(name: str, storage: optuna.storages.BaseStorage, url: str) -> Study:
    """A study in a storage that is open; `url` says where its files would be."""
    return Study(*stored_study(name, storage), url, Patience())


def _serve(url: str, port: int) -> None:
    # With Optuna's cache before the database, as any other user of one has it.
    storage = optuna.storages.get_storage(open_storage(url, require_existing=True))
    with experimental():
        optuna.storages.run_grpc_proxy_server(storage, host=_HOST, port=port)
