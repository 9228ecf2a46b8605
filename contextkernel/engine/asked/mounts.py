"""Keyword arguments of ``run`` and ``create`` about volumes and mounts, and what they come to."""

from __future__ import annotations

from typing import TypedDict

from contextkernel.model.mounts import Mount


class MountKeywords(TypedDict, total=False):
    """Names follow docker-py."""

    mounts: tuple[Mount, ...]


def mounts_from(keywords: MountKeywords) -> tuple[Mount, ...]:
    """What the keywords ask for."""
    return keywords.get("mounts", ())
