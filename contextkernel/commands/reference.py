"""The reference page of the commands, from their declaration: ``python -m contextkernel.commands.reference FILE``."""

from __future__ import annotations

import sys

from contextkernel.commands.declaration import GRAMMAR
from contextkernel.commands.grammar import Command, Option, usage_line
from contextkernel.commands.help import default_note
from contextkernel.commands.tables import HEADERS

_HEAD = """\
# Commands

<!-- Generated: python -m contextkernel.commands.reference docs/reference/commands.md -->

The same words work on a terminal (`contextkernel run ...`), in a notebook (`%container run ...`) and, after
`%load_ext contextkernel.docker`, as `%docker run ...`. Names and options are docker's; a command that docker does
not have says so.

Options follow docker's rules: `--flag value`, `--flag=value`, `-f value`, `-fvalue`, letters together (`-aq`),
`--flag=false` to switch one off, and `--` to end them. `run` takes no option of its own after the image. Options
marked with \\* may be given several times.
"""
_FORMAT = """\
## Formats

`--format` takes `json` (one object for each row; one array for `inspect`) or a Go template: `{{.Field}}`,
`{{.Config.Env}}`, `{{json .X}}`, `{{index .X 0}}`, `{{range .X}}...{{else}}...{{end}}`,
`{{if .X}}...{{else if .Y}}...{{end}}`, `{{with .X}}...{{end}}`, variables, pipes, parentheses, trim markers, and the
functions `and eq ge gt index join json le len lower lt ne not or pad print printf println slice split title truncate
upper`. Tables take `table TEMPLATE` too, which adds the headings; there `\\t` and `\\n` may be spelt out.

Fields of the tables:

| Table | Fields |
|---|---|
"""
_EXIT = """\
## Exit codes

| Code | Meaning |
|---|---|
| 0 | done |
| 1 | failed; for several names: at least one of them |
| 64 | a `--format` template that is none |
| 125 | `run`: the container could not be set up; any command: an option or value that does not fit |
| 126 | `run`: the command cannot be executed |
| 127 | `run`: the command does not exist |
| 128+n | `run`: signal n ended the command; 130 also stands for an interrupted command line |
| other | `run`, `start -a`: the command's own |
"""


def reference() -> str:
    """The whole page as Markdown."""
    parts = [_HEAD, "## Global options\n\n" + _options(GRAMMAR.globals)]
    groups: dict[str, list[Command]] = {"image": [], "container": []}
    for command in GRAMMAR.commands:
        groups.setdefault(command.path[0] if len(command.path) > 1 else "", []).append(command)
    titles = {"": "Other commands", "image": "Images", "container": "Containers", "base": "Base images"}
    for name, commands in groups.items():
        if commands:
            parts.append(f"## {titles.get(name, name.capitalize())}\n")
            parts += [_command(command) for command in sorted(commands, key=lambda command: command.path)]
    rows = "".join(f"| {kind} | {' '.join(f'`.{field}`' for field in fields)} |\n" for kind, fields in HEADERS.items())
    parts += [_FORMAT + rows, _EXIT]
    return "\n".join(parts)


def _command(command: Command) -> str:
    parts = [
        f"### {' '.join(command.path)}\n",
        f"{command.summary}.",
        f"\n```\n{usage_line(command, 'contextkernel')}\n```\n",
    ]
    if command.description:
        parts.append(command.description + "\n")
    if command.aliases:
        parts.append("Also: " + ", ".join(f"`{' '.join(words)}`" for words in command.aliases) + "\n")
    if any(not option.hidden for option in command.options):
        parts.append(_options(command.options))
    return "\n".join(parts)


def _options(options: tuple[Option, ...]) -> str:
    rows = [
        f"| {_name(option)} | {_escaped(option.help + default_note(option))} |"
        for option in sorted(options, key=lambda option: option.name)
        if not option.hidden
    ]
    return "\n".join(("| Option | Meaning |", "|---|---|", *rows)) + "\n"


def _name(option: Option) -> str:
    metavar = f" {option.metavar}" if option.kind != "bool" else ""
    return f"`{option.shown}{metavar}`" + (" \\*" if option.kind == "list" else "")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as page:
        page.write(reference())
