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
_RUN = "contextkernel/run/v1"
_COPY = "contextkernel/copy/v1"
_WORKDIR = "contextkernel/workdir/v1"
_SOURCE = "contextkernel/source/v1"


def chain(layers: Iterable[Digest]) -> Digest:
    """Identity of a file system: its layers, base first; ``scratch`` is the empty chain."""
    return _digest([_CHAIN, *layers])


def run_key(step: RunStep, parent: Digest) -> Digest:
    """Key of a RUN: program, environment, user, directory, network and mounts on top of ``parent``.

    Order of variables, proxy variables, titles and places in the text do not count.
    """
    script = [step.script.name, step.script.content] if step.script else None
    mounts = [["tmpfs", mount.path, mount.size] for mount in step.tmpfs]
    return _digest([_RUN, parent, step.argv, sorted(step.env), step.user, step.cwd, step.network, mounts, script])


def copy_key(step: CopyStep, parent: Digest, content: Digest) -> Digest:
    """Key of a COPY or ADD: what is copied (``content``), where to, and with which owner and mode.

    Names of sources count only through ``content``, so that equal files copied from elsewhere are found again.
    """
    return _digest([_COPY, parent, content, step.destination, step.directory, step.chown, step.chmod, step.unpack])


def workdir_key(step: WorkdirStep, parent: Digest) -> Digest:
    """Key of a WORKDIR: the directory and its owner."""
    return _digest([_WORKDIR, parent, step.path, step.owner])


def source_digest(items: Iterable[tuple[object, ...]]) -> Digest:
    """Digest of what a COPY copies.

    Args:
        items: one row per entry, in a fixed order, of plain values; times are not among them.
    """
    return _digest([_SOURCE, *items])


def _digest(value: object) -> Digest:
    # names that are not UTF-8 are surrogate escapes; ASCII JSON keeps them apart
    return Digest.of(json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode())
