"""Looking around in a failed build step."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition
from contextkernel.errors import ContextKernelError
from contextkernel.model.backing import PrepareRequest, Root
from contextkernel.model.container import ContainerSpec, LaunchRequest
from contextkernel.model.digest import Digest
from contextkernel.model.given import words_of
from contextkernel.model.layers import MakeDirRequest
from contextkernel.model.step_mounts import CacheBind, LayerBind

if TYPE_CHECKING:
    from contextkernel.model.failed import FailedStep, KeptCache
    from contextkernel.model.ports import Process
    from contextkernel.model.results import RunResult

_HOSTNAME = "buildkitsandbox"
_SHELL = ("/bin/sh",)


class Debugging(Composition):
    """Failed builds, from inside."""

    def failed_steps(self) -> tuple[FailedStep, ...]:
        """The failed steps that are kept, newest first."""
        return self._store.failed_steps()

    def debug(
        self,
        command: str | Sequence[str] = (),
        *,
        build: str | None = None,
        before: bool = False,
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
        forward_signals: bool = False,
    ) -> RunResult:
        """Run a command where a failed RUN stood: its files, environment, user, directory, network and mounts.

        Secrets and SSH agents are not there. Changes are thrown away, so that the next look finds the same.

        Args:
            command: default ``/bin/sh``; a string is split as a shell does it.
            build: id of the failed build, or its start; default the last.
            before: the files as the step found them, without its own changes.
            stdin, stdout, stderr, on_output, forward_signals: as for :meth:`run`.

        Raises:
            NotFound: no failed build is kept.
            CommandNotFound, CommandNotExecutable, LaunchFailed: see there.
            KeyboardInterrupt: after the command has been stopped.
        """
        from contextkernel.runtime.attach import attach

        step, directory = self._store.failed_step(build)
        below = [self._store.layer(layer) for layer in step.layers]
        with ExitStack() as stack:
            kept = dict.fromkeys((*step.layers, *(layer for bind in step.binds for layer in bind.layers)))
            stack.enter_context(self._store.hold(kept))
            room = self._store.new_layer_dir()
            stack.callback(self._give_up, room)
            lowers = (*(layer.diff for layer in below), *(() if before else (f"{directory}/diff",)))
            root = self._prepared(tuple(dict.fromkeys(lowers)), room)
            request = LaunchRequest(
                id=f"debug-{step.id}",
                argv=words_of(command) or _SHELL,
                env=step.env,
                working_dir=step.cwd,
                user=step.user,
                hostname=step.hostname or _HOSTNAME,
                network=step.network,
                lowers=root.lowers,
                upper=root.upper,
                work=root.work,
                tmpfs=step.tmpfs,
                mounts=(
                    *self._layer_binds(step, directory, room),
                    *(self._cache_bind(cache, stack) for cache in step.caches),
                ),
                sandbox=True,
                hosts=step.hosts,
                insecure=step.insecure,
                shm_size=step.shm_size,
                limits=step.limits,
                die_with_client=True,
                fake_ids=self._idmap.single,
                open_stdin=stdin is not None,
                stdin_once=True,
            )
            spec = ContainerSpec(
                id=step.id,
                name=f"debug-{step.id}",
                image="",
                image_id=_NO_IMAGE,
                argv=request.argv,
                created=step.created,
            )
            return attach(
                _Once(self, request),
                spec,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                on_output=on_output,
                forward_signals=forward_signals,
            )

    def launch(self, request: LaunchRequest, *, stdin: int | None, stdout: int | None, stderr: int | None) -> Process:
        """Start a request of :meth:`debug`."""
        return self._runtime.launch(request, stdin=stdin, stdout=stdout, stderr=stderr)

    def _prepared(self, lowers: tuple[str, ...], room: str, *, read_only: bool = False) -> Root:
        """What a root of these layers is launched with; ``room`` has a directory for changes."""
        root = Root(lowers=lowers, upper=f"{room}/diff", work=f"{room}/work")
        return self._worker().prepare(PrepareRequest(root=root, read_only=read_only))

    def _layer_binds(self, step: FailedStep, directory: str, room: str) -> list[LayerBind | CacheBind]:
        binds: list[LayerBind | CacheBind] = []
        for number, bind in enumerate(step.binds):
            place = f"{room}/rooms/{number}"
            os.makedirs(place)
            if bind.folder:
                lowers: tuple[str, ...] = (f"{directory}/{bind.folder}",)
                if not os.path.isdir(lowers[0]):
                    continue
            else:
                lowers = tuple(dict.fromkeys(self._store.layer(layer).diff for layer in bind.layers))
            if self._backing == "copy":
                os.mkdir(f"{place}/diff")
                tree = self._prepared(lowers, place, read_only=bind.read_only).upper
                binds.append(CacheBind(source=tree, target=bind.target, path=bind.source, read_only=bind.read_only))
                continue
            binds.append(
                LayerBind(target=bind.target, lowers=lowers, source=bind.source, read_only=bind.read_only, room=place)
            )
        return binds

    def _cache_bind(self, cache: KeptCache, stack: ExitStack) -> CacheBind:
        def make(tree: str) -> None:
            work = f"{os.path.dirname(tree)}/work"
            os.mkdir(work, 0o700)
            owner = f"{cache.uid}:{cache.gid}"
            self._worker().make_dir(
                MakeDirRequest(lowers=(), upper=tree, work=work, path="/data", owner=owner, mode=cache.mode)
            )

        use = self._store.use_cache_mount(cache.identity, cache.id, cache.sharing, make)
        path = stack.enter_context(use)
        return CacheBind(source=path, target=cache.target, path=cache.path, read_only=cache.read_only)

    def _give_up(self, room: str) -> None:
        try:
            self._store.discard_layer_dir(room)
            self._empty_trash()
        except ContextKernelError:
            self._worker().remove([room])


_NO_IMAGE = Digest.of(b"")


class _Once:
    """Starts the one request; implements :class:`contextkernel.runtime.attach.Starter`."""

    def __init__(self, engine: Debugging, request: LaunchRequest) -> None:
        self._engine = engine
        self._request = request

    def start(
        self, spec: ContainerSpec, *, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None
    ) -> Process:
        """See there."""
        del spec
        return self._engine.launch(self._request, stdin=stdin, stdout=stdout, stderr=stderr)

    def finished(self, spec: ContainerSpec) -> None:
        """See there."""
        del spec
