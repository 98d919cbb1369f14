from __future__ import annotations

import json
from dataclasses import replace

import pytest

from search_spaces import InputError
from studies.settings import Settings

from ..toys import TOY
from .settings import settings_for

SETTINGS = settings_for(TOY)


@pytest.mark.parametrize("file", [None, "/somewhere/my_task.py"])
def test_settings_survive_the_storage(file: str | None) -> None:
    settings = replace(SETTINGS, task_file=file)
    assert Settings.from_json(settings.to_json(), "s") == settings
    assert settings.task_argument == (file or "toy")


def test_studies_from_before_there_were_task_files_go_on() -> None:
    raw = json.loads(SETTINGS.to_json())
    del raw["task_file"]
    assert Settings.from_json(json.dumps(raw), "s") == SETTINGS


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"task"'])
def test_what_is_no_settings_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="another version"):
        Settings.from_json(text, "s")
