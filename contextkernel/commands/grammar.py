"""Words to a typed command line: pflag's rules (the flag library of docker's command line), over a declared table.

The table itself is in :mod:`contextkernel.commands.declaration`. Pure: nothing here knows what a command does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from contextkernel.errors import UsageProblem
from contextkernel.model.booleans import parse_bool

OptionKind = Literal["bool", "string", "int", "list"]
Subject = Literal[
    "image",
    "container",
    "running",
    "object",
    "file",
    "directory",
    "base",
    "build",
    "command",
    "network",
    "registry",
    "volume",
    "",
]


class Option(Struct, frozen=True, kw_only=True):
    """One option.

    Attributes:
        name: long name without dashes.
        short: one letter, or empty.
        kind: ``list`` may be given several times; ``bool`` needs no value.
        metavar: word that stands for the value in the help text, docker's (``string``, ``list``, ``int``, ``filter``).
        default: value when it is not given, shown in the help text when not empty; a bool is false by default.
        choices: the only values that are accepted, if any.
        hidden: accepted for docker's sake, not shown.
    """

    name: str
    short: str = ""
    kind: OptionKind = "bool"
    metavar: str = ""
    help: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    hidden: bool = False

    @property
    def shown(self) -> str:
        """The option as docker's messages name it: ``-d, --detach``."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Command(Struct, frozen=True, kw_only=True):
    """One command.

    Attributes:
        path: the words that call it: ``("image", "ls")``.
        aliases: other words for the same.
        arguments: what follows the options in the usage line: ``IMAGE [COMMAND] [ARG...]``.
        summary: one sentence without a full stop.
        description: more of it, for the help text and the reference page; may be empty.
        options: its options.
        minimum, maximum: how many arguments it takes; ``None`` for any number.
        interspersed: options may come after arguments (``run`` and its kin stop at the first argument).
        subjects: what each argument names, for completion; the last one repeats.
        verb: name of the function that carries it out, ``module:function`` in this package.
        group: heading in the top-level help.
    """

    path: tuple[str, ...]
    aliases: tuple[tuple[str, ...], ...] = ()
    arguments: str = ""
    summary: str
    description: str = ""
    options: tuple[Option, ...] = ()
    minimum: int = 0
    maximum: int | None = None
    interspersed: bool = True
    subjects: tuple[Subject, ...] = ()
    verb: str
    group: str = "Commands"

    def option(self, name: str) -> Option | None:
        """The option with this long name."""
        return next((option for option in self.options if option.name == name), None)


class Group(Struct, frozen=True, kw_only=True):
    """A word under which commands are gathered: ``image``, ``container``, ``system``."""

    name: str
    summary: str


class Parsed(Struct, frozen=True, kw_only=True):
    """A command line that fits the grammar.

    Attributes:
        command: what was called.
        called: the words it was called by.
        values: option name to value(s) as text; only given options.
        arguments: what is left.
        help: ``--help`` was given; then nothing else was checked.
    """

    command: Command
    called: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]
    arguments: tuple[str, ...]
    help: bool = False

    def given(self, name: str) -> bool:
        """Whether the option is there, with any value."""
        return name in self.values

    def flag(self, name: str) -> bool:
        """A boolean option."""
        values = self.values.get(name)
        if values is None:
            option = self.command.option(name)
            return option is not None and option.default == "true"
        return parse_bool(values[-1]) is True

    def text(self, name: str) -> str:
        """The last value of an option, or its default."""
        values = self.values.get(name)
        if values is not None:
            return values[-1]
        option = self.command.option(name)
        return option.default if option else ""

    def maybe(self, name: str) -> str | None:
        """The last value of an option, or ``None`` when it is not there."""
        values = self.values.get(name)
        return values[-1] if values else None

    def texts(self, name: str) -> tuple[str, ...]:
        """All values of an option in order."""
        return self.values.get(name, ())

    def number(self, name: str) -> int | None:
        """The last value of an ``int`` option, or ``None`` when it is not there."""
        values = self.values.get(name)
        return int(values[-1], 0) if values else None


