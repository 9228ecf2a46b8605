"""What ``prune`` says of what it has removed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from contextkernel.commands.humanize import human_size


def deleted(title: str, lines: Sequence[str]) -> str:
    """Docker's list under its heading, and an empty line; nothing for nothing."""
    return f"{title}\n" + "".join(f"{line}\n" for line in lines) + "\n" if lines else ""


def reclaimed(size: int) -> str:
    """Docker's last line; ``size`` in bytes."""
    return f"Total reclaimed space: {human_size(size, 4)}\n"
