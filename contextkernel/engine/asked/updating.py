"""Keyword arguments of ``update``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contextkernel.engine.asked.basics import refuse_unknown
from contextkernel.engine.asked.resources import ResourceKeywords
from contextkernel.model.life import RestartPolicy


class UpdateKeywords(ResourceKeywords, total=False):
    """What :meth:`contextkernel.engine.Engine.update` can change.

    * ``restart_policy``: see :class:`contextkernel.engine.asked.life.LifeKeywords`.
    * limits: what docker-py's ``update`` takes of :class:`contextkernel.engine.asked.resources.ResourceKeywords`.
    """

    restart_policy: str | RestartPolicy | Mapping[str, Any]


def check_names(keywords: Iterable[str]) -> None:
    """Refuse a keyword that ``update`` does not have.

    Raises:
        TypeError: there is one.
    """
    refuse_unknown(keywords, UpdateKeywords.__annotations__)
