"""The contract of modalities for each in the table and for one from outside, and the table itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search_spaces import BONUS, IMAGES, MNIST_MLP, SMS_SPAM, InputError
from training.data import Kind, modality_named, open_data, register
from training.data.modalities import TABLE, modality_for
from training.data.modalities.grey import GreyImages
from training.data.modalities.photos import Photos

from ...contracts.modality import ModalityCase, ModalityContract
from ...sounds import SOUNDS, Sounds, write_sounds
from ...trained import LEVEL, texts_file
from .folders import BARE, TWO_SPLITS, write_folder, write_photo
from .test_idx import folder_of


class TestPhotos(ModalityContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ModalityCase:
        own, other = write_folder(tmp_path / "own", TWO_SPLITS), write_folder(tmp_path / "other", BARE)
        return ModalityCase(IMAGES, str(own), str(other), (write_photo(tmp_path / "new.png"),), resolution=16)


class TestGreyImages(ModalityContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ModalityCase:
        own, other = (folder_of(tmp_path / name, seed=seed) for seed, name in enumerate(("own", "other")))
        return ModalityCase(MNIST_MLP, str(own), str(other), (write_photo(tmp_path / "new.png"),), resolution=28)


class TestTables(ModalityContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ModalityCase:
        rows = tmp_path / "new.csv"
        rows.write_text(",".join(BONUS.columns[:3]) + "\n7,4,5\n1,10,11\n")
        return ModalityCase(BONUS, "generated:1", "generated:2", (rows,), fitted={"mean": torch.zeros(3)})


class TestTablesOfClasses(ModalityContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ModalityCase:
        for shift, name in enumerate(("own.csv", "other.csv")):
            rows = [f"{n % 7},{n + shift},{'junior' if n % 7 < 4 else 'senior'}" for n in range(40)]
            (tmp_path / name).write_text("\n".join([",".join(LEVEL.columns), *rows]) + "\n")
        own, other = (str(tmp_path / name) for name in ("own.csv", "other.csv"))
        return ModalityCase(LEVEL, own, other, (tmp_path / "own.csv",))


class TestTexts(ModalityContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ModalityCase:
        own = texts_file(tmp_path / "own.tsv")
        other = tmp_path / "other.tsv"
        other.write_text(own.read_text() + "ham\tone more\n")
        lines = tmp_path / "new.txt"
        lines.write_text("free prize\nsee you\n")
        return ModalityCase(SMS_SPAM, str(own), str(other), (lines,))


@pytest.fixture
def _sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.modalities.TABLE", [*TABLE])
    register("sound", Sounds())


@pytest.mark.usefixtures("_sounds")
class TestFromOutside(ModalityContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ModalityCase:
        own, other = write_sounds(tmp_path / "own"), write_sounds(tmp_path / "other", 21)
        return ModalityCase(SOUNDS, str(own), str(other), (own / "high" / "0.npy", own / "low" / "3.npy"))


def test_images_are_grey_where_their_source_is(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "mnist")
    for source in (folder, str(folder), "torchvision:MNIST"):
        assert isinstance(modality_for("image", source), GreyImages)
    for other in (tmp_path, "rendered", "rendered:3", f"trust-split:{tmp_path}", "no such folder"):
        assert isinstance(modality_for("image", other), Photos)


def test_a_modality_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^unknown modality 'sound': there are image, tabular, text$"):
        open_data(tmp_path, SOUNDS)


def test_columns_are_those_of_a_table(tmp_path: Path) -> None:
    for task in (replace(IMAGES, columns=("a", "b")), replace(BONUS, columns=())):
        with pytest.raises(InputError, match=r"^columns are those of a table"):
            open_data(tmp_path, task)


@pytest.mark.usefixtures("_sounds")
def test_what_is_registered_again_takes_its_own_place() -> None:
    from training.data import modalities

    lines = len(modalities.TABLE)
    again = Sounds()
    register("sound", again)
    assert len(modalities.TABLE) == lines
    assert modality_named("sound") is again
    # An earlier one of the same name is still there for the sources that it recognises.
    register("image", again)
    assert modality_for("image", "rendered") is again
    assert isinstance(modality_named("image"), Photos)


def test_kinds_say_whether_labels_are_numbers() -> None:
    assert Kind.of(BONUS).numeric
    assert not Kind.of(LEVEL).numeric
