"""``%load_ext contextkernel.docker``: the magics, and ``%docker`` as another name for ``%container``.

With it a course written for docker runs word for word: ``%docker build -t greet .``.
"""

from __future__ import annotations

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """Add the magics and the ``%docker`` alias to ``shell`` (an IPython ``InteractiveShell``)."""
    from contextkernel.notebook import load_docker_alias

    load_docker_alias(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take the ``%docker`` alias back; ``%unload_ext contextkernel`` removes the rest."""
    from contextkernel.notebook import unload_docker_alias

    unload_docker_alias(shell)
