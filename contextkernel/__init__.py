"""Containers in notebooks: build, run and look into images with an engine of our own, beside the kernel.

``%load_ext contextkernel`` adds ``%%dockerfile``, ``%container`` and ``%%container``; :class:`Engine` is the same
thing for Python code. Importing this module is cheap: everything else is loaded on first use.
"""

from __future__ import annotations

# Before msgspec can be: its C part takes what it needs of datetime without looking whether that could be imported. An
# interrupt in the middle of it is lost, and the first decoder that is made ends the process (msgspec 0.22, SIGSEGV).
import datetime  # noqa: F401, ICN001

TYPE_CHECKING = False  # as typing has it, without the time that importing typing takes
if TYPE_CHECKING:
    from typing import Any

    from contextkernel.engine import Engine
    from contextkernel.errors import ContextKernelError

__all__ = ["ContextKernelError", "Engine", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Engine":
        from contextkernel.engine import Engine

        return Engine
    if name == "ContextKernelError":
        from contextkernel.errors import ContextKernelError

        return ContextKernelError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext contextkernel``: add the magics to ``shell`` (an IPython ``InteractiveShell``)."""
    from contextkernel.notebook import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext contextkernel``: take the magics away again."""
    from contextkernel.notebook import unload

    unload(shell)
