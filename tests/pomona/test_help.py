"""Every help says all that it should: brackets stay, no option is without a text, one name means one thing."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from pomona.commands.bench import BENCHMARKS

from .conftest import Run
from .every_command import commands, parameters

# What --out, --config and --trial name differs from command to command; that they name it does not.
# `train` takes one value of a dimension, `search` a part of it too.
METAVARS_THAT_DIFFER = {"--out", "--set"}


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("words", [words for words in commands() if words.removeprefix("bench ") not in BENCHMARKS])
def test_help_shows_every_text_as_it_was_written(run: Run, words: str) -> None:
    code, out, _ = run(*words.split(), "--help")
    assert code == 0
    shown, command = squeezed(out), commands()[words]
    for parameter in command.params:
        assert squeezed(parameter.help or "") in shown
        for bracketed in re.findall(r"\[[^\]]*\]", parameter.help or ""):
            assert squeezed(bracketed) in shown
    assert squeezed(command.help or "") in shown
    assert "[bold]" not in out
    # An escape for markup that is not read as markup here.
    assert "\\[" not in out
    assert "\x1b" not in out


def test_defaults_in_brackets_are_there(run: Run) -> None:
    """The example that was lost: rich took `[default: ...]` for markup."""
    assert "[default: checkpoints/TASK-1, ...]" in " ".join(run("train", "--help")[1].split())
    assert "[default: results/studies/journal.log]" in " ".join(run("status", "--help")[1].split())


def test_every_option_and_argument_has_a_text() -> None:
    blank = [(one.command, one.names, one.help) for one in parameters() if len(one.help.split("[default")[0]) < 4]
    assert blank == []


def test_an_option_is_of_one_kind_wherever_it_is() -> None:
    kinds, metavars = defaultdict(set), defaultdict(set)
    for one in parameters():
        for name in one.names:
            kinds[name].add((one.kind, one.repeats))
            if one.metavar:
                metavars[name].add(one.metavar)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}
    differing = {name for name, found in metavars.items() if len(found) > 1}
    assert differing == METAVARS_THAT_DIFFER
    assert kinds["--json"] == {("flag", False)}


def test_what_belongs_to_training_is_not_said_of_answers(run: Run) -> None:
    assert "train." not in run("predict", "--help")[1].split("Options:")[1]


def test_quiet_and_verbose_are_everywhere() -> None:
    for words, command in commands().items():
        if words not in ("data", "bench") and not words.startswith("bench "):
            names = {name for parameter in command.params for name in parameter.opts}
            assert {"-v", "--verbose", "-q", "--quiet"} <= names, words
