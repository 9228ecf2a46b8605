"""One logical line into one typed instruction (BuildKit, ``instructions/parse.go``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from contextkernel.dockerfile import instructions as to
from contextkernel.dockerfile.flags import FlagProblem, Flags, Kind, read_flags
from contextkernel.dockerfile.heredocs import Heredoc, heredocs_announced, read_heredoc_word
from contextkernel.dockerfile.lines import Logical, Reader
from contextkernel.dockerfile.mounts import read_mount_words
from contextkernel.dockerfile.suggest import closest, did_you_mean, rearranged
from contextkernel.dockerfile.text import BLANKS, SPACE, csv_fields, parse_duration
from contextkernel.dockerfile.words import NotStrings, json_array, split_blanks, split_command, split_words
from contextkernel.errors import DockerfileError, Span
from contextkernel.model.booleans import parse_bool

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*\Z")
_ONBUILD = re.compile(r"[ \t\r\n\f]*ONBUILD[ \t\r\n\f]*", re.IGNORECASE)
_INT32 = re.compile(r"[+-]?[0-9]{1,12}\Z")
_MAX_INT32 = 2**31 - 1
_MILLISECOND = 1_000_000
_TRANSFERS = ("add", "copy", "run")


class Line(msgspec.Struct):
    """One instruction, cut.

    Attributes:
        logical: where it comes from.
        offset: where its text starts in the logical line (behind ``ONBUILD``).
        text: from the instruction's name to the end.
        name: as written.
        flags: with their dashes.
        rest: what follows them.
        heredocs: with their content.
    """

    logical: Logical
    offset: int
    text: str
    escape: str
    name: str
    flags: tuple[str, ...]
    rest: str
    heredocs: tuple[Heredoc, ...] = ()

    @classmethod
    def cut(cls, logical: Logical, text: str, escape: str) -> Line:
        """Cut ``text``, the tail of ``logical``."""
        name, flags, rest = split_command(text, escape)
        return cls(logical, len(logical.text) - len(text), text, escape, name, flags, rest)

    @property
    def kind(self) -> str:
        """The instruction's name in lower case."""
        return self.name.lower()

    def place(self, part: str | None = None, *, second: bool = False) -> Span:
        """Where ``part`` (or its second occurrence) stands, if it can be found; else the instruction's name."""
        start = self.logical.text.find(part, self.offset) if part else -1
        if part and second:
            start = max(start, self.logical.text.find(part, start + 1))
        if part is None or start < 0:
            start = self.logical.text.find(self.name, self.offset)
            part = self.name
        return self.logical.place(max(start, 0), max(start, 0) + len(part))

    def error(self, problem: str, *, at: str | None = None, hint: str | None = None) -> DockerfileError:
        """An error about this instruction, or about the part ``at`` of it."""
        return self.logical.source.error(problem, self.place(at), hint)

    def read_flags(self, **kinds: Kind) -> Flags:
        """The flags this instruction has; ``_`` in a keyword stands for ``-``."""
        try:
            return read_flags(self.flags, {name.replace("_", "-"): kind for name, kind in kinds.items()})
        except FlagProblem as problem:
            span = self.place(problem.flag, second=problem.again)
            text = f"{self.name.upper()}: {problem.problem}"
            raise self.logical.source.error(text, span, problem.hint) from None

    def array(self, text: str | None = None) -> tuple[str, ...] | None:
        """The rest as a JSON array of strings, or ``None``."""
        text = self.rest if text is None else text
        try:
            return json_array(text)
        except NotStrings:
            raise self.error(
                f"{self.name.upper()}: a JSON array may hold strings only",
                at=text,
                hint='quote every element: ["program", "argument"]',
            ) from None

    def command(self, text: str | None = None) -> to.CommandForm:
        """The rest as a command: a JSON array is an argument vector, anything else a shell line."""
        text = self.rest if text is None else text
        argv = self.array(text)
        return to.ShellForm(text) if argv is None else to.ExecForm(argv)

    def words(self) -> tuple[str, ...]:
        """The rest as a JSON array or as words."""
        array = self.array()
        return split_blanks(self.rest) if array is None else array

    def one(self, what: str) -> str:
        """The rest, which must not be empty."""
        if not self.rest:
            raise self.needs(what)
        return self.rest

    def needs(self, what: str) -> DockerfileError:
        """The error for a missing argument."""
        return self.error(f"{self.name.upper()} needs {what}", hint=_FORMS[self.kind])


