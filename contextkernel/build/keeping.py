"""Keeping a failed step for a look around in it."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from contextkernel.errors import StepFailed
from contextkernel.model.backing import SettleRequest
from contextkernel.model.container import Tmpfs
from contextkernel.model.failed import FailedStep, KeptCache, KeptMount
from contextkernel.plan.run_mounts import BindTarget, CacheTarget, TmpfsTarget
from contextkernel.plan.steps import RunStep, SeveralOrigins

if TYPE_CHECKING:
    from contextkernel.build.commits import Stack
    from contextkernel.build.tools import Tools


_PLENTY = 1 << 30  # bytes
_SHOWN = 12  # letters of an id are enough to find it


def keep_failed(step: RunStep, problem: StepFailed, stack: Stack, directory: str, tools: Tools) -> bool:
    """Keep what the step came to, and say so in its error.

    Args:
        step: that failed.
        problem: its error; gets the id under which it is kept.
        stack: what it stood on.
        directory: with its changes; belongs to what is kept from now on.
        tools: of the build.

    Returns:
        Whether it is kept; not where the disk is nearly full: the room is needed for cleaning up, and what the step
        wrote may be what filled it.

    Raises:
        Canceled, ContextKernelError: it cannot be kept; the directory is the caller's still.
    """
    if not _has_room(directory):
        return False
    tools.committer.gather(stack, wait=True)
    tools.worker.settle(SettleRequest(upper=f"{directory}/diff"))
    if os.path.isdir(f"{directory}/rooms"):
        tools.worker.remove([f"{directory}/rooms"])
    binds: list[KeptMount] = []
    for mount in step.mounts:
        if not isinstance(mount, BindTarget):
            continue
        if tools.context(mount.origin) is not None:
            folder = f"context-{len(binds)}"
            source = tools.mounts.keep_context(mount.origin, mount.source, f"{directory}/{folder}")
            binds.append(KeptMount(target=mount.path, folder=folder, source=source, read_only=mount.read_only))
        elif not isinstance(mount.origin, SeveralOrigins):
            layers = tuple(layer.diff_id for layer in tools.base(mount.origin))
            binds.append(KeptMount(target=mount.path, layers=layers, source=mount.source, read_only=mount.read_only))
    kept = FailedStep(
        id=tools.record or secrets.token_hex(6),
        scope=tools.scope,
        title=step.title,
        argv=step.argv,
        line=step.span.line,
        status=problem.status,
        env=step.env,
        user=step.user,
        cwd=step.cwd,
        hostname=step.hostname,
        network="none" if step.network == "none" else "host",
        hosts=step.hosts,
        insecure=step.security == "insecure",
        shm_size=step.shm_size,
        limits=step.ulimits,
        layers=tuple(layer.diff_id for layer in stack.known),
        binds=tuple(binds),
        caches=tuple(
            KeptCache(
                target=mount.path,
                identity=tools.mounts.identity(mount),
                id=mount.id,
                sharing=mount.sharing,
                path=mount.source,
                read_only=mount.read_only,
                mode=mount.mode,
                uid=mount.uid,
                gid=mount.gid,
            )
            for mount in step.mounts
            if isinstance(mount, CacheTarget)
        ),
        tmpfs=tuple(
            Tmpfs(mount.path, f"exec,size={mount.size}" if mount.size else "exec")
            for mount in step.mounts
            if isinstance(mount, TmpfsTarget)
        ),
    )
    tools.store.keep_failed(kept, directory)
    problem.kept = kept.id[:_SHOWN]
    return True


def _has_room(directory: str) -> bool:
    """A tenth of the file system, or a gibibyte."""
    state = os.statvfs(directory)
    return not state.f_blocks or state.f_bavail * 10 >= state.f_blocks or state.f_bavail * state.f_frsize >= _PLENTY
