"""A question to the repositories that stand for one: mirrors first, the registry's own last."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from contextkernel.errors import ImageNotFound, RegistryProblem

R = TypeVar("R")
T = TypeVar("T")


def first_answer(repositories: Iterable[R], ask: Callable[[R], T]) -> T:
    """The first answer; a mirror that does not have it, or does not answer, is passed over.

    Args:
        repositories: one at least, see :func:`contextkernel.registry.client.repositories`.
        ask: asks one of them.

    Raises:
        RegistryProblem, ImageNotFound: of the last of them. What else ``ask`` raises is passed on at once.
    """
    last: RegistryProblem | ImageNotFound | None = None
    for repository in repositories:
        try:
            return ask(repository)
        except (RegistryProblem, ImageNotFound) as problem:
            last = problem
    assert last is not None  # noqa: S101 - the registry itself is always the last of them
    raise last
