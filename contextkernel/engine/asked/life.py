"""Keyword arguments of ``run`` and ``create`` about a container's life, and what they come to."""

from __future__ import annotations

from typing import TypedDict

from contextkernel.model.life import Life


class LifeKeywords(TypedDict, total=False):
    """Names follow docker-py."""


def life_from(keywords: LifeKeywords) -> Life:
    """What the keywords ask for."""
    del keywords
    return Life()