class Grammar:
    """The declared commands, ready to be looked up.

    Args:
        commands: all commands.
        groups: all group words.
        globals_: options before the command.
    """

    def __init__(self, commands: Sequence[Command], groups: Sequence[Group], globals_: Sequence[Option]) -> None:
        self.commands = tuple(commands)
        self.groups = tuple(groups)
        self.globals = tuple(globals_)
        self._by_words = {words: command for command in commands for words in (command.path, *command.aliases)}
        self._groups = {group.name: group for group in groups}

    def group(self, word: str) -> Group | None:
        """The group of this name."""
        return self._groups.get(word)

    def lookup(self, words: Sequence[str]) -> tuple[Command, int] | None:
        """The command that ``words`` begin with, and how many of them call it."""
        for length in (3, 2, 1):
            command = self._by_words.get(tuple(words[:length])) if len(words) >= length else None
            if command is not None:
                return command, length
        return None

    def words_after(self, prefix: Sequence[str]) -> list[str]:
        """The words that may follow ``prefix`` in a command's name, sorted."""
        length = len(prefix)
        found = {words[length] for words in self._by_words if words[:length] == tuple(prefix) and len(words) > length}
        return sorted(found | (set(self._groups) if not length else set()))

    def split_globals(self, words: Sequence[str], program: str) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        """Take the options before the command off.

        Returns:
            Option values, and the words from the command on.

        Raises:
            UsageProblem: an unknown option.
        """
        pseudo = Command(path=(), summary="", options=self.globals, interspersed=False, verb="")
        values, rest = _parse_flags(pseudo, words, program)
        return values, rest

    def find(self, words: Sequence[str], program: str) -> tuple[Command, int]:
        """Like :meth:`lookup`, for words that must name a command.

        Raises:
            UsageProblem: with the nearest command as hint; exit code 1, as docker's.
        """
        found = self.lookup(words)
        if found is not None:
            return found
        first = words[0]
        if first in self._groups and len(words) > 1:
            shown, wrong = f"{program} {first} {words[1]}", words[1]
            options = self.words_after((first,))
            more = f"{program} {first} --help"
        else:
            shown, wrong, options, more = f"{program} {first}", first, self.words_after(()), f"{program} --help"
        raise usage_problem(
            f"unknown command: {shown}", near=nearest(wrong, options), more=f"{more} lists the commands", exit_code=1
        )

    def parse(
        self, words: Sequence[str], program: str, *, minimum: int | None = None, path: str | None = None
    ) -> Parsed:
        """Read a command line.

        Args:
            words: command and its options and arguments, without the program.
            program: how the user calls us, for messages.
            minimum: overrides the command's own least number of arguments.
            path: how messages call the command, by default program and words.

        Raises:
            UsageProblem: anything that does not fit; the only error this raises.
        """
        command, length = self.find(words, program)
        called = tuple(words[:length])
        path = path or " ".join((program, *called))
        try:
            values, arguments = _parse_flags(command, words[length:], path)
        except HelpWanted:
            return Parsed(command=command, called=called, values={}, arguments=(), help=True)
        _check_arguments(command, arguments, path, command.minimum if minimum is None else minimum)
        return Parsed(command=command, called=called, values=values, arguments=arguments)


class HelpWanted(Exception):
    """``--help`` was met."""


def usage_problem(problem: str, *, near: str = "", more: str = "", exit_code: int = 125) -> UsageProblem:
    """A problem with the words of a command line.

    Args:
        problem: what does not fit.
        near: what was probably meant.
        more: where to read more.
        exit_code: docker's: 125 for options, 1 for commands and numbers of arguments.
    """
    hint = ", or: ".join(part for part in (f"did you mean {near}?" if near else "", more) if part).replace(
        "?, or:", "?"
    )
    error = UsageProblem(problem, hint=hint or None)
    error.exit_code = exit_code
    return error


