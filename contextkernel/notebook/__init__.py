"""The IPython face of the command grammar: magics, completion, tables and the live build view.

Nothing here is imported by ``import contextkernel``; ``%load_ext contextkernel`` calls :func:`load`. pandas is only
imported when the first table is made, the engine when the first command is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from contextkernel.engine import Engine

__all__ = ["load", "load_docker_alias", "unload", "unload_docker_alias"]

_ATTRIBUTE = "_contextkernel_magics"
"""Where a shell keeps its magics object, so that loading twice is harmless and unloading finds it."""


def load(shell: InteractiveShell, make_engine: Callable[[], Engine] | None = None) -> None:
    """Add ``%%dockerfile``, ``%container`` and ``%%container`` to ``shell``. Loading twice changes nothing.

    Args:
        shell: the IPython shell to extend.
        make_engine: makes the engine at the first command that needs one; default: ``Engine()``.
    """
    if getattr(shell, _ATTRIBUTE, None) is not None:
        return
    from contextkernel.notebook.magics import ContainerMagics

    magics = ContainerMagics(shell, make_engine)
    setattr(shell, _ATTRIBUTE, magics)
    magics.attach()


def unload(shell: InteractiveShell) -> None:
    """Take everything back that :func:`load` added, and close the shell's engine. Harmless when not loaded."""
    magics = getattr(shell, _ATTRIBUTE, None)
    if magics is None:
        return
    setattr(shell, _ATTRIBUTE, None)
    magics.detach()


def load_docker_alias(shell: InteractiveShell) -> None:
    """Load the magics and let ``%docker`` and ``%%docker`` mean ``%container`` and ``%%container``."""
    load(shell)
    _magics(shell).docker_alias = True


def unload_docker_alias(shell: InteractiveShell) -> None:
    """Take the ``%docker`` alias back; the other magics stay."""
    if getattr(shell, _ATTRIBUTE, None) is not None:
        _magics(shell).docker_alias = False


def _magics(shell: InteractiveShell) -> Any:
    return getattr(shell, _ATTRIBUTE)
