"""The instructions of a Dockerfile as frozen values, unexpanded: what the text says, not yet what it means.

Source of the forms: BuildKit's Dockerfile reference (``frontend/dockerfile/docs/reference.md``). Every value
knows where it stands (``span``) and what it looked like (``original``). Text that may hold ``$variables`` is kept
as written, quotes included; :mod:`contextkernel.dockerfile.expand` resolves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from contextkernel.dockerfile.heredocs import Heredoc, read_heredoc_word

if TYPE_CHECKING:
    from contextkernel.dockerfile.mounts import MountWords
    from contextkernel.errors import Span

__all__ = [
    "Add", "Arg", "ArgItem", "CheckDirective", "Cmd", "CommandForm", "Copy", "Device", "Directives", "Dockerfile",
    "Entrypoint", "Env", "ExecForm", "Expose", "FileScript", "From", "Healthcheck", "Heredoc", "Instruction",
    "KeyValue", "Label", "Maintainer", "Onbuild", "Run", "Shell", "ShellForm", "ShellScript", "Stage", "Stopsignal",
    "User", "Volume", "Workdir",
]  # fmt: skip


class ShellForm(msgspec.Struct, frozen=True):
    """A command line for the stage's shell, e.g. ``apt-get update && echo "$HOME"``; may be empty."""

    text: str


class ExecForm(msgspec.Struct, frozen=True):
    """An argument vector from a JSON array; may be empty (``CMD []``)."""

    argv: tuple[str, ...]


CommandForm: TypeAlias = ShellForm | ExecForm


class _Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """What every instruction has.

    Attributes:
        span: from the first character of the instruction to the last of its last line, here-documents included.
        original: the logical line with continuations joined and comments removed, as docker's step names show it.
    """

    span: Span
    original: str


class From(_Instruction, frozen=True, kw_only=True):
    """``FROM [--platform=P] IMAGE [AS NAME]``.

    Attributes:
        image: image reference, earlier stage's name or ``scratch``; unexpanded.
        name: stage name in lower case.
        platform: the flag's value, unexpanded.
    """

    image: str
    name: str | None = None
    platform: str | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """``RUN --device=NAME[,required]``: a CDI device name."""

    name: str
    required: bool = False


