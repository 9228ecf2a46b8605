"""Keyword arguments of ``update``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contextkernel.engine.asked.resources import ResourceKeywords
from contextkernel.model.life import RestartPolicy


class UpdateKeywords(ResourceKeywords, total=False):
    """What :meth:`contextkernel.engine.Engine.update` can change.

    * ``restart_policy``: see :class:`contextkernel.engine.asked.life.LifeKeywords`.
    * limits: what docker-py's ``update`` takes of :class:`contextkernel.engine.asked.resources.ResourceKeywords`.
    """

    restart_policy: str | RestartPolicy | Mapping[str, Any]
