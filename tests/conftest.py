"""Settings for every test: reproducible property tests, no cache of the user's own touched."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

from training.machine.process import configure

# The machine that runs the tests may be busy with something else: how long an example takes says nothing. CI looks at
# more examples than somebody who waits for an answer wants to.
for _profile, _examples in (("quick", 25), ("thorough", 75)):
    settings.register_profile(
        _profile, max_examples=_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# Contracts are classes that test modules subclass; without this their failing asserts would show no values.
pytest.register_assert_rewrite("tests.contracts")


@pytest.fixture(autouse=True, scope="session")
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POMONA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _configured() -> None:
    """As every entry point does: the tests run in a process like that of a command."""
    configure()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small tensors gain nothing from a second thread, and on a busy machine wait for it: minutes, all in all."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
