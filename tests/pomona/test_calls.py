from __future__ import annotations

from pathlib import Path

import numpy as np

from pomona.calls import call_text
from search_spaces import Part


def test_a_call_is_text_that_makes_the_same_call() -> None:
    made: list[tuple[tuple[object, ...], dict[str, object]]] = []

    class pomona:
        @staticmethod
        def search(*arguments: object, **named: object) -> None:
            made.append((arguments, named))

    text = call_text(
        "search",
        "bonus",
        data=Path("my data") / "it's.csv",
        trials=np.int64(3),
        timeout=None,
        fixed={"dropout": np.float64(0.1), "backbone": "toy", "views": True},
        folders=[Path("a"), "b"],
    )
    eval(text, {"pomona": pomona})
    assert made == [
        (
            ("bonus",),
            {
                "data": "my data/it's.csv",
                "trials": 3,
                "fixed": {"dropout": 0.1, "backbone": "toy", "views": True},
                "folders": ["a", "b"],
            },
        )
    ]
    assert call_text("resume", "s", trials=5, storage=None) == "pomona.resume('s', trials=5)"


def test_parts_of_dimensions_are_text_as_they_were_given() -> None:
    fixed = {"dropout": Part(range=(0.1, np.float64(0.2))), "backbone": Part(options=("a", "b"))}
    assert call_text("search", "x", fixed=fixed) == (
        "pomona.search('x', fixed={'dropout': (0.1, 0.2), 'backbone': ['a', 'b']})"
    )


def test_a_password_is_not_kept() -> None:
    text = call_text("resume", "s", storage="postgresql://me:secret@host/name", trials=3)
    assert text == "pomona.resume('s', storage='postgresql://me:***@host/name', trials=3)"
