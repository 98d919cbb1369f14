from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.variants import groups_by_name, is_variant, leaks, original_of

PREFIXES = (
    "rotated_by_15_",
    "rotated_by_30_",
    "rotated_by_45_",
    "rotated_by_60_",
    "rotated_by_75_",
    "saltandpepper_",
    "translation_",
    "vertical_flip_",
)
SHOT = "Screen Shot 2018-06-08 at 4.59.36 PM"

ORDER = ("train", "valid", "test")

prefixes = st.sampled_from(PREFIXES)
plain = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: not is_variant(f"{text}.png") and not text.startswith(".")
)
files = st.lists(
    st.tuples(
        st.sampled_from(["", *PREFIXES]),
        st.sampled_from("abc"),
        st.sampled_from(["apple", "pear"]),
        st.sampled_from(ORDER),
    ),
    unique=True,
)


@given(st.lists(prefixes, max_size=3), plain, st.sampled_from([".png", ".jpg", ".JPEG"]))
def test_prefixes_and_ending_come_off_and_nothing_else(before: list[str], name: str, ending: str) -> None:
    assert original_of("".join(before) + name + ending) == original_of(f"{name}.png") == name
    assert is_variant("".join(before) + name + ending) == bool(before)


@given(st.text(min_size=1, max_size=30).filter(lambda text: "/" not in text))
def test_an_original_has_no_original_but_itself(name: str) -> None:
    original = original_of(f"{name}.png")
    assert original_of(f"{original}.png") == original
    assert name.endswith(original)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_names_of_the_archive(prefix: str) -> None:
    assert original_of(f"{prefix}{SHOT}.png") == SHOT


@pytest.mark.parametrize(
    "name", ["rotated_by_15_.png", "rotated_by_.png", "translations_1.png", "my_translation_1.png", "rotated_1.png"]
)
def test_names_that_only_look_like_it(name: str) -> None:
    assert not is_variant(name)


def _groups(cases: list[tuple[str, str, str, str]]) -> list[str]:
    return groups_by_name(
        [f"{prefix}{name}.png" for prefix, name, _, _ in cases],
        [label for _, _, label, _ in cases],
        [split for *_, split in cases],
    )


@given(files)
def test_files_are_in_one_group_exactly_if_one_shows_the_other_altered(cases: list[tuple[str, str, str, str]]) -> None:
    members = defaultdict(list)
    for group, (prefix, name, label, split) in zip(_groups(cases), cases, strict=True):
        numbered_anew = len({s for p, n, la, s in cases if not p and (n, la) == (name, label)}) > 1
        members[name, label, split if numbered_anew else ""].append((group, prefix))
    for (name, label, split), of_photo in members.items():
        together = len(of_photo) > 1 and any(prefix for _, prefix in of_photo)
        photo = f"{split}/{label}/{name}".removeprefix("/")
        assert {group for group, _ in of_photo} == {photo if together else ""}


@given(files)
def test_the_order_of_files_does_not_matter(cases: list[tuple[str, str, str, str]]) -> None:
    assert _groups(cases[::-1]) == _groups(cases)[::-1]


def test_equal_names_with_other_endings_are_no_copies() -> None:
    assert groups_by_name(["1.png", "1.jpg", "translation_2.jpg", "2.png"], ["a"] * 4, [""] * 4) == [
        "",
        "",
        "a/2",
        "a/2",
    ]


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.sampled_from(ORDER))))
def test_a_photo_leaks_if_its_group_is_in_a_split_before(photos: list[tuple[str, str]]) -> None:
    groups, splits = [group for group, _ in photos], [split for _, split in photos]
    before = {"train": (), "valid": ("train",), "test": ("train", "valid")}
    expected = {
        split: sum(1 for g, s in photos if s == split and g and any((g, b) in photos for b in before[split]))
        for split in ORDER
    }
    assert leaks(groups, splits, ORDER) == {split: count for split, count in expected.items() if count}
