"""Checks of a text, in few words."""

from __future__ import annotations

from typing import Any

from contextkernel.dockerfile.ignore import parse_ignore
from contextkernel.dockerfile.parse import read_instructions
from contextkernel.model.oci import ImageConfig, RunConfig
from contextkernel.model.platform import Platform
from contextkernel.plan.checks import Found, Subject, check

AMD64 = Platform("linux", "amd64")


def image(platform: str = "linux/amd64", **config: Any) -> ImageConfig:
    """A base image's configuration."""
    parsed = Platform.parse(platform)
    return ImageConfig(
        os=parsed.os, architecture=parsed.architecture, variant=parsed.variant or "", config=RunConfig(**config)
    )


def look(text: str, *, ignore: str = "", platform: Platform = AMD64, **subject: Any) -> Found:
    """Check a Dockerfile for linux/amd64."""
    subject = {"build_platform": AMD64, "platform": platform, "ignore": parse_ignore(ignore), **subject}
    return check(read_instructions(text), Subject(**subject))


def told(text: str, **subject: Any) -> list[tuple[int, str, str]]:
    """Line, rule and message of each finding; the file itself must be right."""
    found = look(text, **subject)
    assert found.problem is None, found.problem
    by_line = sorted(found.findings, key=lambda finding: finding.span.line)
    return [(finding.span.line, finding.rule, finding.message) for finding in by_line]


def rules(text: str, **subject: Any) -> list[str]:
    """The rules that were found."""
    return [rule for _, rule, _ in told(text, **subject)]