class Run(_Instruction, frozen=True, kw_only=True):
    """``RUN [flags] COMMAND``.

    Attributes:
        command: shell form (here-document words still in the text) or exec form.
        heredocs: the here-documents in the order of their words.
        mounts: the ``--mount`` flags; :func:`contextkernel.dockerfile.mounts.resolve_mount` makes typed mounts of
            them once the variables they may use are known.
        network: ``default``, ``none`` or ``host``.
        security: ``sandbox`` or ``insecure``.
        devices: the ``--device`` flags.
    """

    command: CommandForm
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[MountWords, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[Device, ...] = ()

    def script(self) -> ShellScript | FileScript | ExecForm:
        """What is to be executed, with here-documents put where they belong (BuildKit's ``dispatchRun``).

        A lone here-document is the shell's input, or a program of its own when it starts with ``#!``; with a command
        beside it (``RUN python3 <<EOF``) the text is put together again for the shell to handle.
        """
        if isinstance(self.command, ExecForm):
            return self.command
        text = self.command.text
        if not self.heredocs:
            return ShellScript(text)
        first = self.heredocs[0]
        if read_heredoc_word(text):
            return FileScript(first.name, first.text) if first.text.startswith("#!") else ShellScript(first.text)
        return ShellScript(text + "".join(f"\n{doc.content}{doc.name}" for doc in self.heredocs))


class ShellScript(msgspec.Struct, frozen=True):
    """Text that the stage's shell gets as one argument."""

    text: str


class FileScript(msgspec.Struct, frozen=True):
    """A program with a shebang, executed as a file of this name."""

    name: str
    content: str


class Cmd(_Instruction, frozen=True, kw_only=True):
    """``CMD``: default command, or default arguments of the entrypoint."""

    command: CommandForm


class Entrypoint(_Instruction, frozen=True, kw_only=True):
    """``ENTRYPOINT``."""

    command: CommandForm


class KeyValue(msgspec.Struct, frozen=True):
    """One ``key=value`` of ENV or LABEL, both unexpanded and with their quotes."""

    key: str
    value: str


class Label(_Instruction, frozen=True, kw_only=True):
    """``LABEL k=v ...`` or the legacy ``LABEL k v`` (``legacy``)."""

    pairs: tuple[KeyValue, ...]
    legacy: bool = False


class Maintainer(_Instruction, frozen=True, kw_only=True):
    """``MAINTAINER NAME`` (deprecated): the image's author."""

    name: str


class Expose(_Instruction, frozen=True, kw_only=True):
    """``EXPOSE PORT[/PROTO] ...``: unexpanded, sorted as BuildKit sorts them; one word may expand to several."""

    ports: tuple[str, ...]


class Env(_Instruction, frozen=True, kw_only=True):
    """``ENV k=v ...`` or the legacy ``ENV k v`` (``legacy``)."""

    pairs: tuple[KeyValue, ...]
    legacy: bool = False


class _Transfer(_Instruction, frozen=True, kw_only=True):
    """What COPY and ADD share.

    Attributes:
        sources: paths or wildcards (ADD: also URLs), unexpanded.
        files: here-documents given as sources; each becomes a file of its name.
        destination: unexpanded; ends in ``/`` for a directory.
        chown: ``user[:group]``, unexpanded.
        chmod: octal or symbolic mode, unexpanded.
        link: ``--link``.
        exclude: ``--exclude`` patterns.
    """

    sources: tuple[str, ...]
    files: tuple[Heredoc, ...] = ()
    destination: str
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    exclude: tuple[str, ...] = ()


class Add(_Transfer, frozen=True, kw_only=True):
    """``ADD``.

    Attributes:
        checksum: digest of a URL's content or commit of a Git source, unexpanded.
        keep_git_dir: ``None`` if not said.
        unpack: ``None`` if not said: local archives are unpacked, downloaded ones are not.
    """

    checksum: str | None = None
    keep_git_dir: bool | None = None
    unpack: bool | None = None


class Copy(_Transfer, frozen=True, kw_only=True):
    """``COPY``.

    Attributes:
        source: ``--from``: stage name or index, named context or image; ``None`` for the build context.
        parents: ``--parents``: keep the sources' parent directories.
    """

    source: str | None = None
    parents: bool = False


class Volume(_Instruction, frozen=True, kw_only=True):
    """``VOLUME PATH ...`` or a JSON array."""

    paths: tuple[str, ...]


class User(_Instruction, frozen=True, kw_only=True):
    """``USER user[:group]``."""

    user: str


class Workdir(_Instruction, frozen=True, kw_only=True):
    """``WORKDIR PATH``."""

    path: str


class ArgItem(msgspec.Struct, frozen=True):
    """One argument; ``default`` is ``None`` without ``=`` and unexpanded otherwise."""

    name: str
    default: str | None = None


class Arg(_Instruction, frozen=True, kw_only=True):
    """``ARG name[=default] ...``."""

    items: tuple[ArgItem, ...]


class Onbuild(_Instruction, frozen=True, kw_only=True):
    """``ONBUILD INSTRUCTION``.

    Attributes:
        expression: the text that goes into the image config; :func:`contextkernel.dockerfile.parse_trigger` reads it.
        instruction: the trigger as a value, or ``None`` where it is not valid: as with BuildKit, that is an error of
            the build that is triggered, not of this one.
    """

    expression: str
    instruction: Instruction | None


class Stopsignal(_Instruction, frozen=True, kw_only=True):
    """``STOPSIGNAL NAME|NUMBER``."""

    signal: str


class Healthcheck(_Instruction, frozen=True, kw_only=True):
    """``HEALTHCHECK [flags] CMD ...`` or ``HEALTHCHECK NONE``.

    Attributes:
        command: ``None`` for ``NONE``.
        interval, timeout, start_period, start_interval: nanoseconds; 0 if not given (the engine's default).
        retries: 0 if not given.
    """

    command: CommandForm | None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Shell(_Instruction, frozen=True, kw_only=True):
    """``SHELL ["program", "argument", ...]``."""

    argv: tuple[str, ...]


Instruction: TypeAlias = (
    From
    | Run
    | Cmd
    | Label
    | Maintainer
    | Expose
    | Env
    | Add
    | Copy
    | Entrypoint
    | Volume
    | User
    | Workdir
    | Arg
    | Onbuild
    | Stopsignal
    | Healthcheck
    | Shell
)


class CheckDirective(msgspec.Struct, frozen=True, kw_only=True):
    """``# check=skip=A,B;error=true``: which build checks to leave out, and whether findings are errors."""

    skip: tuple[str, ...] = ()
    skip_all: bool = False
    experimental: tuple[str, ...] = ()
    experimental_all: bool = False
    error: bool = False


class Directives(msgspec.Struct, frozen=True, kw_only=True):
    """The parser directives at the top of the file.

    Attributes:
        syntax: frontend image, as written.
        escape: the escape character, backslash or backtick.
        check: ``None`` without the directive.
    """

    syntax: str | None = None
    escape: str = "\\"
    check: CheckDirective | None = None


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One build stage: its FROM and what follows up to the next.

    Attributes:
        index: position in the file, from 0; usable as ``--from=0``.
        name: from ``AS``, lower case.
        base: the FROM.
        instructions: what follows it, in order; never a :class:`From`.
    """

    index: int
    name: str | None
    base: From
    instructions: tuple[Instruction, ...]


class Dockerfile(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed Dockerfile.

    Attributes:
        file: name to show for the text.
        source: the text that the spans point into.
        directives: parser directives.
        global_args: the ARGs before the first FROM; visible to FROM lines only.
        stages: at least one.
        gaps: the last lines of instructions with an empty line among their continuations.
    """

    file: str
    source: str
    directives: Directives
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    gaps: tuple[Span, ...] = ()
