from hypothesis import given
from hypothesis import strategies as st

from pomona.console import _left_out


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
