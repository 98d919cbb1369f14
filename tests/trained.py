"""Checkpoints of tables and of texts, trained in a moment and in fp32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from search_spaces import BONUS, SMS_SPAM, Choice, Config, Task
from training import Checkpoint, fit, load_checkpoint, open_data

ENCODER: Config = {
    name: value
    for name, value in SMS_SPAM.recipe.items()
    if name not in ("ngram_words", "ngram_chars", "buckets", "embedding_width")
} | {"backbone": "encoder:320", "encoder_layers": 1, "buckets": 4096, "embedding_width": 8}
# A class from two numbers of the table.
LEVEL = replace(
    BONUS,
    name="level",
    metric="accuracy",
    columns=("performance", "projects_completed", "level"),
    recipe=BONUS.recipe | {"backbone": "table:2"},
    space=BONUS.space.replace(backbone=Choice("table:2")),
    target=None,
)


def bonus_checkpoint(folder: Path) -> Checkpoint:
    return _trained(BONUS, BONUS.recipe | {"learning_rate": 0.05}, "generated", folder)


def instants_checkpoint(folder: Path) -> Checkpoint:
    """Of a table with a column of Unix seconds, and a target that is far from zero."""
    rows = [",".join(BONUS.columns)]
    rows += [f"{1_700_000_000 + 7 * n % 600},{n % 9},{n % 5},{10**9 + 3 * (7 * n % 600) + n % 9}" for n in range(90)]
    file = folder.with_suffix(".csv")
    file.write_text("\n".join(rows) + "\n")
    return _trained(BONUS, BONUS.recipe | {"learning_rate": 0.2}, file, folder)


def level_checkpoint(folder: Path) -> Checkpoint:
    rows = ["level,who,projects_completed,performance"]
    rows += [f"{'junior' if number % 7 < 4 else 'senior'},x,{number % 7},{number}" for number in range(60)]
    file = folder.with_suffix(".csv")
    file.write_text("\n".join(rows) + "\n")
    return _trained(LEVEL, LEVEL.recipe | {"learning_rate": 0.05}, file, folder)


def texts_file(file: Path) -> Path:
    """90 short texts, of which a third are spam, one of them very long."""
    spam = ["WIN a free prize now", "call 0900 for your prize £", "Free ringtone!! reply"]
    ham = ["see you", "are you at home?", "ok lar", "ü there", "sorry, later", "call me"]
    lines = [f"spam\t{spam[n % 3]} {n}" for n in range(30)] + [f"ham\t{ham[n % 6]} {n}" for n in range(60)]
    file.write_text("\n".join([*lines, f"ham\t{'so long ' * 60}"]) + "\n")
    return file


def texts_checkpoint(folder: Path, config: Config | None = None) -> Checkpoint:
    file = texts_file(folder.with_suffix(".tsv"))
    rate = {"learning_rate": 0.02, "batch_size": 16}
    return _trained(SMS_SPAM, (config or SMS_SPAM.recipe) | rate, file, folder)


def _trained(task: Task, config: Config, source: str | Path, folder: Path) -> Checkpoint:
    fit(task, task.space.validate(config), open_data(source, task).at(0), epochs=3, checkpoint_to=folder)
    return load_checkpoint(folder)
