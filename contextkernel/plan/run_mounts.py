"""``RUN --mount``, planned: where each mount comes from and goes to, fully resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from contextkernel.model.step_mounts import Limit

if TYPE_CHECKING:
    from contextkernel.plan.steps import Origin

Sharing: TypeAlias = Literal["shared", "private", "locked"]


class BindTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Files of an origin, visible during one RUN.

    Attributes:
        path: absolute, in the container.
        origin: whose files.
        source: absolute path within the origin; ``/`` for all of it.
        read_only: otherwise writes are allowed, and thrown away.
    """

    path: str
    origin: Origin
    source: str = "/"
    read_only: bool = True


class CacheTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A directory that outlives the build.

    Attributes:
        path: absolute, in the container.
        id: name of the cache.
        origin: what a new one starts with, ``None`` for nothing.
        source: absolute path within the cache.
        mode, uid, gid: of a new one that starts with nothing.
    """

    path: str
    id: str
    origin: Origin | None = None
    source: str = "/"
    sharing: Sharing = "shared"
    read_only: bool = False
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class TmpfsTarget(msgspec.Struct, frozen=True):
    """A temporary file system during one RUN: absolute path, and bytes (0: no limit)."""

    path: str
    size: int = 0
    read_only: bool = False


class SecretTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A secret of the build's caller: as a file, an environment variable or both.

    Attributes:
        id: name that the caller gave it.
        path: absolute, in the container; ``None`` for no file.
        env: variable; ``None`` for none.
        required: the step fails without it.
    """

    id: str
    path: str | None = None
    env: str | None = None
    required: bool = False
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


class SshTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A socket that leads to an SSH agent of the build's caller."""

    path: str
    id: str = "default"
    required: bool = False
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


RunMount: TypeAlias = BindTarget | CacheTarget | TmpfsTarget | SecretTarget | SshTarget


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a build gives all of its RUNs.

    Attributes:
        hosts: ``(name, address)`` for /etc/hosts.
        hostname: of the sandbox; empty for the usual one.
        shm_size: bytes of /dev/shm, 0 for the usual.
        ulimits: resource limits.
        allow: entitlements that the caller has granted.
        cache_namespace: goes before the ids of caches; empty for none.
    """

    hosts: tuple[tuple[str, str], ...] = ()
    hostname: str = ""
    shm_size: int = 0
    ulimits: tuple[Limit, ...] = ()
    allow: frozenset[str] = frozenset()
    cache_namespace: str = ""
