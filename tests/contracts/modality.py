"""What every modality promises, whatever its examples are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from search_spaces import InputError, Task
from training.data import Kind, Split, modality_named, open_again, open_data, open_labelled, shifted, unlabelled
from training.data.modalities import ModelInput, modality_for
from training.data.previews import Lines, Numbers, Pictures


@dataclass(frozen=True)
class ModalityCase:
    """A task with data for it, the side of its images (0 where it has none), and files without labels.

    `fitted` is what the first stage of its models has learnt from the data; `changed` is a source of the same kind with
    other examples.
    """

    task: Task
    source: str
    changed: str
    files: tuple[Path, ...]
    resolution: int = 0
    fitted: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return Kind.of(self.task)


class ModalityContract:
    """For a class with a fixture `case` that gives a `ModalityCase`."""

    def test_opened_again_it_is_the_same_data(self, case: ModalityCase) -> None:
        data = open_data(case.source, case.task)
        again = open_again(data.location, data.classes, case.kind)
        assert (again.fingerprint, again.source, again.classes) == (data.fingerprint, data.source, data.classes)
        assert open_data(case.changed, case.task).fingerprint != data.fingerprint
        with pytest.raises(InputError, match="had the classes"):
            open_again(data.location, ("another", "class"), case.kind)

    def test_splits_hold_what_is_counted_and_share_nothing(self, case: ModalityCase) -> None:
        data = open_data(case.source, case.task, seed=1)
        splits = data.at(case.resolution)
        found = {name: split for name in ("train", "valid", "test") if (split := splits.named(name)) is not None}
        assert {name: sum(counts.values()) for name, counts in data.counts.items()} == {
            name: len(split) for name, split in found.items()
        }
        rows = [row for split in found.values() for row in split.rows.tolist()]
        assert len(rows) == len(set(rows))
        for split in found.values():
            assert len(split.names) == len(split.keys) == len(split)
            assert split.identities is not None
        assert splits.classes == data.classes
        assert data.fingerprint in data.summary()
        assert "\n" not in data.summary()

    def test_the_seed_decides_a_split_that_the_data_does_not(self, case: ModalityCase) -> None:
        one, same, other = (
            open_data(case.source, case.task, seed=seed).at(case.resolution).valid for seed in (1, 1, 2)
        )
        assert one.names == same.names
        assert torch.equal(one.labels, same.labels)
        assert len(one) == len(other)

    def test_labelled_examples_are_those_of_the_data(self, case: ModalityCase) -> None:
        data = open_data(case.source, case.task)
        splits = data.at(case.resolution)
        found = open_labelled(data.location, data.classes, case.kind, None, case.resolution)
        assert found.split in ("", "valid")
        wanted = [splits.valid] if found.split else [splits.train, splits.valid]
        assert sorted(_identities(found.examples)) == sorted(row for split in wanted for row in _identities(split))

    def test_previews_show_the_examples_that_are_asked_for(self, case: ModalityCase) -> None:
        modality = modality_named(case.task.modality)
        splits = open_data(case.source, case.task).at(case.resolution)
        for index in (torch.tensor([3, 0]), torch.tensor([], dtype=torch.int64)):
            shown = modality.preview(splits.train, index, splits.classes, case.task.columns)
            match shown:
                case Pictures(images, keys):
                    assert len(images) == len(keys) == len(index)
                    assert images.dtype == torch.float32
                    assert not len(images) or 0 <= images.min() <= images.max() <= 1
                case Lines(headings, rows):
                    assert len(rows) == len(index)
                    assert all(len(row) == len(headings) for row in rows)
                case Numbers() as numbers:
                    assert len(numbers.features) == len(numbers.target) == len(index)
                    assert len(numbers.names) == numbers.features.shape[1] + 1
                    assert len(numbers.targets) == len(splits.train)
        assert splits.train.names[0] in modality.described(splits.train, 0, case.task.columns)
        usual, most = modality.preview_size
        assert 0 < usual <= most

    def test_examples_as_others_would_bring_them_are_the_same_examples(self, case: ModalityCase) -> None:
        splits = open_data(case.source, case.task).at(case.resolution)
        valid, index = splits.valid, torch.arange(3)
        forms = shifted(splits, case.task.modality)
        keys = [key for form in (valid, *forms) for key in set(form.keys)]
        assert len(keys) == len(set(keys))
        for form in forms:
            inputs, labels = form.take(index)
            assert torch.equal(form.labels, valid.labels)
            assert torch.equal(labels, valid.labels[index])
            assert (inputs.shape, inputs.dtype) == (valid.take(index)[0].shape, valid.inputs.dtype)
            assert torch.equal(inputs, form.take(index)[0])

    def test_an_exported_model_takes_what_a_client_reads(self, case: ModalityCase) -> None:
        modality = modality_named(case.task.modality)
        valid = open_data(case.source, case.task).at(case.resolution).valid
        model = ModelInput(case.resolution, (0.5,) * 3, (0.5,) * 3, case.fitted)
        signature = modality.signature(case.kind, model)
        sample = modality.export_sample(valid.subset(torch.arange(len(valid)) < 3), case.resolution)
        inputs, labels = sample.take(torch.arange(len(sample)))
        assert labels.tolist() == valid.labels[:3].tolist()
        read, names = unlabelled(case.kind, case.files, case.resolution)
        assert len(read) == len(names) > 0
        for examples in (inputs, read):
            assert examples.shape[1:] == signature.shape
            assert examples.dtype == signature.dtype
        assert modality.inputs_text(signature, case.task.columns)
        assert "\n" not in modality.inputs_text(signature, case.task.columns)

    def test_what_is_missing_is_an_error_of_one_line(self, case: ModalityCase, tmp_path: Path) -> None:
        missing = tmp_path / "missing"
        for attempt in (
            lambda: open_data(missing, case.task),
            lambda: open_data(str(missing), case.task),
            lambda: open_labelled(str(missing), ("a", "b"), case.kind, None, case.resolution),
            lambda: unlabelled(case.kind, [missing], case.resolution),
        ):
            with pytest.raises(InputError) as caught:
                attempt()
            assert "\n" not in str(caught.value)
            assert "missing" in str(caught.value)
        assert "--data" in modality_for(case.task.modality, missing).wanted(case.task)


def _identities(split: Split) -> list[int]:
    assert split.identities is not None
    return split.identities.tolist()
