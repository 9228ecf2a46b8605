"""Build checks: the rules as values, and what finds them in a Dockerfile; an outline and the targets. Pure.

Findings never change what a build gives; only ``error=true`` in the options makes it fail before it starts.
"""

from __future__ import annotations

from contextkernel.plan.checks.look import ARGUMENT, Found, Subject, check, check_options
from contextkernel.plan.checks.outline import list_targets, outline
from contextkernel.plan.checks.rule import Example, Rule
from contextkernel.plan.checks.rules import RULES

__all__ = [
    "ARGUMENT",
    "RULES",
    "Example",
    "Found",
    "Rule",
    "Subject",
    "check",
    "check_options",
    "list_targets",
    "outline",
]
