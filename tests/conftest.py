"""Settings for every test: reproducible property tests, no cache of the user's own touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The machine that runs the tests may be busy with something else: how long an example takes says nothing.
settings.register_profile(
    "pomona", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("pomona")

# Contracts are classes that test modules subclass; without this their failing asserts would show no values.
pytest.register_assert_rewrite("tests.contracts")


@pytest.fixture(autouse=True, scope="session")
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POMONA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
