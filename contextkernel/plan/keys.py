"""Cache keys: pure functions of what a step's result depends on, and of nothing else.

A key is the digest of canonical JSON that begins with a version tag, so that a change of meaning cannot meet old
entries. The parent is the *content* below the step (its chain of layers), not the steps that led there: equal
results join the cache again however they came about, and a layer is never put on others than it was made on.
Source of what counts: BuildKit's ``docs/dev/solver.md`` and docker's build cache manual.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import assert_never

from contextkernel.model.digest import Digest
from contextkernel.plan.run_mounts import BindTarget, CacheTarget, RunMount, SecretTarget, SshTarget, TmpfsTarget
from contextkernel.plan.steps import CopyStep, RunStep, WorkdirStep

_CHAIN = "contextkernel/chain/v1"
_RUN = "contextkernel/run/v4"
_COPY = "contextkernel/copy/v4"
_LINK = "contextkernel/link/v1"
_WORKDIR = "contextkernel/workdir/v3"
_FETCHED = "contextkernel/fetched/v1"
_SOURCE = "contextkernel/source/v1"
_REWRITE = "contextkernel/rewrite/v1"

Inputs = dict[str, object]
"""The inputs of a key by name, plain values only: what a miss is explained with."""


def chain(layers: Iterable[Digest]) -> Digest:
    """Identity of a file system: its layers, base first; ``scratch`` is the empty chain."""
    return _digest([_CHAIN, *layers])


def run_inputs(step: RunStep, contents: Mapping[RunMount, Digest] | None = None) -> Inputs:
    """What the result of a RUN depends on: program, environment, user, directory, network and mounts.

    Order of variables and of mounts, proxy variables, addresses of extra hosts, titles and places in the text do not
    count. Source: BuildKit's ``solver/llbsolver/ops/exec.go``, ``CacheMap``.

    Args:
        step: the step.
        contents: digests of the files that its mounts show from elsewhere.
    """
    known = contents or {}
    return {
        "command": step.argv,
        "env": dict(sorted(item.partition("=")[::2] for item in step.env)),
        "user": step.user,
        "cwd": step.cwd,
        "network": step.network,
        "security": step.security,
        "mounts": sorted(_mount_row(mount) for mount in step.mounts),
        "mounted": {_place(mount): known[mount] for mount in step.mounts if mount in known},
        "script": [step.script.name, step.script.content] if step.script else None,
        "hostname": step.hostname,
        "hosts": [name for name, _ in step.hosts],
        "shm": step.shm_size,
        "ulimits": [[limit.name, limit.soft, limit.hard] for limit in step.ulimits],
    }


def _place(mount: RunMount) -> str:
    return mount.path or ""


def _mount_row(mount: RunMount) -> list[object]:
    """What of a mount counts; where its files come from counts by their content only.

    Not the id and the sharing of a cache: what it holds is no input, so which one it is cannot be.
    """
    row: list[object] = [mount.path or "", type(mount).__name__]
    match mount:
        case BindTarget():
            row += ["ro" if mount.read_only else "rw"]
        case CacheTarget():
            row += ["ro" if mount.read_only else "rw", f"{mount.mode:o}", mount.uid, mount.gid]
        case TmpfsTarget():
            row += ["ro" if mount.read_only else "rw", mount.size]
        case SecretTarget():
            row += [mount.id, mount.env or "", f"{mount.mode:o}", mount.uid, mount.gid, mount.required]
        case SshTarget():
            row += [mount.id, f"{mount.mode:o}", mount.uid, mount.gid, mount.required]
        case _ as never:
            assert_never(never)
    return row


def copy_inputs(step: CopyStep, content: Digest) -> Inputs:
    """What the result of a COPY or ADD depends on: what is copied, where to, and with which owner and mode.

    Names of sources, and patterns of what is copied of them, count only through ``content``, so that equal files
    copied from elsewhere are found again.
    """
    return {
        "content": content,
        "destination": step.destination,
        "directory": step.directory,
        "chown": step.chown,
        "chmod": step.chmod,
        "unpack": step.unpack,
    }


def workdir_inputs(step: WorkdirStep) -> Inputs:
    """What the result of a WORKDIR depends on: the directory, its owner and SOURCE_DATE_EPOCH, which is its time."""
    return {"path": step.path, "owner": step.owner, "epoch": step.epoch}


def run_key(step: RunStep, parent: Digest, contents: Mapping[RunMount, Digest] | None = None) -> Digest:
    """Key of a RUN on top of ``parent``; ``contents`` as for :func:`run_inputs`."""
    return _digest([_RUN, parent, run_inputs(step, contents)])


def copy_key(step: CopyStep, parent: Digest, content: Digest) -> Digest:
    """Key of a COPY or ADD of ``content`` on top of ``parent``.

    With ``--link`` the layer is made on an empty directory, and what it is put on later does not count.
    """
    if step.link:
        return _digest([_LINK, copy_inputs(step, content)])
    return _digest([_COPY, parent, copy_inputs(step, content)])


def workdir_key(step: WorkdirStep, parent: Digest) -> Digest:
    """Key of a WORKDIR on top of ``parent``."""
    return _digest([_WORKDIR, parent, workdir_inputs(step)])


def fetched_key(kind: str, *facts: object) -> Digest:
    """Key of files that were fetched.

    Args:
        kind: ``http`` or ``git``.
        facts: plain values that say which content it is: a checksum or URL and entity tag, a commit; no secret.
    """
    return _digest([_FETCHED, kind, *facts])


def several_content(copies: Iterable[tuple[CopyStep, Digest]]) -> Digest:
    """What stands for the content of an ADD from several places: each of its copies with its content, in order."""
    return _digest([_SOURCE, "several", *(copy_inputs(step, content) for step, content in copies)])


def rewrite_key(layer: Digest, epoch: int) -> Digest:
    """Key of a layer whose files are made no younger than ``epoch`` (seconds since 1970)."""
    return _digest([_REWRITE, layer, epoch])


def source_digest(items: Iterable[tuple[object, ...]]) -> Digest:
    """Digest of what a COPY copies.

    Args:
        items: one row per entry, in a fixed order, of plain values; times are not among them.
    """
    return _digest([_SOURCE, *items])


def _digest(value: object) -> Digest:
    # names that are not UTF-8 are surrogate escapes; ASCII JSON keeps them apart
    return Digest.of(json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=True).encode())
