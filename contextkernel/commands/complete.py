"""What may stand where the cursor is: commands, options, their values, names of images and containers, paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from contextkernel.commands.declaration import GRAMMAR
from contextkernel.commands.declared_cache import CACHE_FILTERS
from contextkernel.commands.declared_networks import LIST_FILTERS as NETWORK_FILTERS
from contextkernel.commands.declared_options import CONTAINER_FILTERS, IMAGE_FILTERS
from contextkernel.commands.declared_volumes import LIST_FILTERS
from contextkernel.errors import ContextKernelError

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Command, Option, Subject
    from contextkernel.engine import Engine

_PATH_OPTIONS = frozenset({"file", "iidfile", "env-file", "label-file", "input", "output", "metadata-file"})
_BEGINNINGS: dict[str, tuple[str, ...]] = {
    "allow": ("network.host", "security.insecure"),
    "attest": ("type=provenance", "type=sbom"),
    "cache-from": ("type=local,src=", "type=registry,ref="),
    "cache-to": ("type=inline", "type=local,dest=", "type=registry,ref="),
    "call": ("build", "check", "outline", "targets"),
    "output": tuple(f"type={name}" for name in ("cacheonly", "docker", "image", "local", "oci", "tar")),
    "platform": ("linux/amd64", "linux/arm64"),
    "provenance": ("true", "false", "mode=max", "mode=min"),
    "sbom": ("true", "false"),
    "secret": ("id=",),
    "ssh": ("default",),
}
"""What values of options of ``build`` begin with; some have keys behind a comma."""
_SIGNALS = ("HUP", "INT", "KILL", "QUIT", "STOP", "TERM", "USR1", "USR2")
_RESTARTS = ("always", "no", "on-failure", "unless-stopped")
_LOG_DRIVERS = ("json-file", "local", "none")
_NETWORKS = ("default", "host", "none")


def complete(words: Sequence[str], engine: Engine | Callable[[], Engine]) -> list[str]:
    """Candidates for the last word.

    Args:
        words: the command so far without the program's name; the last one is being typed and may be empty.
        engine: the engine, or a function that makes it: called only where names are wanted.

    Returns:
        Whole words that begin with the last one, sorted; an engine that fails offers nothing.
    """
    *before, current = words or [""]
    while before and before[0].startswith("-"):
        before = before[2:] if before[0] == "--root" else before[1:]
    if before[:1] == ["help"]:
        before = before[1:]
    found = GRAMMAR.lookup(before)
    if found is None or (len(before) == 1 and GRAMMAR.group(before[0])):
        if current.startswith("-") and not before:
            return _begin(current, _flags(GRAMMAR.globals, current))
        if before and not GRAMMAR.words_after(tuple(before)):
            return []
        return _begin(current, [*GRAMMAR.words_after(tuple(before)), *(() if before else ("help",))])
    command, length = found
    if length == len(before) and not current.startswith("-") and (more := GRAMMAR.words_after(tuple(before))):
        return _begin(current, more)
    return _begin(current, _after(command, before[length:], current, engine))


def _begin(current: str, words: Iterable[str]) -> list[str]:
    return sorted({word for word in words if word.startswith(current)})


def _after(
    command: Command, before: Sequence[str], current: str, engine: Engine | Callable[[], Engine]
) -> Iterable[str]:
    """Candidates after the command's own words."""
    waiting: Option | None = None
    positionals, literal = 0, False
    for word in before:
        if waiting is not None:
            waiting = None
        elif literal or not word.startswith("-") or word == "-":
            positionals += 1
            literal = literal or not command.interspersed
        elif word == "--":
            literal = True
        else:
            waiting = _waits(command, word)
    if waiting is not None:
        return _values(command, waiting, current, engine)
    if current.startswith("-") and not literal:
        name, equals, value = current[2:].partition("=")
        option = command.option(name) if equals else None
        if option is not None:
            return [f"--{name}={word}" for word in _values(command, option, value, engine)]
        return _flags(command.options, current)
    if command.maximum is not None and positionals >= command.maximum:
        return []
    subjects = command.subjects
    subject = subjects[min(positionals, len(subjects) - 1)] if subjects else ""
    return _subjects(subject, current, engine)


def _waits(command: Command, word: str) -> Option | None:
    """The option whose value comes after ``word``."""
    if word.startswith("--"):
        option = command.option(word[2:]) if "=" not in word else None
        return option if option is not None and option.kind != "bool" else None
    by_letter = {option.short: option for option in command.options if option.short}
    for place, letter in enumerate(word[1:], start=1):
        option = by_letter.get(letter)
        if option is None:
            return None
        if option.kind != "bool":
            return option if place == len(word) - 1 else None
    return None


