"""What looking at a Dockerfile without building it gives: findings of build checks, an outline, targets."""

from __future__ import annotations

import msgspec

from contextkernel.errors import DockerfileError, Span


class RuleFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding of a build check.

    Attributes:
        rule: its name, e.g. ``StageNameCasing``.
        message: what was found, one line.
        description: what the rule asks for.
        url: docker's page about the rule; empty if there is none.
        page: our page about it, within the project.
        span: the instruction it is about.
    """

    rule: str
    message: str
    description: str
    url: str
    page: str
    span: Span

    @property
    def short(self) -> str:
        """The line that docker prints: ``StageNameCasing: Stage name 'A' should be lowercase (line 2)``."""
        return f"{self.rule}: {self.message} (line {self.span.line})"


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``build --check`` found.

    Attributes:
        file: name of the Dockerfile.
        source: its text, which the spans point into.
        findings: in the order in which they were found.
        problem: why it cannot be built, if it cannot.
        notes: what could not be looked into, and why.
    """

    file: str
    source: str
    findings: tuple[RuleFinding, ...] = ()
    problem: DockerfileError | None = None
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether there is nothing to complain about."""
        return not self.findings and self.problem is None


class OutlineArgument(msgspec.Struct, frozen=True, kw_only=True):
    """A build argument that the target uses.

    Attributes:
        name: to give with ``--build-arg``.
        value: what it is worth in this build; empty if it has no value.
        description: from the comment before it.
        line: where it is declared.
    """

    name: str
    value: str = ""
    description: str = ""
    line: int = 0


class OutlineMount(msgspec.Struct, frozen=True, kw_only=True):
    """A secret, an SSH agent or a cache that the target uses.

    Attributes:
        id: to give with ``--secret`` or ``--ssh``; of a cache its name.
        required: the build fails without it.
        line: where it is first used.
    """

    id: str
    required: bool = False
    line: int = 0


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """What a target takes (``build --call=outline``).

    Attributes:
        target: name of the stage; empty if it has none.
        description: from the comment before its FROM.
        source: the Dockerfile's text.
    """

    target: str = ""
    description: str = ""
    arguments: tuple[OutlineArgument, ...] = ()
    secrets: tuple[OutlineMount, ...] = ()
    ssh: tuple[OutlineMount, ...] = ()
    caches: tuple[OutlineMount, ...] = ()
    source: str = ""


class TargetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stage that can be built (``build --call=targets``).

    Attributes:
        name: empty for a stage without one.
        default: it is what is built without ``--target``.
        description: from the comment before its FROM.
        base: what its FROM names, unexpanded.
        platform: its ``--platform``, unexpanded.
        line: of its FROM.
    """

    name: str
    default: bool
    description: str
    base: str
    platform: str
    line: int


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """The stages that can be built, in the order of the file; ``source`` is the Dockerfile's text."""

    rows: tuple[TargetRow, ...]
    source: str = ""
