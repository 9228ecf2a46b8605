"""Keyword arguments of ``run`` and ``create`` about networks, and what they come to."""

from __future__ import annotations

from typing import TypedDict

from contextkernel.model.networking import Networking


class NetworkKeywords(TypedDict, total=False):
    """Names follow docker-py."""


def network_from(keywords: NetworkKeywords) -> Networking:
    """What the keywords ask for."""
    del keywords
    return Networking()
