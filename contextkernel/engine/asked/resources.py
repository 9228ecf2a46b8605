"""Keyword arguments of ``run`` and ``create`` about limits, and what they come to."""

from __future__ import annotations

from typing import TypedDict

from contextkernel.model.resources import Resources


class ResourceKeywords(TypedDict, total=False):
    """Names follow docker-py."""


def resources_from(keywords: ResourceKeywords) -> Resources:
    """What the keywords ask for."""
    del keywords
    return Resources()
