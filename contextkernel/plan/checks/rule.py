"""What a build check is: a rule as a frozen value, and a finding."""

from __future__ import annotations

import msgspec

from contextkernel.errors import Span
from contextkernel.model.checks import RuleFinding

_DOCS = "https://docs.docker.com/go/dockerfile/rule/"


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A build to show a rule with.

    Attributes:
        dockerfile: its text.
        ignore: its ``.dockerignore``, where that matters.
        platform: what it is built for; default ``linux/amd64``.
        bases: image name to the platform it is there for, where that matters.
    """

    dockerfile: str
    ignore: str = ""
    platform: str = "linux/amd64"
    bases: tuple[tuple[str, str], ...] = ()


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A build check.

    Attributes:
        name: as users write it behind ``skip=``.
        description: what it asks for, in a line; BuildKit's words.
        message: what a finding says, with ``{}`` for its values; BuildKit's words, so that reports can be compared.
        slug: the last part of the address of docker's page; empty where docker has none.
        why: what goes wrong otherwise, and what to do.
        bad: builds in which it is found.
        good: builds in which it is not.
        experimental: only looked for when asked.
    """

    name: str
    description: str
    message: str
    slug: str
    why: str
    bad: tuple[Example, ...]
    good: tuple[Example, ...]
    experimental: bool = False

    @property
    def url(self) -> str:
        """Docker's page about the rule; empty if there is none."""
        return f"{_DOCS}{self.slug}/" if self.slug else ""

    @property
    def page(self) -> str:
        """Our page about the rule, within the project."""
        return f"docs/rules/{self.name}.md"

    def at(self, span: Span, *values: str, hint: str = "") -> RuleFinding:
        """A finding at a place.

        Args:
            span: the instruction.
            values: for the message.
            hint: what was probably meant, with ``$`` where it is a variable; empty for none.
        """
        text = self.message.format(*values) + (f" (did you mean {hint}?)" if hint else "")
        return RuleFinding(
            rule=self.name,
            message=text,
            description=self.description,
            url=self.url,
            page=self.page,
            span=span,
        )
