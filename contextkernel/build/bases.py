"""Base images where no registry is reachable: the pack, pull, else bootstrap, else assemble from the host.

Whatever is not the distribution's own image is a stand-in: it carries the label ``org.contextkernel.stand-in``,
the images table shows its origin, and the row that :func:`ensure` returns says what was done and why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from contextkernel.build import hostfiles
from contextkernel.build.pack import packed
from contextkernel.build.recipes import Recipe, recipe_for
from contextkernel.errors import (
    HostUnsupported,
    ImageNotFound,
    InvalidInput,
    NotFound,
    RegistryProblem,
    RegistryUnreachable,
    StoreFull,
    StoreProblem,
)
from contextkernel.model.events import StepDone, StepNote, StepOutput, StepStarted
from contextkernel.model.labels import STAND_IN
from contextkernel.model.oci import History, ImageConfig, RunConfig
from contextkernel.model.platform import Platform
from contextkernel.model.results import BaseRow

if TYPE_CHECKING:
    from contextkernel.model.ids import IdMap
    from contextkernel.model.ports import LayerWorker, Reporter
    from contextkernel.model.reference import ImageRef
    from contextkernel.store import Store

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _NotPossible(Exception):
    """This way of making a base does not work here; the text says why, none: there is nothing to say."""


def ensure(
    store: Store, worker: LayerWorker, refs: Sequence[ImageRef], *, idmap: IdMap, report: Reporter
) -> tuple[BaseRow, ...]:
    """Make every reference available, by the first way that works.

    Args:
        store: where the images go.
        worker: unpacks them.
        refs: e.g. ``ubuntu:20.04``.
        idmap: which ids this user may use; a bootstrap needs more than one.
        report: receives events, one step per reference.

    Raises:
        HostUnsupported: not even the host's own tools can be used.
    """
    rows = []
    silent: dict[str, str] = {}  # registries that did not answer, and why: they are not asked for each name
    for number, ref in enumerate(refs, 1):
        began = time.monotonic()
        report(StepStarted(number, f"[base {number}/{len(refs)}] {ref.familiar}"))
        row = _ensure_one(store, worker, ref, idmap, report, number, silent)
        report(StepNote(number, f"{row.action}: {row.detail}"))
        report(StepDone(number, time.monotonic() - began))
        rows.append(row)
    return tuple(rows)


def _ensure_one(
    store: Store,
    worker: LayerWorker,
    ref: ImageRef,
    idmap: IdMap,
    report: Reporter,
    step: int,
    silent: dict[str, str],
) -> BaseRow:
    try:
        store.resolve(str(ref))
    except ImageNotFound:
        pass
    else:
        origin = _origin(store, ref)
        return _row(store, ref, "present", f"already in the store ({origin})", stand_in=origin.startswith("stand-in"))
    reasons = []
    ways: tuple[tuple[str, Callable[[], str]], ...] = (
        ("pulled", lambda: _pull(store, worker, ref, report, step, silent)),
        ("loaded", lambda: _load(store, worker, ref)),
        ("bootstrapped", lambda: _bootstrap(store, worker, ref, idmap, report, step)),
        ("assembled", lambda: _assemble(store, worker, ref)),
    )
    for action, way in ways:
        try:
            detail = way()
        except _NotPossible as problem:
            if not str(problem):
                continue
            reasons.append(str(problem))
            report(StepNote(step, str(problem)))
        else:
            because = f" ({'; '.join(reasons)})" if reasons else ""
            return _row(store, ref, action, detail + because, stand_in=_origin(store, ref).startswith("stand-in"))
    raise HostUnsupported(
        f"cannot provide {ref.familiar}: {'; '.join(reasons)}",
        hint="load an image file with `load -i FILE`, or install mmdebstrap and uidmap",
    )


def _row(store: Store, ref: ImageRef, action: str, detail: str, *, stand_in: bool) -> BaseRow:
    size = sum(layer.size for layer in store.layers_of(store.resolve(str(ref))))
    return BaseRow(image=ref.familiar, action=action, stand_in=stand_in, size=size, detail=detail)


def _origin(store: Store, ref: ImageRef) -> str:
    image = store.resolve(str(ref))
    return next((row.origin for row in store.image_rows() if row.id == image), "")


def _load(store: Store, worker: LayerWorker, ref: ImageRef) -> str:
    """From the pack of this installation; an archive that is damaged, or of another image, is no reason to stop."""
    from contextkernel.store.archive import load

    reasons = []
    for archive in packed(ref):
        try:
            load(store, worker, archive, only=ref)
        except StoreFull:
            raise  # a pull would not fit either
        except (InvalidInput, StoreProblem, NotFound) as problem:
            reasons.append(problem.problem)
        else:
            return f"loaded from the pack, {archive}"
    raise _NotPossible(f"not in the pack: {'; '.join(reasons)}" if reasons else "")


def _pull(store: Store, worker: LayerWorker, ref: ImageRef, report: Reporter, step: int, silent: dict[str, str]) -> str:
    """From the registry, which is asked once: there are other ways."""
    from contextkernel.registry import pull_image
    from contextkernel.registry.retrying import Tries

    if ref.registry in silent:
        raise _NotPossible(f"no pull: {silent[ref.registry]}")
    try:
        image = pull_image(store, worker, ref, report=report, step=step, tries=Tries(table={}))
    except RegistryUnreachable as problem:
        silent[ref.registry] = problem.problem
        raise _NotPossible(f"no pull: {problem.problem}") from None
    except (RegistryProblem, NotFound) as problem:
        raise _NotPossible(f"no pull: {problem.problem}") from None
    return f"pulled {ref} ({image.short})"


def _bootstrap(store: Store, worker: LayerWorker, ref: ImageRef, idmap: IdMap, report: Reporter, step: int) -> str:
    """Run mmdebstrap for the reference's own release, or for the host's release as a stand-in."""
    recipe = recipe_for(ref)
    if recipe is None:
        raise _NotPossible(f"no bootstrap: {ref.familiar_name} is not made of Debian packages")
    if shutil.which("mmdebstrap") is None:
        raise _NotPossible("no bootstrap: mmdebstrap is not installed")
    if idmap.single:
        raise _NotPossible("no bootstrap: mmdebstrap needs an id range (uidmap and /etc/subuid)")
    reasons = []
    for candidate in recipe.candidates():
        why = candidate.unusable()
        if why is None:
            with _folder(store) as folder:
                tar = os.path.join(folder, "root.tar")
                report(StepNote(step, f"bootstrapping {candidate.suite} with mmdebstrap"))
                problem = _mmdebstrap(candidate, tar, idmap, report, step)
                if problem is None:
                    _import(store, worker, ref, tar, recipe.command, "mmdebstrap", candidate.suite)
                    same = "its own packages" if candidate.genuine else "the host's distribution instead"
                    return f"made with mmdebstrap from {candidate.suite}: {same}"
                why = problem
        reasons.append(why)
    raise _NotPossible(f"no bootstrap: {'; '.join(reasons)}")


def _mmdebstrap(candidate: Recipe, tar: str, idmap: IdMap, report: Reporter, step: int) -> str | None:
    """Run mmdebstrap; returns why it failed, or ``None``."""
    mode = "root" if idmap.identity else "unshare"
    command = [
        "mmdebstrap",
        f"--mode={mode}",
        "--variant=minbase",
        "--include=ca-certificates",
        # no translated package lists: they double what `apt-get update` downloads and keeps
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--format=tar",
        candidate.suite,
        tar,
        *candidate.sources,
    ]
    environment = {key: value for key, value in os.environ.items() if key != "TMPDIR"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        errors="replace",
        cwd="/",
        start_new_session=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        tail: list[str] = []
        try:
            for line in process.stdout:
                report(StepOutput(step, "stderr", line))
                tail = [*tail[-4:], line.strip()]
        except BaseException:
            os.killpg(process.pid, 15)
            raise
    if process.returncode == 0:
        return None
    errors = [line for line in tail if line.startswith(("E:", "W:"))] or tail[-1:]
    return f"mmdebstrap {candidate.suite} failed: {' '.join(errors)}"


def _assemble(store: Store, worker: LayerWorker, ref: ImageRef) -> str:
    with _folder(store) as folder:
        tar = os.path.join(folder, "root.tar")
        try:
            tools = hostfiles.write_root(tar, ref.familiar)
        except HostUnsupported as problem:
            raise _NotPossible(f"not assembled: {problem.problem}") from None
        shell = "bash" if "bash" in tools else "/bin/sh"
        _import(store, worker, ref, tar, (shell,), "host files", os.uname().release)
    return f"assembled from {len(tools)} tools of this host; it has no package manager"


def _import(
    store: Store, worker: LayerWorker, ref: ImageRef, tar: str, command: tuple[str, ...], way: str, detail: str
) -> None:
    from contextkernel.store.archive import import_tar

    platform = Platform.host()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = msgspec.json.encode(list(command)).decode().replace(",", ", ")
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant or "",
        created=now,
        config=RunConfig(env=(_PATH,), cmd=command, labels={STAND_IN: f"{way} ({detail})"}),
        history=(
            History(created=now, created_by=f"/bin/sh -c #(nop) ADD {way} ({detail}) in / "),
            History(created=now, created_by=f"/bin/sh -c #(nop)  CMD {words}", empty_layer=True),
        ),
    )
    import_tar(store, worker, tar, ref, config=config, origin=f"stand-in: {way}")


@contextmanager
def _folder(store: Store) -> Iterator[str]:
    """A temporary directory that goes even if this process is killed; mmdebstrap's own ids may look in."""
    path = store.temporary_path()
    os.mkdir(path)
    os.chmod(path, 0o755)  # noqa: S103 - holds nothing secret
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
