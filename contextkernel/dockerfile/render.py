"""Instructions back into text: what :func:`contextkernel.dockerfile.parse` reads as the same instruction.

Words are written as they are kept, with their quotes and variables. The escape character is the default one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from contextkernel.dockerfile import instructions as to
from contextkernel.dockerfile.text import SPACE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contextkernel.dockerfile.heredocs import Heredoc


def render(instruction: to.Instruction) -> str:
    """Write one instruction.

    Args:
        instruction: any; continuations and comments of its origin are not kept.

    Returns:
        One line, followed by the here-documents if there are any; no line end.
    """
    match instruction:
        case to.From(image=image, name=name, platform=platform):
            return _line("FROM", [_flag("platform", platform)], image, f"AS {name}" if name else "")
        case to.Run():
            flags = [*(_flag("mount", mount.text) for mount in instruction.mounts)]
            if instruction.network != "default":
                flags.append(_flag("network", instruction.network))
            if instruction.security != "sandbox":
                flags.append(_flag("security", instruction.security))
            flags += [_flag("device", _device(device)) for device in instruction.devices]
            return _line("RUN", flags, _command(instruction.command)) + _documents(instruction.heredocs)
        case to.Cmd(command=command):
            return _line("CMD", [], _command(command))
        case to.Entrypoint(command=command):
            return _line("ENTRYPOINT", [], _command(command))
        case to.Label(pairs=pairs, legacy=legacy):
            return _line("LABEL", [], *_pairs(pairs, legacy=legacy))
        case to.Env(pairs=pairs, legacy=legacy):
            return _line("ENV", [], *_pairs(pairs, legacy=legacy))
        case to.Maintainer(name=name):
            return _line("MAINTAINER", [], name)
        case to.Expose(ports=ports):
            return _line("EXPOSE", [], *ports)
        case to.Add() | to.Copy():
            return _transfer(instruction)
        case to.Volume(paths=paths):
            return _line("VOLUME", [], _array(paths))
        case to.User(user=user):
            return _line("USER", [], user)
        case to.Workdir(path=path):
            return _line("WORKDIR", [], path)
        case to.Arg(items=items):
            words = (item.name if item.default is None else f"{item.name}={item.default}" for item in items)
            return _line("ARG", [], *words)
        case to.Onbuild(expression=expression):
            return f"ONBUILD {expression}"
        case to.Stopsignal(signal=signal):
            return _line("STOPSIGNAL", [], signal)
        case to.Healthcheck():
            return _healthcheck(instruction)
        case to.Shell(argv=argv):
            return _line("SHELL", [], _array(argv))
        case _:
            assert_never(instruction)


def _line(name: str, flags: Iterable[str], *words: str) -> str:
    return " ".join(part for part in (name, *flags, *words) if part)


def _flag(name: str, value: str | None) -> str:
    """A flag; flags lose one level of quotes and escapes when they are read, so it is put on."""
    if value is None:
        return ""
    bare = "".join(f"\\{char}" if char in "\\'\"" else char for char in value)
    if any(char in SPACE for char in bare):
        bare = f'"{bare}"'
    return f"--{name}={bare}"


def _array(words: Iterable[str]) -> str:
    import json

    return json.dumps(list(words), ensure_ascii=False)


def _command(command: to.CommandForm) -> str:
    if isinstance(command, to.ShellForm):
        return command.text
    return _array(command.argv)


def _documents(documents: Iterable[Heredoc]) -> str:
    return "".join(f"\n{doc.content}{doc.name}" for doc in documents)


def _pairs(pairs: tuple[to.KeyValue, ...], *, legacy: bool) -> list[str]:
    return [pair.key + (" " if legacy else "=") + pair.value for pair in pairs]


def _device(device: to.Device) -> str:
    fields = [device.name, *(["required"] if device.required else [])]
    quoted = (f'"{field.replace(chr(34), chr(34) * 2)}"' if {'"', ","} & set(field) else field for field in fields)
    return ",".join(quoted)


def _transfer(instruction: to.Add | to.Copy) -> str:
    flags: list[str] = []
    if isinstance(instruction, to.Copy):
        flags += [_flag("from", instruction.source), "--parents" if instruction.parents else ""]
    else:
        flags.append(_flag("checksum", instruction.checksum))
        for name, value in (("keep-git-dir", instruction.keep_git_dir), ("unpack", instruction.unpack)):
            flags.append("" if value is None else f"--{name}={str(value).lower()}")
    flags += [_flag("chown", instruction.chown), _flag("chmod", instruction.chmod)]
    flags.append("--link" if instruction.link else "")
    flags += [_flag("exclude", pattern) for pattern in instruction.exclude]
    name = type(instruction).__name__.upper()
    words = [*instruction.sources, *(_announce(doc) for doc in instruction.files), instruction.destination]
    if not instruction.files and any(char in SPACE for word in words for char in word):
        return _line(name, flags, _array(words))
    return _line(name, flags, *words) + _documents(instruction.files)


def _announce(doc: Heredoc) -> str:
    return f"<<{'-' if doc.chomp else ''}{doc.name if doc.expand else repr(doc.name)}"


def _healthcheck(instruction: to.Healthcheck) -> str:
    if instruction.command is None:
        return "HEALTHCHECK NONE"
    times = {
        "interval": instruction.interval,
        "timeout": instruction.timeout,
        "start-period": instruction.start_period,
        "start-interval": instruction.start_interval,
    }
    flags = [f"--{name}={value}ns" for name, value in times.items() if value]
    if instruction.retries:
        flags.append(f"--retries={instruction.retries}")
    return _line("HEALTHCHECK", flags, "CMD", _command(instruction.command))
