"""``inspect`` of several names: documents, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from contextkernel.commands.outcome import Document, Outcome, Text
from contextkernel.commands.tables import documents_formatted
from contextkernel.errors import ContextKernelError

if TYPE_CHECKING:
    from contextkernel.commands.call import Call


def inspect_each(call: Call, look: Callable[[str], dict[str, Any]]) -> Outcome:
    """The documents of all names, in ``--format`` if there is one; goes on after names that do not exist.

    Args:
        call: the command.
        look: gives the document of one name.

    Raises:
        TemplateProblem: ``--format`` is no template, or does not fit.
    """
    documents: list[dict[str, Any]] = []
    problems: list[ContextKernelError] = []
    layout = call.parsed.text("format")
    if layout not in ("", "json"):  # a template that is none must fail before anything else
        from contextkernel.commands.template import Template

        Template(layout)
    for name in call.parsed.arguments:
        try:
            documents.append(look(name))
        except ContextKernelError as problem:
            problems.append(problem)
    value = Text(documents_formatted(documents, layout)) if layout else Document(tuple(documents))
    return Outcome(value=value, exit_code=1 if problems else 0, problems=tuple(problems))
