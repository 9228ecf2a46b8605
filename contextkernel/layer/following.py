"""Where a path leads inside of a root when symbolic links are followed: the rule, for whoever can say what is a link.

Source of the rules: path_resolution(7), and ``..`` stops at the root, as it does in a container.
"""

from __future__ import annotations

from collections.abc import Callable

from contextkernel.layer import names

MAX_LINKS = 40  # as the kernel (path_resolution(7))


def follow(path: str, link_at: Callable[[str], str | None], endless: Callable[[], Exception]) -> str:
    """Follow all symbolic links of a path, the last one too.

    Args:
        path: absolute or relative, it counts from the root; ``..`` stops there.
        link_at: gives the target of the link at a clean relative path, ``None`` for what is no link; what it raises
            ends the search.
        endless: what to raise when there are more than :data:`MAX_LINKS` links.

    Returns:
        The clean relative path that it leads to, ``"."`` for the root.
    """
    todo = path.split("/")[::-1]
    here, links = ".", 0
    while todo:
        part = todo.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            here = names.split(here)[0] if here != "." else "."
            continue
        step = names.join(here, part)
        target = link_at(step)
        if target is None:
            here = step
            continue
        links += 1
        if links > MAX_LINKS:
            raise endless()
        if target.startswith("/"):
            here = "."
        todo.extend(target.split("/")[::-1])
    return here
