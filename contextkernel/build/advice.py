"""Why a RUN failed, where the cause is known: a pure function of exit code, last output and what can be looked up.

One table of signs, most telling first. A hint says what to write, not what went wrong: that stands above it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from contextkernel.dockerfile.suggest import nearest

Kind = Literal["elf", "script", "other", "directory"]


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a file that was to be executed.

    Attributes:
        kind: ``other``: neither a binary nor a script with a first line ``#!``.
        machine: of a binary, e.g. ``aarch64``.
        interpreter: of a script, or the loader of a binary; empty for none.
        interpreter_found: whether that exists.
        carriage: the first line ends in a carriage return (a file with Windows line ends).
        executable: somebody may execute it.
    """

    kind: Kind
    machine: str = ""
    interpreter: str = ""
    interpreter_found: bool = True
    carriage: bool = False
    executable: bool = True


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A RUN that failed.

    Attributes:
        status: exit code.
        output: its last output, and what the engine says of a program that could not be started.
        argv: of the step.
        user: of the step; empty is root.
        network: of the step.
        machine: of this host.
        programs: names of the programs in the step's ``PATH``.
        look: finds a program by absolute path, or by name in ``PATH``; ``None`` if there is none.
    """

    status: int
    output: str
    argv: tuple[str, ...] = ()
    user: str = ""
    network: str = "default"
    machine: str = "x86_64"
    programs: Callable[[], Iterable[str]] = tuple
    look: Callable[[str], Program | None] = lambda _: None


_INSTALLERS = {
    "apt-get": "RUN apt-get update && apt-get install -y {package}",
    "apk": "RUN apk add --no-cache {package}",
    "dnf": "RUN dnf install -y {package}",
    "microdnf": "RUN microdnf install -y {package}",
    "yum": "RUN yum install -y {package}",
    "zypper": "RUN zypper install -y {package}",
}
_PACKAGES = {
    "ip": "iproute2",
    "ping": "iputils-ping",
    "ps": "procps",
    "top": "procps",
    "vi": "vim",
    "cc": "gcc",
    "python": "python3",
    "pip": "python3-pip",
    "pip3": "python3-pip",
    "node": "nodejs",
    "ssh": "openssh-client",
    "dig": "dnsutils",
    "nslookup": "dnsutils",
    "killall": "psmisc",
    "netstat": "net-tools",
    "ifconfig": "net-tools",
    "xz": "xz-utils",
    "add-apt-repository": "software-properties-common",
    "gpg": "gnupg",
}
_COMMON = (
    "bash", "bzip2", "cargo", "cmake", "curl", "file", "g++", "gcc", "git", "gzip", "jq", "less", "make", "nano", "npm",
    "patch", "perl", "php", "python3", "rsync", "ruby", "rustc", "sudo", "tar", "tree", "unzip", "wget", "zip",
)  # fmt: skip

_NOT_FOUND = (
    r'exec: "([^"]+)": executable file not found',
    r'exec: "([^"]+)": stat \S+: no such file',
    r"exec (/\S+): no such file or directory",
    r"(?:^|\n)(?:\S*sh): (?:line )?\d+: ([^:\n]+): (?:command )?not found",
    r"(?:^|\n)\S*sh: ([^:\n]+): (?:command )?not found",
    r"(?:^|\n)(?:\S*sh): (?:line )?\d+: ([^:\n]+): (?:cannot execute: )?(?:required file not found|No such file)",
    r"env: [\u2018'`\"]?([^\u2019'\"\n:]+?)[\u2019'\"]?: No such file or directory",
    r"(?:^|\n)(?:[^\s:]+): bad interpreter: No such file or directory",
)
_NOT_EXECUTABLE = (
    r'exec: "([^"]+)": permission denied',
    r"exec (/\S+): (?:exec format error|permission denied)",
    r"(?:^|\n)\S*sh: (?:line )?\d+: ([^:\n]+): (?:Permission denied|Exec format error|cannot execute)",
    r"(?:^|\n)\S*sh: ([^:\n]+): (?:Permission denied|Exec format error)",
    r'exec: "([^"]+)": is a directory',
)


def advise(failure: Failure) -> str | None:
    """A hint for a failed RUN; ``None`` where nothing is known."""
    for sign, tell in _SIGNS:
        found = sign.search(failure.output)
        if found and (hint := tell(failure, found)):
            return hint
    match failure.status:
        case 126:
            return _not_executable(failure)
        case 127:
            return _not_found(failure)
        case 132:
            return "the program uses instructions that this processor does not have: is it built for another one?"
        case 137:
            return "the program was killed, most often because memory ran out: build with fewer jobs, or free memory"
        case 139:
            return "the program crashed (a segmentation fault); a step before may have mixed versions of libraries"
        case 143:
            return "the program was asked to end (SIGTERM) by something outside of the build"
    return None


def _package(failure: Failure, name: str) -> str | None:
    """How to install a program, with the package manager that the image has."""
    known = _PACKAGES.get(name) or (name if name in _COMMON else "")
    if not known:
        return None
    have = set(failure.programs())
    for manager, text in _INSTALLERS.items():
        if manager in have:
            return f"install it first: {text.format(package=known)}"
    return None


def _other_manager(failure: Failure, name: str) -> str:
    """What to write where another distribution's package manager was meant to install something: no typing error."""
    have = set(failure.programs())
    for manager, text in _INSTALLERS.items():
        if manager in have:
            return f"this image has {manager} and not {name}: {text.format(package='NAME')}"
    return (
        "this image has no package manager (nor has a stand-in that `base ensure` assembled): begin FROM an image with "
        f"{name}, or COPY the program from one"
    )


