"""What ``run`` and ``create`` take as keyword arguments, by what it is about; names follow docker-py."""

from __future__ import annotations

from typing import NamedTuple

from contextkernel.engine.asked.basics import BasicKeywords, refuse_unknown
from contextkernel.engine.asked.life import LifeKeywords, life_from
from contextkernel.engine.asked.mounts import MountKeywords, mounts_from
from contextkernel.engine.asked.network import NetworkKeywords, network_from, network_of
from contextkernel.engine.asked.resources import ResourceKeywords, resources_from
from contextkernel.engine.asked.security import SecurityKeywords, security_from
from contextkernel.model.life import Life
from contextkernel.model.mounts import Mounts
from contextkernel.model.networking import Networking
from contextkernel.model.resources import Resources
from contextkernel.model.security import Security


class CreateKeywords(
    BasicKeywords, NetworkKeywords, MountKeywords, ResourceKeywords, SecurityKeywords, LifeKeywords, total=False
):
    """All of them."""


class Asked(NamedTuple):
    """What they come to; the fields of a container's specification."""

    networking: Networking
    mounts: Mounts
    resources: Resources
    security: Security
    life: Life


def asked(keywords: CreateKeywords) -> Asked:
    """Turn keywords into values.

    Raises:
        InvalidInput: a value that cannot be, or two that contradict each other.
        TypeError: a keyword that there is not.
    """
    refuse_unknown(keywords, CreateKeywords.__annotations__)
    return Asked(
        network_from(keywords, network_of(keywords)),
        mounts_from(keywords),
        resources_from(keywords),
        security_from(keywords),
        life_from(keywords),
    )