def _flags(options: Iterable[Option], current: str) -> list[str]:
    """Long names; letters only while a single dash stands there."""
    shown = [option for option in options if not option.hidden]
    letters = [f"-{option.short}" for option in shown if option.short] if current == "-" else []
    return [*(f"--{option.name}" for option in shown), "--help", *letters]


def _values(command: Command, option: Option, current: str, engine: Engine | Callable[[], Engine]) -> Iterable[str]:
    if option.choices:
        return option.choices
    match option.name:
        case "filter":
            kinds = {
                "image": IMAGE_FILTERS,
                "builder": CACHE_FILTERS,
                "network": NETWORK_FILTERS,
                "volume": LIST_FILTERS,
            }
            return [f"{key}=" for key in kinds.get(command.path[0], CONTAINER_FILTERS)]
        case "network":
            return _NETWORKS if command.path == ("image", "build") else _networks(engine)
        case "signal" | "stop-signal":
            return _SIGNALS
        case "tag":
            return _images(engine)
        case "restart":
            return _RESTARTS
        case "log-driver":
            return _LOG_DRIVERS
        case "volume":
            return [*(f"{name}:" for name in _volumes(engine)), *_paths(current, directories=True)]
        case "volumes-from":
            return _containers(engine, running=False)
        case "platform":
            return _BEGINNINGS["platform"]
        case "format":
            return ("json", "table")
        case name if command.path == ("image", "build") and name in _BEGINNINGS:
            paths = _paths(current, directories=True) if name == "output" else []
            return [*_BEGINNINGS[name], *paths]
        case name if name in _PATH_OPTIONS:
            return _paths(current, directories=False)
        case _:
            return ()


def _subjects(subject: Subject, current: str, engine: Engine | Callable[[], Engine]) -> Iterable[str]:
    match subject:
        case "image" | "base":
            return _images(engine)
        case "build":
            return _builds(engine)
        case "container":
            return _containers(engine, running=False)
        case "running":
            return _containers(engine, running=True)
        case "network":
            return _networks(engine)
        case "volume":
            return _volumes(engine)
        case "registry":
            return _registries(engine)
        case "object":
            return [*_images(engine), *_containers(engine, running=False)]
        case "directory" | "file":
            return _paths(current, directories=subject == "directory")
        case _:
            return ()


def _images(engine: Engine | Callable[[], Engine]) -> list[str]:
    try:
        rows = _made(engine).images()
    except (ContextKernelError, OSError):
        return []
    names = []
    for row in rows:
        if row.repository == "<none>":
            names.append(row.id.short)
        else:
            names += [row.repository] if row.tag == "latest" else []
            names += [f"{row.repository}:{row.tag}"]
    return names


def _containers(engine: Engine | Callable[[], Engine], *, running: bool) -> list[str]:
    try:
        rows = _made(engine).containers(all=not running)
    except (ContextKernelError, OSError):
        return []
    return [row.name for row in rows]


def _networks(engine: Engine | Callable[[], Engine]) -> list[str]:
    try:
        return [row.network.name for row in _made(engine).networks()]
    except (ContextKernelError, OSError):
        return []


def _volumes(engine: Engine | Callable[[], Engine]) -> list[str]:
    try:
        return [row.volume.name for row in _made(engine).volumes()]
    except (ContextKernelError, OSError):
        return []


def _registries(engine: Engine | Callable[[], Engine]) -> list[str]:
    try:
        return [row.name for row in _made(engine).registries()]
    except (ContextKernelError, OSError):
        return []


def _builds(engine: Engine | Callable[[], Engine]) -> list[str]:
    try:
        return [row.id for row in _made(engine).builds()]
    except (ContextKernelError, OSError):
        return []


def _made(engine: Engine | Callable[[], Engine]) -> Engine:
    return engine() if callable(engine) else engine


def _paths(current: str, *, directories: bool) -> list[str]:
    """Files and directories (with ``/``) in the directory that ``current`` points into."""
    head, _, _ = current.rpartition("/")
    directory = head + "/" if "/" in current else ""
    try:
        with os.scandir(directory or ".") as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries]
    except OSError:
        return []
    hidden = current.rpartition("/")[2].startswith(".")
    names = [
        directory + name + ("/" if is_directory else "")
        for name, is_directory in found
        if (is_directory or not directories) and (hidden or not name.startswith("."))
    ]
    return [*names, "."] if directories and not directory else names
