import re
from pathlib import Path

import pytest

from contextkernel.commands.declaration import GRAMMAR
from contextkernel.commands.help import command_help, help_text
from contextkernel.commands.reference import reference
from contextkernel.commands.template_values import functions

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "commands.md"


def test_the_page_is_current():
    assert PAGE.read_text() == reference(), "run: python -m contextkernel.commands.reference docs/reference/commands.md"


def test_the_page_has_every_function():
    for name in functions():
        assert name in reference()


@pytest.mark.parametrize("command", GRAMMAR.commands, ids=lambda command: " ".join(command.path))
def test_every_command_has_help_and_a_section(command):
    text = command_help(command, "docker")
    assert text.startswith("Usage:  docker " + " ".join(command.path))
    assert all(len(line) <= 79 for line in text.splitlines())
    for option in command.options:
        assert bool(re.search(rf"--{option.name}(?![\w-])", text)) is not option.hidden
    assert f"### {' '.join(command.path)}\n" in reference()


def test_every_group_has_help():
    for group in GRAMMAR.groups:
        assert group.summary in help_text((group.name,), "docker")


def test_the_program_s_help_names_every_word():
    text = help_text((), "docker")
    for command in GRAMMAR.commands:
        for words in (command.path, *command.aliases):
            assert f"  {words[0]} " in text