def read_line(logical: Logical, reader: Reader) -> to.Instruction:
    """Read one instruction, with the here-documents that follow its line.

    Raises:
        DockerfileError: with the place.
    """
    line = Line.cut(logical, logical.text, reader.directives.escape)
    carrier = line
    if line.kind == "onbuild" and line.rest:
        carrier = Line.cut(logical, line.rest, line.escape)
    if carrier.kind in _TRANSFERS and "<<" in logical.text and carrier.array() is None:
        line.heredocs = tuple(
            doc.filled(reader.heredoc(logical, doc.name, chomp=doc.chomp, file=carrier.kind != "run"))
            for doc in heredocs_announced(logical.text)
        )
    return _dispatch(line)


def _dispatch(line: Line) -> to.Instruction:
    read = _READERS.get(line.kind)
    if not line.name:
        raise line.error("a continuation with nothing before it", hint="remove the line")
    if read is None:
        names = [name.upper() for name in _READERS]
        near = rearranged(line.name.upper(), names) or closest(line.name.upper(), names)
        hint = f"did you mean {near}?" if near else did_you_mean(line.name, names)
        raise line.error(f"unknown instruction {line.name!r}", hint=hint or "an instruction such as RUN or COPY")
    return read(line, line.logical.whole(), line.text.strip(SPACE))


def _from(line: Line, span: Span, original: str) -> to.From:
    words = split_blanks(line.rest)
    name = None
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.match(name):
            raise line.error(
                f"invalid stage name {words[2]!r}",
                at=words[2],
                hint="a stage name starts with a letter; letters, digits, - _ and . may follow",
            )
    elif len(words) != 1:
        raise line.error(f"FROM needs one or three words, not {len(words)}", hint=_FORMS["from"])
    flags = line.read_flags(platform="value")
    return to.From(span=span, original=original, image=words[0], name=name, platform=flags.text("platform"))


def _run(line: Line, span: Span, original: str) -> to.Run:
    flags = line.read_flags(mount="values", network="value", security="value", device="values")
    network = flags.values.get("network", "default")
    if network not in ("default", "none", "host"):
        hint = did_you_mean(network, ("default", "none", "host"))
        raise line.error(f"invalid network mode {network!r}", at=network, hint=hint)
    security = flags.values.get("security", "sandbox")
    if security not in ("sandbox", "insecure"):
        hint = did_you_mean(security, ("sandbox", "insecure"))
        raise line.error(f"invalid security mode {security!r}", at=security, hint=hint)
    mounts = []
    for text in flags.many("mount"):
        try:
            mounts.append(read_mount_words(text, line.place(text)))
        except ValueError as problem:
            raise line.error(f"invalid mount {text!r}: {problem}", at=text or "--mount", hint=_FORMS["mount"]) from None
    return to.Run(
        span=span,
        original=original,
        command=line.command(),
        heredocs=line.heredocs,
        mounts=tuple(mounts),
        network=network,
        security=security,
        devices=tuple(_device(line, text) for text in flags.many("device")),
    )


def _device(line: Line, text: str) -> to.Device:
    name, required = "", False
    try:
        fields = csv_fields(text)
    except ValueError as problem:
        raise line.error(f"invalid device {text!r}: {problem}", at=text or "--device") from None
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.lower()
        if key == "required":
            flag = parse_bool(value) if equals else True
            if flag is None:
                raise line.error(f"invalid value for required: {value!r}", at=field, hint="true or false")
            required = flag
        elif key == "name" and equals and not name:
            name = value
        elif name:
            raise line.error(
                f"unexpected {field!r} in device {text!r}", at=field, hint="--device=NAME[,required] with one name"
            )
        else:
            name = field
    return to.Device(name=name, required=required)


def _cmd(line: Line, span: Span, original: str) -> to.Cmd:
    line.read_flags()
    return to.Cmd(span=span, original=original, command=line.command())


def _entrypoint(line: Line, span: Span, original: str) -> to.Entrypoint:
    line.read_flags()
    return to.Entrypoint(span=span, original=original, command=line.command())


def _pairs(line: Line) -> tuple[tuple[to.KeyValue, ...], bool]:
    """``k=v ...`` or the legacy ``k v``; the first word decides which."""
    words = split_words(line.rest, line.escape)
    if not words:
        raise line.needs("at least one argument")
    if "=" not in words[0]:
        parts = BLANKS.split(line.rest, maxsplit=1)
        if len(parts) < 2:
            raise line.needs(f"a value for {parts[0]!r}")
        return (to.KeyValue(parts[0], parts[1]),), True
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise line.error(
                f"no '=' in {word!r}", at=word, hint='write name=value, and quote values with spaces: name="a b"'
            )
        if not key:
            raise line.error(f"no name before '=' in {word!r}", at=word, hint="write name=value")
        pairs.append(to.KeyValue(key, value))
    return tuple(pairs), False


