"""Resource limits of a container's program."""

from __future__ import annotations

import resource

from contextkernel.errors import LaunchFailed


def set_limit(name: str, soft: int, hard: int) -> None:
    """Set one limit of this process (setrlimit(2)).

    Args:
        name: as in ``RLIMIT_<NAME>``, lower case.
        soft, hard: the limit; -1 is none.

    Raises:
        LaunchFailed: this system has no such limit, or does not let this user raise it.
    """
    number = getattr(resource, f"RLIMIT_{name.upper()}", None)
    if number is None:
        raise LaunchFailed(f"this system has no resource limit {name!r}")
    try:
        resource.setrlimit(number, (soft, hard))
    except (OSError, ValueError):
        present = resource.getrlimit(number)[1]
        raise LaunchFailed(
            f"the resource limit {name}={soft}:{hard} cannot be set: this user may not go above {present}",
            hint=f"give --ulimit {name}={present} or less, or raise the hard limit of this user",
        ) from None
