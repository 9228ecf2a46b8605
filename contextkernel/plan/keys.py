"""Cache keys: pure functions of what a step's result depends on, and of nothing else.

A key is the digest of canonical JSON that begins with a version tag, so that a change of meaning cannot meet old
entries. The parent is the *content* below the step (its chain of layers), not the steps that led there: equal
results join the cache again however they came about, and a layer is never put on others than it was made on.
Source of what counts: BuildKit's ``docs/dev/solver.md`` and docker's build cache manual.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from contextkernel.model.digest import Digest
from contextkernel.plan.steps import CopyStep, RunStep, WorkdirStep

_CHAIN = "contextkernel/chain/v1"
_RUN = "contextkernel/run/v2"
_COPY = "contextkernel/copy/v2"
_WORKDIR = "contextkernel/workdir/v2"
_SOURCE = "contextkernel/source/v1"

Inputs = dict[str, object]
"""The inputs of a key by name, plain values only: what a miss is explained with."""


def chain(layers: Iterable[Digest]) -> Digest:
    """Identity of a file system: its layers, base first; ``scratch`` is the empty chain."""
    return _digest([_CHAIN, *layers])


def run_inputs(step: RunStep) -> Inputs:
    """What the result of a RUN depends on: program, environment, user, directory, network and mounts.

    Order of variables, proxy variables, titles and places in the text do not count.
    """
    return {
        "command": step.argv,
        "env": dict(sorted(item.partition("=")[::2] for item in step.env)),
        "user": step.user,
        "cwd": step.cwd,
        "network": step.network,
        "mounts": [["tmpfs", mount.path, mount.size] for mount in step.tmpfs],
        "script": [step.script.name, step.script.content] if step.script else None,
    }


def copy_inputs(step: CopyStep, content: Digest) -> Inputs:
    """What the result of a COPY or ADD depends on: what is copied, where to, and with which owner and mode.

    Names of sources count only through ``content``, so that equal files copied from elsewhere are found again.
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
    """What the result of a WORKDIR depends on: the directory and its owner."""
    return {"path": step.path, "owner": step.owner}


def run_key(step: RunStep, parent: Digest) -> Digest:
    """Key of a RUN on top of ``parent``."""
    return _digest([_RUN, parent, run_inputs(step)])


def copy_key(step: CopyStep, parent: Digest, content: Digest) -> Digest:
    """Key of a COPY or ADD of ``content`` on top of ``parent``."""
    return _digest([_COPY, parent, copy_inputs(step, content)])


def workdir_key(step: WorkdirStep, parent: Digest) -> Digest:
    """Key of a WORKDIR on top of ``parent``."""
    return _digest([_WORKDIR, parent, workdir_inputs(step)])


def source_digest(items: Iterable[tuple[object, ...]]) -> Digest:
    """Digest of what a COPY copies.

    Args:
        items: one row per entry, in a fixed order, of plain values; times are not among them.
    """
    return _digest([_SOURCE, *items])


def _digest(value: object) -> Digest:
    # names that are not UTF-8 are surrogate escapes; ASCII JSON keeps them apart
    return Digest.of(json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=True).encode())