def _not_found(failure: Failure) -> str:
    name = next((found[1] for sign in _NOT_FOUND if (found := re.search(sign, failure.output)) and found.groups()), "")
    name = name.strip()
    if name.endswith("\r"):
        return _carriage(name.rstrip("\r"))
    if not name:
        return "a program was not found: is it installed in this stage's image, and spelled right?"
    program = failure.look(name)
    if program is not None:
        return _missing_interpreter(name, program)
    if "/" in name:
        near = nearest(name.rpartition("/")[2], list(failure.programs()))
        more = f", or did you mean {near}?" if near else ""
        return f"there is no {name} in this stage: COPY it there first{more}"
    if name in _INSTALLERS or name == "apt":
        return _other_manager(failure, name)
    near = nearest(name, list(failure.programs()))
    install = _package(failure, name)
    if near:
        return f"did you mean {near}?" + (f" Or {install}" if install else "")
    return install or f"{name} is not in this stage's image: install it in a RUN before, or check the spelling"


def _missing_interpreter(name: str, program: Program) -> str:
    if program.carriage:
        return _carriage(name)
    if program.interpreter and not program.interpreter_found:
        if program.kind == "script":
            return (
                f"{name} is there, its interpreter {program.interpreter} is not: install it, or change the first line"
            )
        return (
            f"{name} is there, its loader {program.interpreter} is not: it was built for another C library "
            "(glibc or musl); link it statically, or use a base image that has it"
        )
    return f"{name} is there; something that it starts was not found"


def _carriage(name: str) -> str:
    return f"{name} has Windows line ends: save it with LF, or RUN sed -i 's/\\r$//' on it"


def _not_executable(failure: Failure) -> str:
    name = next((found[1] for sign in _NOT_EXECUTABLE if (found := re.search(sign, failure.output))), "").strip()
    program = failure.look(name) if name else None
    if program is None:
        return "the program was found and is not executable: check its mode, and its interpreter if it is a script"
    if program.kind == "directory":
        return f"{name} is a directory, not a program"
    if program.kind == "elf" and program.machine and program.machine != failure.machine:
        return (
            f"{name} is built for {program.machine}, this machine is {failure.machine}: "
            "take a build of it for this machine, or compile it in the Dockerfile"
        )
    if not program.executable:
        return f"make it executable: COPY --chmod=755 ..., or RUN chmod +x {name}"
    if program.kind == "other":
        return f"{name} is neither a binary nor a script: begin it with a line such as #!/bin/sh"
    if failure.user and failure.user.split(":")[0] not in ("0", "root"):
        return f"user {failure.user} may not execute {name}: RUN chmod a+rx on it as root, before USER"
    return f"check the mode of {name} and of the directories above it"


