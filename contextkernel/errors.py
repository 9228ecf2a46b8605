"""Every error this package raises, in one tree.

::

    ContextKernelError
    ├── InvalidInput            a value the user gave is not acceptable
    │   ├── InvalidReference    image reference or tag
    │   ├── InvalidDigest
    │   ├── UsageProblem        words that do not fit the command grammar
    │   ├── DockerfileError     text that is not a Dockerfile; has a span
    │   ├── TemplateProblem     a --format template
    │   └── InvalidArchive      a tar, layer or image archive that is refused
    ├── NotFound
    │   ├── ImageNotFound
    │   ├── ContainerNotFound
    │   ├── VolumeNotFound
    │   ├── NetworkNotFound
    │   └── SourceNotFound      a COPY/ADD source or a context file
    ├── Conflict
    │   ├── NameInUse
    │   ├── ImageInUse
    │   └── ContainerRunning
    ├── BuildFailed
    │   └── StepFailed          a RUN whose program failed
    ├── LaunchFailed            125: the container could not be set up
    │   ├── CommandNotExecutable   126
    │   └── CommandNotFound        127
    ├── StoreProblem
    │   ├── StoreTooNew
    │   ├── StoreFull
    │   ├── DigestMismatch
    │   └── SizeMismatch
    ├── RegistryProblem
    │   ├── RegistryUnreachable no answer: names, network, a connection that broke; trying again may help
    │   │   ├── RegistryNameUnknown its host has no address: misspelled, or there is no network
    │   │   └── RegistryUntrusted   TLS: the certificate is not one that is trusted here
    │   └── RegistryRefused     an answer, and not the one that was hoped for
    │       ├── RegistryUnauthorized   401: it wants a login, or does not believe the one it got
    │       ├── RegistryDenied         403: who is logged in may not do this
    │       ├── RegistryRateLimited    429: too many requests; has the time of the reset
    │       └── RegistryFailing        5xx: something is wrong on its side
    ├── FetchFailed             a URL or Git repository did not give what was asked
    ├── HostUnsupported         this host does not allow it; says what would
    ├── SyscallFailed           a system call; has call, errno and path
    └── ProtocolViolation       helper processes disagree: a bug, names both sides

A problem is lower case without a full stop and includes the offending value; a hint says what to do;
a span points into the text it came from. Decisions are made on types and fields, never on the text.
"""

from __future__ import annotations

import os

import msgspec


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a text: lines and columns count from 1; ``end_column`` is one past the last character.

    Attributes:
        file: name to show for the text, e.g. ``Dockerfile``.
        line: first line.
        column: first column.
        end_line: last line.
        end_column: column just past the end on ``end_line``.
    """

    file: str
    line: int
    column: int = 1
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class ContextKernelError(Exception):
    """Base of all errors of this package.

    Args:
        problem: what is wrong, with the value; lower case, no full stop.
        hint: what the user can do about it.
        span: the place in the source text, where there is one.
        source: the whole source text that ``span`` points into; with it the message draws an excerpt.
    """

    #: exit code of the command line for this kind of error (docker run: 125 for the engine's own errors)
    exit_code: int = 1

    def __init__(
        self, problem: str, *, hint: str | None = None, span: Span | None = None, source: str | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.span = span
        self.source = source

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """The message as lines: place and problem, drawn excerpt, hint."""
        out = [f"{self.span}: {self.problem}" if self.span else self.problem]
        if self.span and self.source is not None:
            out += excerpt(self.source, self.span)
        if self.hint:
            out.append(f"hint: {self.hint}")
        return out

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback (its documented protocol for exceptions)."""
        first, *rest = self.lines()
        return [f"{type(self).__name__}: {first}", *rest]


def excerpt(source: str, span: Span, context: int = 2) -> list[str]:
    """Draw the lines around ``span``, numbered, with the offending ones marked and underlined.

    Args:
        source: the text the span points into.
        span: the place.
        context: lines to show before and after.

    Returns:
        Lines without line ends.
    """
    text = source.removesuffix("\n").split("\n") if source else []
    first, last = max(1, span.line - context), min(len(text), span.end_line + context)
    width = len(str(last))
    out = []
    for number in range(first, last + 1):
        content = text[number - 1].expandtabs(4).rstrip("\r")
        hit = span.line <= number <= span.end_line
        out.append(f"{'>' if hit else ' '} {number:>{width}} | {content}")
        if hit and span.line == span.end_line:
            raw = text[number - 1]
            start = len(raw[: span.column - 1].expandtabs(4))
            stop = len(raw[: span.end_column - 1].expandtabs(4))
            out.append(f"  {'':>{width}} | {'':{start}}{'^' * max(1, stop - start)}")
    return out


class InvalidInput(ContextKernelError):
    """A value the user gave is not acceptable."""


class InvalidReference(InvalidInput):
    """Not an image reference (distribution spec, reference grammar)."""


class InvalidDigest(InvalidInput):
    """Not a digest (OCI image-spec, descriptor.md)."""


class UsageProblem(InvalidInput):
    """Words that do not fit the command grammar."""

    exit_code = 125


class DockerfileError(InvalidInput):
    """Text that is not a Dockerfile."""