def nearest(word: str, options: Iterable[str]) -> str:
    """The option that ``word`` is probably a misspelling of, or empty."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(options), n=1, cutoff=0.6)
    return found[0] if found else ""


def usage_line(command: Command, program: str, called: Sequence[str] = ()) -> str:
    """``docker run [OPTIONS] IMAGE [COMMAND] [ARG...]``."""
    options = "[OPTIONS]" if any(not option.hidden for option in command.options) else ""
    return " ".join(part for part in (program, *(called or command.path), options, command.arguments) if part)


def _check_arguments(command: Command, arguments: tuple[str, ...], path: str, minimum: int) -> None:
    count, maximum = len(arguments), command.maximum
    if count >= minimum and (maximum is None or count <= maximum):
        return
    if maximum == 0:
        wanted = "accepts no arguments"
    elif minimum == maximum:
        wanted = f"requires exactly {minimum} argument{'s' if minimum != 1 else ''}"
    elif count < minimum:
        wanted = f"requires at least {minimum} argument{'s' if minimum != 1 else ''}"
    else:
        wanted = f"requires at most {maximum} argument{'s' if maximum != 1 else ''}"
    got = f", got {count}: {' '.join(arguments)}" if count else ""
    usage = usage_line(command, path, ("",)).replace("  ", " ")
    raise usage_problem(f'"{path}" {wanted}{got}', more=f"usage: {usage}", exit_code=1)


def _parse_flags(
    command: Command, words: Sequence[str], path: str
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The loop of pflag (spf13/pflag, FlagSet.parseArgs)."""
    long = {option.name: option for option in command.options}
    short = {option.short: option for option in command.options if option.short}
    values: dict[str, list[str]] = {}
    arguments: list[str] = []
    queue = list(words)
    more = f"see {path} --help"

    def put(option: Option, value: str) -> None:
        _check_value(option, value, more)
        values.setdefault(option.name, []).append(value)

    at = 0
    while at < len(queue):
        word = queue[at]
        at += 1
        if word == "--":
            arguments += queue[at:]
            break
        if len(word) < 2 or not word.startswith("-"):
            arguments.append(word)
            if not command.interspersed:
                arguments += queue[at:]
                break
            continue
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not name or name.startswith("-"):
                raise usage_problem(f"bad flag syntax: {word}", more=more)
            option = long.get(name)
            if option is None:
                if name == "help":
                    raise HelpWanted
                near = nearest(name, [known.name for known in command.options if not known.hidden])
                raise usage_problem(f"unknown flag: --{name}", near=f"--{near}" if near else "", more=more)
            if equals:
                put(option, value)
            elif option.kind == "bool":
                put(option, "true")
            elif at < len(queue):
                put(option, queue[at])
                at += 1
            else:
                raise usage_problem(f"flag needs an argument: --{name}", more=more)
            continue
        letters = word[1:]
        while letters:
            letter, rest = letters[0], letters[1:]
            option = short.get(letter)
            if option is None:
                if letter == "h":
                    raise HelpWanted
                raise usage_problem(f"unknown shorthand flag: {letter!r} in {word}", near=_meant(word, long), more=more)
            if len(rest) > 1 and rest[0] == "=":
                put(option, rest[1:])
                letters = ""
            elif option.kind == "bool":
                put(option, "true")
                letters = rest
            elif rest:
                put(option, rest)
                letters = ""
            elif at < len(queue):
                put(option, queue[at])
                at += 1
                letters = ""
            else:
                raise usage_problem(f"flag needs an argument: {letter!r} in {word}", more=more)
    return {name: tuple(given) for name, given in values.items()}, tuple(arguments)


def _meant(word: str, long: Mapping[str, Option]) -> str:
    """``-name`` was perhaps meant to be ``--name``."""
    name = word[1:].partition("=")[0]
    return f"--{name}" if len(name) > 1 and name in long else ""


def _check_value(option: Option, value: str, more: str) -> None:
    problem = ""
    if option.kind == "bool" and parse_bool(value) is None:
        problem = "true or false"
    elif option.kind == "int":
        try:
            int(value, 0)
        except ValueError:
            problem = "a whole number"
    elif option.choices and value not in option.choices:
        problem = "one of " + ", ".join(option.choices)
    if problem:
        near = nearest(value, option.choices) if option.choices else ""
        raise usage_problem(
            f'invalid argument "{value}" for "{option.shown}" flag: must be {problem}', near=near, more=more
        )
