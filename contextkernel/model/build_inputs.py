"""What the caller of a build hands in besides files: secrets, SSH agents."""

from __future__ import annotations

import msgspec

from contextkernel.model.step_mounts import Limit


class SecretFromFile(msgspec.Struct, frozen=True):
    """The content of a file of the caller's."""

    path: str


class SecretFromEnvironment(msgspec.Struct, frozen=True):
    """The value of an environment variable of the caller's; empty if it is not set, as with docker."""

    name: str


class SecretValue(msgspec.Struct, frozen=True):
    """The secret itself; never shown."""

    value: bytes

    def __repr__(self) -> str:
        """Without the value: representations end up in messages."""
        return f"SecretValue({len(self.value)} bytes)"


SecretSource = SecretFromFile | SecretFromEnvironment | SecretValue


class AgentSocket(msgspec.Struct, frozen=True):
    """An SSH agent that listens at a socket; empty: the one of ``SSH_AUTH_SOCK``."""

    path: str = ""


class AgentKeys(msgspec.Struct, frozen=True):
    """An SSH agent to be started for these private keys (files without a passphrase)."""

    paths: tuple[str, ...]


AgentSource = AgentSocket | AgentKeys


class StepOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a build gives its RUN instructions.

    Attributes:
        secrets: for ``--mount=type=secret``, by id.
        agents: for ``--mount=type=ssh``, by id.
        hosts: more ``(name, address)`` for /etc/hosts.
        shm_size: bytes of /dev/shm, 0 for the usual 64 MiB.
        limits: resource limits.
        allow: entitlements that RUNs may use: ``network.host``, ``security.insecure``.
        cgroup_parent: accepted, and reported as without effect: a step has no cgroup of its own here.
    """

    secrets: dict[str, SecretSource] = {}
    agents: dict[str, AgentSource] = {}
    hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 0
    limits: tuple[Limit, ...] = ()
    allow: frozenset[str] = frozenset()
    cgroup_parent: str = ""
