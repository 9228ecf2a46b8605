"""From words to the function that carries them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from contextkernel.commands.declaration import GRAMMAR
from contextkernel.commands.grammar import Parsed, usage_problem
from contextkernel.commands.outcome import Outcome, Text

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.commands.face import Face
    from contextkernel.engine import Engine


def run_words(
    engine: Engine | Callable[[], Engine], words: tuple[str, ...], face: Face, dockerfile: str | None
) -> Outcome:
    """See :func:`contextkernel.commands.execute.execute`."""
    text, words = _told(words, face.program)
    if text:
        return Outcome(value=Text(text))
    command, _ = GRAMMAR.find(words, face.program)
    builds = command.path == ("image", "build")
    if dockerfile is not None and not builds:
        raise usage_problem(f"{face.program} takes no command but build", more=f"see {face.program} --help")
    if dockerfile is None:
        parsed = GRAMMAR.parse(words, face.program)
    else:  # the program's name says build already
        parsed = GRAMMAR.parse(words, face.program, minimum=0, path=face.program)
    if parsed.help:
        from contextkernel.commands.help import cell_help, command_help

        if dockerfile is not None:
            return Outcome(value=Text(cell_help(parsed.command, face.program)))
        return Outcome(value=Text(command_help(parsed.command, face.program, parsed.called)))
    _check_platform(parsed)

    from contextkernel.commands.call import Call

    def make() -> Engine:
        return engine() if callable(engine) else engine

    return _verb(parsed)(Call(make, parsed, face, dockerfile))


def _told(words: tuple[str, ...], program: str) -> tuple[str, tuple[str, ...]]:
    """The text that answers ``--version``, ``help`` and the like, or empty; and the words from the command on."""
    from contextkernel.commands.grammar import HelpWanted
    from contextkernel.commands.help import help_text

    try:
        values, rest = GRAMMAR.split_globals(words, program)
    except HelpWanted:
        return help_text((), program), ()
    if "version" in values:
        from contextkernel import __version__

        return f"contextkernel version {__version__}\n", rest
    if "root" in values:
        raise usage_problem("--root is not possible here", more="set CONTEXTKERNEL_ROOT before the first command")
    if not rest:
        return help_text((), program), rest
    if rest[0] == "help":
        return help_text(rest[1:], program), rest
    plain = tuple(word for word in rest if word not in ("--help", "-h"))
    if len(plain) == 1 and GRAMMAR.group(plain[0]) and GRAMMAR.lookup(plain) is None:
        return help_text(plain, program), rest
    return "", rest


def _check_platform(parsed: Parsed) -> None:
    """``--platform`` is accepted for docker's sake as long as it asks for this machine's."""
    wanted = parsed.maybe("platform")
    option = parsed.command.option("platform")
    if not wanted or option is None or not option.hidden:  # the command makes something of it
        return
    from contextkernel.model.platform import Platform

    if Platform.parse(wanted) != Platform.host():
        raise usage_problem(f"platform {wanted} is not this machine's ({Platform.host()})", more="leave --platform out")


def _verb(parsed: Parsed) -> Callable[[Call], Outcome]:
    from importlib import import_module

    module, _, function = parsed.command.verb.partition(":")
    found: Callable[[Call], Outcome] = getattr(import_module(f"contextkernel.commands.{module}"), function)
    return found