class TemplateProblem(InvalidInput):
    """A ``--format`` template that cannot be parsed or applied."""

    exit_code = 64


class InvalidArchive(InvalidInput):
    """A tar stream, layer or image archive that is refused."""


class NotFound(ContextKernelError):
    """Something named does not exist."""


class ImageNotFound(NotFound):
    """No such image, neither here nor in a registry."""


class ContainerNotFound(NotFound):
    """No such container."""


class VolumeNotFound(NotFound):
    """No such volume."""


class NetworkNotFound(NotFound):
    """No network has this name or id."""


class SourceNotFound(NotFound):
    """A COPY/ADD source or a context file does not exist."""


class Conflict(ContextKernelError):
    """The request does not fit the present state."""


class NameInUse(Conflict):
    """The container name is taken."""


class ImageInUse(Conflict):
    """A container uses the image."""


class ContainerRunning(Conflict):
    """The container must be stopped first."""


class BuildFailed(ContextKernelError):
    """A build that cannot be finished."""


class StepFailed(BuildFailed):
    """A RUN instruction whose program failed.

    Args:
        problem: what failed.
        status: exit code of the program (128+n for signal n).
        tail: its last output lines.

    Attributes:
        kept: name under which the step can be looked into (``debug``); empty if it was not kept.
    """

    def __init__(
        self,
        problem: str,
        *,
        status: int,
        tail: tuple[str, ...] = (),
        hint: str | None = None,
        span: Span | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(problem, hint=hint, span=span, source=source)
        self.status = status
        self.tail = tail
        self.kept = ""

    def lines(self) -> list[str]:
        """As for every error, with the program's last output lines after the first."""
        first, *rest = super().lines()
        look = [f"debug: `debug {self.kept}` looks around in it as it is, `debug --before {self.kept}` as it was"]
        return [first, *(f"  | {line}" for line in self.tail), *rest, *(look if self.kept else [])]

    def _render_traceback_(self) -> list[str]:
        """With the commands as they are written in a notebook."""
        lines = super()._render_traceback_()
        if self.kept:
            lines[-1] = lines[-1].replace("`debug ", "`%container debug ")
        return lines


class LaunchFailed(ContextKernelError):
    """The container could not be set up (docker run: exit code 125)."""

    exit_code = 125


class CommandNotExecutable(LaunchFailed):
    """The container's program cannot be executed (docker run: exit code 126)."""

    exit_code = 126


class CommandNotFound(LaunchFailed):
    """The container's program does not exist (docker run: exit code 127)."""

    exit_code = 127


class StoreProblem(ContextKernelError):
    """The store cannot do what is asked."""


class StoreTooNew(StoreProblem):
    """The store was written by a newer version of this package."""


class StoreFull(StoreProblem):
    """No space left where the store lives."""


class DigestMismatch(StoreProblem):
    """Content does not have the digest it was promised to have."""


class SizeMismatch(StoreProblem):
    """Content is longer or shorter than it was promised to be."""


class RegistryProblem(ContextKernelError):
    """A registry did not give what was asked.

    Attributes:
        status: the answer's HTTP status; 0 if there was none.
        retry_after: seconds that the registry asks to wait before the next try; ``None`` if it did not say.
    """

    def __init__(
        self,
        problem: str,
        *,
        hint: str | None = None,
        span: Span | None = None,
        source: str | None = None,
        status: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(problem, hint=hint, span=span, source=source)
        self.status = status
        self.retry_after = retry_after


class RegistryUnreachable(RegistryProblem):
    """No connection to the registry, or one that broke: trying again may help."""


class RegistryNameUnknown(RegistryUnreachable):
    """Nobody knows the host by its name: misspelled, or there is no network."""


class RegistryUntrusted(RegistryUnreachable):
    """The registry's certificate is not one that is trusted here; trying again does not help."""


class RegistryRefused(RegistryProblem):
    """The registry answered, and refused."""


class RegistryUnauthorized(RegistryRefused):
    """The registry wants a login, or does not believe the one it got (401)."""


class RegistryDenied(RegistryRefused):
    """Who is logged in may not do this (403)."""


class RegistryRateLimited(RegistryRefused):
    """Too many requests (429); ``retry_after`` tells when the limit is reset, if the registry said so."""


class RegistryFailing(RegistryRefused):
    """Something is wrong on the registry's side (5xx)."""


class FetchFailed(ContextKernelError):
    """A URL or a Git repository did not give what was asked; the message has no secret in it."""


class HostUnsupported(ContextKernelError):
    """This host does not allow what is asked; the hint says what would."""

    exit_code = 125


class SyscallFailed(ContextKernelError):
    """A system call failed.

    Args:
        call: name of the system call.
        number: errno.
        path: file it was about, if any.
        hint: what the errno usually means here.
    """

    exit_code = 125

    def __init__(self, call: str, number: int, path: str | None = None, hint: str | None = None) -> None:
        where = f" {path}" if path else ""
        super().__init__(f"{call}{where}: {os.strerror(number).lower()} (errno {number})", hint=hint)
        self.call = call
        self.number = number
        self.path = path


class ProtocolViolation(ContextKernelError):
    """Two of our processes disagree about their messages; always a bug."""