def _unlocated(failure: Failure, found: re.Match[str]) -> str:
    name = (found[1] or "").rstrip(".")
    if re.search(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b", " ".join(failure.argv)):
        return f"the release that the image is of has no package {name}: check the spelling, or enable its repository"
    return (
        f"the list of packages is not in the image: RUN apt-get update && apt-get install -y {name}"
        " (in one RUN; if that fails too, the name is wrong)"
    )


def _apk(failure: Failure, found: re.Match[str]) -> str:
    if "fetch" in failure.output and "WARNING" not in failure.output:
        return f"Alpine has no package {found[1]}: look for its name on pkgs.alpinelinux.org"
    return f"the list of packages is not in the image: RUN apk add --no-cache {found[1]} fetches it too"


def _no_names(failure: Failure, _: re.Match[str]) -> str:
    if failure.network == "none":
        return "this RUN has no network (--network=none): leave that out for the step that needs it"
    return (
        "the step has this host's network, and no name server answered: is the host online? "
        "Behind a proxy: --build-arg HTTP_PROXY=... --build-arg HTTPS_PROXY=..."
    )


def _root_wanted(failure: Failure, _: re.Match[str]) -> str | None:
    if failure.user and failure.user.split(":")[0] not in ("0", "root"):
        return f"the step runs as {failure.user}: put USER root before it, and USER {failure.user} after"
    return None


def _said(text: str) -> Callable[[Failure, re.Match[str]], str]:
    return lambda _failure, _found: text


def _format(failure: Failure, _: re.Match[str]) -> str | None:
    return _not_executable(failure) if failure.status in (1, 2, 126) else None


def _shell_carriage(_: Failure, found: re.Match[str]) -> str:
    return _carriage(found[1] if found.groups() and found[1] else "the script")


_NO_NAMES = (
    r"Temporary failure (?:in name resolution|resolving)|Could not resolve host|bad address '|"
    r"Name or service not known|Network is unreachable|temporary error \(try again later\)|"
    r"getaddrinfo (?:EAI_AGAIN|ENOTFOUND)|dial tcp: lookup "
)
_ROOT_WANTED = (
    r"Could not open lock file \S+ - open \(13: Permission denied\)|are you root\?|"
    r"Unable to lock database: Permission denied|must be (?:run as )?root|requires superuser"
)
_NO_MEMORY = (
    r"virtual memory exhausted|Cannot allocate memory|JavaScript heap out of memory|"
    r"java\.lang\.OutOfMemoryError|fatal error: Killed signal terminated program"
)
_Tell = Callable[[Failure, re.Match[str]], str | None]
_SIGNS: tuple[tuple[re.Pattern[str], _Tell], ...] = tuple(
    (re.compile(sign, re.MULTILINE), tell)
    for sign, tell in (
        (r"No space left on device|ENOSPC|disk quota exceeded", _said(
            "the disk of the store is full: `system df` shows what takes it, `system prune` and rmi free some"
        )),
        (r"E: Unable to locate package (\S+)", _unlocated),
        (r"E: Package '?([^'\s]+)'? has no installation candidate", _unlocated),
        (r"^\s+(\S+) \(no such package\):", _apk),
        (r"(?:No match for argument|Unable to find a match): (\S+)", lambda _, found: (
            f"no repository of the image has {found[1]}: check the name with dnf search, or enable the repository first"
        )),
        (_NO_NAMES, _no_names),
        (_ROOT_WANTED, _root_wanted),
        (r"error: externally-managed-environment", _said(
            "make an environment: RUN python3 -m venv /venv && /venv/bin/pip install ..., "
            "or pip install --break-system-packages, which harms nothing in an image of its own"
        )),
        (r"ERROR: No matching distribution found for (\S+)", lambda _, found: (
            f"PyPI has no {found[1]} for this Python and machine: check name and version"
        )),
        (r"Could not open requirements file: .*'([^']+)'", lambda _, found: (
            f"COPY {found[1]} into the image before this RUN"
        )),
        (r"Permission denied \(publickey", _said(
            "give the step your SSH agent: RUN --mount=type=ssh ..., and build with --ssh default"
        )),
        (r"Host key verification failed", _said(
            "the server's key is unknown in the image: RUN mkdir -p -m 0700 ~/.ssh && ssh-keyscan HOST >>"
            " ~/.ssh/known_hosts in a step before"
        )),
        (r"could not read Username for 'https?://|Authentication failed for 'https?://", _said(
            "the repository wants a login: RUN --mount=type=secret,id=NAME, and build with --secret id=NAME,src=FILE"
        )),
        (r"\$'([^'\n]*)\\r': command not found", _shell_carriage),
        (r"^(?:env: )?[\u2018'`\"]?(\S+)\r[\u2019'\"]?: (?:No such file|not found)", _shell_carriage),
        (r"(\S+): (?:line )?\d+: Syntax error: .*\r|/bin/sh\^M: bad interpreter", _shell_carriage),
        (r"[Ee]xec format error", _format),
        (_NO_MEMORY, _said(
            "memory ran out: build with fewer jobs (make -j1), or on a machine with more"
        )),
        (r"No targets specified and no makefile found|can't open file '[^']+': \[Errno 2\]", _said(
            "COPY the files into the image before this RUN, and check WORKDIR"
        )),
        (r"Could not read package\.json|npm ERR! enoent ENOENT", _said(
            "COPY package.json into the working directory before this RUN"
        )),
    )
)  # fmt: skip
