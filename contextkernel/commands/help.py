"""Help texts from the declaration, in docker's layout."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from contextkernel.commands.declaration import GRAMMAR
from contextkernel.commands.grammar import Command, Option, usage_line, usage_problem

_WIDTH = 79

# docker's order
_COMMON = ("run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search")


def help_text(words: Sequence[str], program: str) -> str:
    """The help text for a command, a group or, without words, the program.

    Args:
        words: as in ``help WORDS...``.
        program: how the user calls us.

    Raises:
        UsageProblem: there is no such command.
    """
    if not words:
        return _program_help(program)
    if GRAMMAR.lookup(words) is None and len(words) == 1 and GRAMMAR.group(words[0]) is not None:
        return _group_help(words[0], program)
    command, length = GRAMMAR.find(words, program)
    if len(words) > length:
        raise usage_problem(f"unknown help topic: {' '.join(words)}", more=f"see {program} --help", exit_code=1)
    return command_help(command, program, tuple(words[:length]))


def command_help(command: Command, program: str, called: tuple[str, ...] = ()) -> str:
    """The help text of one command, as called by ``called``."""
    parts = [f"Usage:  {usage_line(command, program, called)}", command.summary]
    if command.description:
        parts.append(_wrapped(command.description.replace("`", ""), 0))
    names = [" ".join((program, *words)) for words in (command.path, *command.aliases)]
    if len(names) > 1:
        parts.append("Aliases:\n" + _wrapped(", ".join(names), 2))
    options = option_lines(command.options)
    if options:
        parts.append("Options:\n" + "\n".join(options))
    return "\n\n".join(parts) + "\n"


def cell_help(command: Command, program: str) -> str:
    """The help text of ``build`` where the Dockerfile is a cell: no word for the command, and the context is optional.

    Args:
        command: ``build``.
        program: ``%%dockerfile``.
    """
    return command_help(replace(command, arguments=f"[{command.arguments}]", aliases=()), program, ("",))


def option_lines(options: Sequence[Option], width: int = _WIDTH) -> list[str]:
    """The options as docker lists them: sorted, one column of names, one of wrapped descriptions."""
    shown = sorted((option for option in options if not option.hidden), key=lambda option: option.name)
    names = []
    for option in shown:
        short = f"-{option.short}, " if option.short else "    "
        metavar = f" {option.metavar}" if option.kind != "bool" else ""
        names.append(f"  {short}--{option.name}{metavar}")
    column = max((len(name) for name in names), default=0) + 3
    lines: list[str] = []
    for name, option in zip(names, shown, strict=True):
        text = _wrapped(option.help + default_note(option), column, width)
        lines += (name + text[len(name) :]).split("\n")
    return lines


def default_note(option: Option) -> str:
    """`` (default "auto")`` as docker shows it."""
    if not option.default:
        return ""
    return f' (default "{option.default}")' if option.kind == "string" else f" (default {option.default})"


def _wrapped(text: str, indent: int, width: int = _WIDTH) -> str:
    from textwrap import fill

    blank = " " * indent
    return fill(
        text, width, initial_indent=blank, subsequent_indent=blank, break_long_words=False, break_on_hyphens=False
    )


def _table(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:{width}}   {summary}" for name, summary in rows)


def _group_help(name: str, program: str) -> str:
    group = GRAMMAR.group(name)
    summary = group.summary if group else ""
    rows = []
    for command in GRAMMAR.commands:
        words = [words for words in (command.path, *command.aliases) if words[0] == name and len(words) > 1]
        if words:
            rows.append((words[0][1], command.summary))
    return (
        f"Usage:  {program} {name} COMMAND\n\n{summary}\n\nCommands:\n{_table(sorted(rows))}\n\n"
        f"Run '{program} {name} COMMAND --help' for more information on a command.\n"
    )


def _program_help(program: str) -> str:
    commands: dict[str, list[tuple[str, str]]] = {"Common Commands": [], "Commands": []}
    for command in GRAMMAR.commands:
        short = [words for words in (command.path, *command.aliases) if len(words) == 1]
        if short:
            commands[command.group].append((short[0][0], command.summary))
    common = commands["Common Commands"]
    common.sort(key=lambda row: _COMMON.index(row[0]))
    groups = [(group.name, group.summary) for group in GRAMMAR.groups]
    parts = [
        f"Usage:  {program} [OPTIONS] COMMAND",
        "Build, run and look into containers, beside a Jupyter kernel or on a terminal: no daemon, no root",
        f"Common Commands:\n{_table(common)}",
        f"Management Commands:\n{_table(groups)}",
        f"Commands:\n{_table(sorted(commands['Commands']))}",
        "Global Options:\n" + "\n".join(option_lines(GRAMMAR.globals)),
        f"Run '{program} COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(parts) + "\n"
