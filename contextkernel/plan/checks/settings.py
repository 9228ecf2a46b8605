"""Which rules are looked for, and where findings are collected (BuildKit, ``linter/linter.go``)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from contextkernel.dockerfile.comments import local_check
from contextkernel.dockerfile.instructions import CheckDirective
from contextkernel.errors import Span
from contextkernel.model.checks import RuleFinding
from contextkernel.plan.checks.rule import Rule

_NOTHING = CheckDirective()


def wanted(rule: Rule, options: CheckDirective) -> bool:
    """Whether a rule is looked for: an experimental one if it is named, another one unless it is left out."""
    if rule.experimental:
        return options.experimental_all or rule.name in options.experimental
    return not options.skip_all and rule.name not in options.skip


def merged(options: CheckDirective, local: CheckDirective | None) -> CheckDirective:
    """The options for one instruction: the file's and those of the comment before it."""
    if local is None:
        return options
    return msgspec.structs.replace(
        options,
        skip=options.skip + local.skip,
        skip_all=options.skip_all or local.skip_all,
        experimental=options.experimental + local.experimental,
        experimental_all=options.experimental_all or local.experimental_all,
    )


class Collector:
    """Collects findings.

    Args:
        options: of the file, or of the build argument that replaces them.
        comments: first line of an instruction to the comments before it.

    Attributes:
        findings: in order of discovery.
    """

    def __init__(self, options: CheckDirective | None, comments: Mapping[int, tuple[str, ...]]) -> None:
        self._options = options or _NOTHING
        self.comments = comments
        self.findings: list[RuleFinding] = []

    def add(self, rule: Rule, span: Span, *values: str, hint: str = "") -> None:
        """Note a finding, unless the file's options leave its rule out; comments before an instruction do not count.

        Args:
            rule: what was found.
            span: where.
            values: for the rule's message.
            hint: see :meth:`Rule.at`.
        """
        if wanted(rule, self._options):
            self.findings.append(rule.at(span, *values, hint=hint))

    def add_here(self, rule: Rule, span: Span, *values: str, hint: str = "", local: Span | None = None) -> None:
        """Note a finding, unless the file's options or a comment before the instruction leave its rule out.

        Args:
            local: the instruction whose comments count, where it is not the one at ``span``.
        """
        options = merged(self._options, local_check(self.comments.get((local or span).line, ())))
        if wanted(rule, options):
            self.findings.append(rule.at(span, *values, hint=hint))

    @property
    def fatal(self) -> bool:
        """Whether findings fail the build."""
        return self._options.error
