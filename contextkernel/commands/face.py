"""What a command needs of the place where it is given: terminal, notebook, test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from contextkernel.commands.outcome import Table, Text
    from contextkernel.model.ports import Reporter, Screen

Progress: TypeAlias = Literal["auto", "plain", "json", "quiet"]


class Face(Protocol):
    """Where the words came from and where output goes."""

    @property
    def program(self) -> str:
        """How the user calls us, for usage texts: ``contextkernel``, ``%container``, ``%docker``."""
        ...

    @property
    def stdin(self) -> bytes | int | None:
        """Standard input: a descriptor, bytes, or ``None`` for no input.

        A descriptor is read only when the command asks for it (``run -i``, ``load``, ``-f -``); bytes (the cell
        below a cell magic) are always given to ``run``.
        """
        ...

    @property
    def namespace(self) -> Mapping[str, object] | None:
        """The variables that the command sees: a function's own, then the notebook's; ``None`` where there are none."""
        ...

    def write_out(self, text: str) -> None:
        """Show text that is there before the command has finished (``logs``, warnings go to :meth:`write_err`)."""
        ...

    def write_err(self, text: str) -> None:
        """Show text on standard error."""
        ...

    def write_output(self, stream: str, data: bytes) -> None:
        """Show a piece of a container's output; ``stream`` is ``stdout`` or ``stderr``."""
        ...

    def output_descriptors(self) -> tuple[int | None, int | None]:
        """Descriptors a container may write to directly, or ``None`` each: then :meth:`write_output` gets the bytes."""
        ...

    def screen(self, *, keys: bool) -> Screen | None:
        """The terminal that can show a program's terminal, or what stands in for one; ``None`` if there is nothing.

        Args:
            keys: they are typed at standard input, and all of them are to be passed on.
        """
        ...

    def reporter(self, progress: Progress, *, out: bool = False) -> AbstractContextManager[Reporter]:
        """A view of events (build, pull, base ensure) for the time of the ``with`` block.

        Args:
            progress: which one.
            out: it is what the command says (docker's pull and push), and not beside that: standard output.

        Leaving the block finishes the view; an exception passes through after it was drawn as failed.
        """
        ...

    def live(self) -> AbstractContextManager[Callable[[Table | Text], None]]:
        """A view of values, each in the place of the one before, for the time of the ``with`` block.

        It is left by an interrupt; a notebook's view then stays as it is, and the command has ended well.
        """
        ...

    def ask(self, question: str, *, secret: bool) -> str | None:
        """Ask for a line of text (``login``).

        Args:
            question: is shown before it, without a line's end.
            secret: what is typed is not shown.

        Returns:
            The line; ``None`` if there is nobody to ask.
        """
        ...

    def confirm(self, question: str) -> bool:
        """Ask before something is removed (``prune`` without ``-f``); no terminal to ask at means ``False``."""
        ...
