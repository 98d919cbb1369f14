import pytest

from search_spaces import InputError
from studies.engines import ENGINES, AbstractEngine, InlineEngine, engine_named

from ..contracts.engine import EngineContract


class TestInline(EngineContract):
    @pytest.fixture
    def engine(self) -> AbstractEngine:
        return InlineEngine()


def test_every_engine_is_under_the_contract() -> None:
    assert set(ENGINES) == {"inline"}
    assert isinstance(engine_named("inline"), InlineEngine)
    with pytest.raises(InputError, match="inline"):
        engine_named("cluster")
