import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomona.console import _left_out, print_table


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 30), max_size=8),
    st.integers(1, 150),
)
def test_what_stays_fits_and_nothing_is_left_out_for_nothing(widths: dict[str, int], room: int) -> None:
    expendable = sorted(widths)[: len(widths) // 2]
    gone = _left_out(widths, expendable, room)
    assert set(gone) <= set(expendable)
    width = sum(column + 2 for heading, column in widths.items() if heading not in gone)
    if width > room:
        assert gone == expendable  # there was no more to leave out
    assert all(width + widths[heading] + 2 > room for heading in gone)


def test_a_pipe_gets_every_column_in_one_line_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    headings = ["", *(f"kind of flower {number}" for number in range(102))]
    rows = [[name, *(f"{name}/{number}" for number in range(102))] for name in headings[1:4]]
    assert print_table(headings, rows, expendable=headings[50:]) == []
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [re.split("  +", line) for line in lines] == [headings, *rows]