def _label(line: Line, span: Span, original: str) -> to.Label:
    line.read_flags()
    pairs, legacy = _pairs(line)
    return to.Label(span=span, original=original, pairs=pairs, legacy=legacy)


def _env(line: Line, span: Span, original: str) -> to.Env:
    line.read_flags()
    pairs, legacy = _pairs(line)
    return to.Env(span=span, original=original, pairs=pairs, legacy=legacy)


def _maintainer(line: Line, span: Span, original: str) -> to.Maintainer:
    name = line.one("a name")
    line.read_flags()
    return to.Maintainer(span=span, original=original, name=name)


def _expose(line: Line, span: Span, original: str) -> to.Expose:
    ports = split_blanks(line.one("at least one port"))
    line.read_flags()
    return to.Expose(span=span, original=original, ports=tuple(sorted(ports)))


def _sources(line: Line) -> tuple[tuple[str, ...], tuple[Heredoc, ...], str]:
    """Paths, here-documents and destination of COPY and ADD."""
    words = line.words()
    if len(words) < 2:
        raise line.needs("at least one source and a destination")
    *sources, destination = words
    if read_heredoc_word(destination):
        raise line.error(
            f"the destination of {line.name.upper()} cannot be a here-document: {destination!r}",
            at=destination,
            hint="put the destination last: COPY <<EOF /path",
        )
    known = {doc.name: doc for doc in line.heredocs}
    paths: list[str] = []
    files: list[Heredoc] = []
    for source in sources:
        if doc := read_heredoc_word(source):
            content = known[doc.name].content if doc.name in known else ""
            files.append(doc.filled(content))
        else:
            paths.append(source)
    return tuple(paths), tuple(files), destination


def _add(line: Line, span: Span, original: str) -> to.Add:
    sources, files, destination = _sources(line)
    flags = line.read_flags(
        chown="value",
        chmod="value",
        link="switch",
        keep_git_dir="switch",
        checksum="value",
        unpack="switch",
        exclude="values",
    )
    return to.Add(
        span=span,
        original=original,
        sources=sources,
        files=files,
        destination=destination,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.switches.get("link", False),
        exclude=flags.many("exclude"),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.switches.get("keep-git-dir"),
        unpack=flags.switches.get("unpack"),
    )


def _copy(line: Line, span: Span, original: str) -> to.Copy:
    sources, files, destination = _sources(line)
    # "from" is a Python keyword
    kinds: dict[str, Kind] = {"from": "value"}
    flags = line.read_flags(**kinds, chown="value", chmod="value", link="switch", parents="switch", exclude="values")
    return to.Copy(
        span=span,
        original=original,
        sources=sources,
        files=files,
        destination=destination,
        source=flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.switches.get("link", False),
        parents=flags.switches.get("parents", False),
        exclude=flags.many("exclude"),
    )


def _volume(line: Line, span: Span, original: str) -> to.Volume:
    words = line.words()
    if not words:
        raise line.needs("at least one path")
    line.read_flags()
    paths = tuple(word.strip(SPACE) for word in words)
    if not all(paths):
        raise line.error("VOLUME path is empty", at=line.rest, hint=_FORMS["volume"])
    return to.Volume(span=span, original=original, paths=paths)


def _user(line: Line, span: Span, original: str) -> to.User:
    user = line.one("a user")
    line.read_flags()
    return to.User(span=span, original=original, user=user)


def _workdir(line: Line, span: Span, original: str) -> to.Workdir:
    path = line.one("a path")
    line.read_flags()
    return to.Workdir(span=span, original=original, path=path)


def _arg(line: Line, span: Span, original: str) -> to.Arg:
    # BuildKit does not look at the flags of ARG and STOPSIGNAL
    words = split_words(line.rest, line.escape)
    if not words:
        raise line.needs("at least one name")
    items = []
    for word in words:
        name, equals, default = word.partition("=")
        if not name:
            raise line.error(f"no name before '=' in {word!r}", at=word, hint=_FORMS["arg"])
        items.append(to.ArgItem(name, default if equals else None))
    return to.Arg(span=span, original=original, items=tuple(items))


def _stopsignal(line: Line, span: Span, original: str) -> to.Stopsignal:
    return to.Stopsignal(span=span, original=original, signal=line.one("a signal"))


def _shell(line: Line, span: Span, original: str) -> to.Shell:
    line.read_flags()
    if not line.rest:
        raise line.needs("a JSON array")
    argv = line.array()
    if argv is None:
        raise line.error("SHELL needs a JSON array", at=line.rest, hint=_FORMS["shell"])
    if not argv:
        raise line.needs("at least one argument")
    return to.Shell(span=span, original=original, argv=argv)


