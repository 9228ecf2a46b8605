"""Keyword arguments of ``run`` and ``create`` about privileges and isolation, and what they come to."""

from __future__ import annotations

from typing import TypedDict

from contextkernel.model.security import Security


class SecurityKeywords(TypedDict, total=False):
    """Names follow docker-py."""


def security_from(keywords: SecurityKeywords) -> Security:
    """What the keywords ask for."""
    del keywords
    return Security()
