"""A build step that failed, kept so that one can look around in it."""

from __future__ import annotations

from typing import Literal

import msgspec

from contextkernel.model.container import Tmpfs
from contextkernel.model.digest import Digest
from contextkernel.model.step_mounts import Limit


class KeptMount(msgspec.Struct, frozen=True, kw_only=True):
    """A bind mount of the step.

    Attributes:
        target: absolute path in the container.
        layers: what it showed, base first.
        folder: or: name of a directory beside the step's changes.
        source: path within.
    """

    target: str
    layers: tuple[Digest, ...] = ()
    folder: str = ""
    source: str = "/"
    read_only: bool = True


class KeptCache(msgspec.Struct, frozen=True, kw_only=True):
    """A cache mount of the step: which one it was, to be asked for again.

    Attributes:
        target: absolute path in the container.
        identity, id, sharing: of the cache.
        path: within the cache.
        mode, uid, gid: of a new one, should it have gone.
    """

    target: str
    identity: str
    id: str
    sharing: Literal["shared", "private", "locked"] = "shared"
    path: str = "/"
    read_only: bool = False
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class FailedStep(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to be where the step was; secrets and agents are not kept.

    Attributes:
        id: of the failed build.
        scope: context and Dockerfile of the build: the next one of the same scope replaces or removes it.
        title: of the step, as progress shows it.
        argv: of the step.
        line: of its instruction.
        status: its exit code.
        env: without secrets, and without the proxies of the build, whose addresses may hold passwords.
        layers: below it, base first.
        created: nanoseconds since the epoch.
    """

    id: str
    scope: str
    title: str
    argv: tuple[str, ...]
    line: int
    status: int
    env: tuple[str, ...]
    user: str
    cwd: str
    hostname: str
    network: Literal["none", "host"]
    hosts: tuple[tuple[str, str], ...] = ()
    insecure: bool = False
    shm_size: int = 0
    limits: tuple[Limit, ...] = ()
    layers: tuple[Digest, ...] = ()
    binds: tuple[KeptMount, ...] = ()
    caches: tuple[KeptCache, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    created: int = 0