def _healthcheck(line: Line, span: Span, original: str) -> to.Healthcheck:
    kind, *tail = re.split(f"[{SPACE}]+", line.rest, maxsplit=1)
    text = tail[0] if tail else ""
    if not kind:
        raise line.needs("CMD or NONE")
    if kind.upper() == "NONE":
        if text and line.array(text) != ():
            raise line.error(
                f"HEALTHCHECK NONE takes no arguments, not {text!r}", at=text, hint="write HEALTHCHECK NONE"
            )
        return to.Healthcheck(span=span, original=original, command=None)
    flags = line.read_flags(
        interval="value", timeout="value", start_period="value", start_interval="value", retries="value"
    )
    if kind.upper() != "CMD":
        hint = did_you_mean(kind.upper(), ("CMD", "NONE"))
        raise line.error(f"unknown HEALTHCHECK type {kind!r}", at=kind, hint=hint)
    command = line.command(text)
    if command in (to.ShellForm(""), to.ExecForm(())):
        raise line.error("HEALTHCHECK CMD needs a command", at=kind, hint=_FORMS["healthcheck"])
    return to.Healthcheck(
        span=span,
        original=original,
        command=command,
        interval=_duration(line, flags, "interval"),
        timeout=_duration(line, flags, "timeout"),
        start_period=_duration(line, flags, "start-period"),
        start_interval=_duration(line, flags, "start-interval"),
        retries=_retries(line, flags.values.get("retries", "")),
    )


def _duration(line: Line, flags: Flags, name: str) -> int:
    """Nanoseconds; BuildKit refuses what is shorter than a millisecond, but takes 0."""
    text = flags.values.get(name, "")
    value = parse_duration(text) if text else 0
    if value is None:
        raise line.error(f"invalid duration {text!r} for --{name}", at=text, hint="a duration such as 30s or 1m30s")
    if value and value < _MILLISECOND:
        raise line.error(f"duration {text!r} for --{name} is shorter than 1ms", at=text, hint="use 1ms or more")
    return value


def _retries(line: Line, text: str) -> int:
    if not text:
        return 0
    if not _INT32.match(text) or not 0 <= int(text) <= _MAX_INT32:
        raise line.error(f"invalid number {text!r} for --retries", at=text, hint="a whole number, 0 or more")
    return int(text)


def _onbuild(line: Line, span: Span, original: str) -> to.Onbuild:
    inner_text = line.one("an instruction")
    line.read_flags()
    # the trigger is read again by the build it triggers, and there the escape character is the default one
    inner = Line.cut(line.logical, inner_text, "\\")
    inner.heredocs = line.heredocs
    if inner.kind in ("onbuild", "from", "maintainer"):
        raise inner.error(f"{inner.name.upper()} is not allowed as an ONBUILD trigger", hint="any other instruction is")
    if inner.kind in ("add", "copy", "run", "cmd", "entrypoint", "shell", "volume"):
        inner.array()
    if inner.kind in ("env", "label") and inner.rest:
        _pairs(inner)
    expression = _ONBUILD.sub("", line.text, count=1)
    expression += "".join(f"\n{doc.content}{doc.name}" for doc in line.heredocs)
    try:
        instruction = _dispatch(inner)
    except DockerfileError:
        instruction = None
    return to.Onbuild(span=span, original=original, expression=expression, instruction=instruction)


_Read: TypeAlias = Callable[[Line, Span, str], to.Instruction]

_READERS: dict[str, _Read] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stopsignal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}

#: how each is written, for hints
_FORMS: dict[str, str] = {
    "add": "ADD [flags] SOURCE ... DESTINATION",
    "arg": "ARG NAME[=DEFAULT] ...",
    "copy": "COPY [flags] SOURCE ... DESTINATION",
    "env": "ENV NAME=VALUE ...",
    "expose": "EXPOSE PORT[/PROTOCOL] ...",
    "from": "FROM [--platform=PLATFORM] IMAGE [AS NAME]",
    "healthcheck": "HEALTHCHECK [flags] CMD COMMAND, or HEALTHCHECK NONE",
    "label": "LABEL NAME=VALUE ...",
    "maintainer": "MAINTAINER NAME",
    "mount": "--mount=type=bind|cache|tmpfs|secret|ssh,target=PATH,...",
    "onbuild": "ONBUILD INSTRUCTION ...",
    "shell": 'SHELL ["program", "argument", ...]',
    "stopsignal": "STOPSIGNAL NAME|NUMBER",
    "user": "USER NAME|UID[:GROUP|GID]",
    "volume": 'VOLUME PATH ..., or VOLUME ["PATH", ...]',
    "workdir": "WORKDIR PATH",
}
