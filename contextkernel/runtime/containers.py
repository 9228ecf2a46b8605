"""Containers from start to removal, on top of a store and a runtime."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import (
    Conflict,
    ContainerRunning,
    ImageNotFound,
    InvalidInput,
    LaunchFailed,
)
from contextkernel.model.backing import PrepareRequest, Root
from contextkernel.model.container import ContainerSpec, Telling, Terminal, UsedVolume
from contextkernel.runtime import companions
from contextkernel.runtime import spec as rules
from contextkernel.runtime.container_changes import ContainerChanges
from contextkernel.runtime.container_creation import ContainerCreation
from contextkernel.runtime.container_talks import ContainerTalks
from contextkernel.runtime.events import event_attributes
from contextkernel.runtime.log_reading import LogRecord, read_log
from contextkernel.runtime.mounting import launch_mounts
from contextkernel.runtime.requests import launch_request
from contextkernel.store.measuring import measure
from contextkernel.store.tree_record import has_tree, tree_of

if TYPE_CHECKING:
    from contextkernel.model.ports import RunningContainer

_SOON = 0.01  # seconds


class Containers(ContainerCreation, ContainerChanges, ContainerTalks):
    """The containers of one store, with all that is done to them; for the arguments see :class:`ContainerCreation`."""

    def start(
        self,
        spec: ContainerSpec,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
        size: tuple[int, int] = (0, 0),
    ) -> RunningContainer:
        """Start a created or exited container.

        Args:
            spec: the container.
            stdin, stdout, stderr, detach_keys: see :class:`Runtime`.
            size: rows and columns of its terminal, if it has one.

        Raises:
            ContainerRunning: it runs already. LaunchFailed and its kinds: see :class:`Runtime`; with ``auto_remove``
                the container is gone then, else it stays, created.
        """
        if self.state(spec).alive:
            raise ContainerRunning(f"container {spec.name!r} is already running")
        directory = self._store.container_dir(spec.id)
        upper, work = os.path.join(directory, "upper"), os.path.join(directory, "work")
        for path in (upper, work):
            os.makedirs(path, exist_ok=True)
        self._store.bound.admit(0)
        request = launch_request(
            spec,
            self._store,
            fake_ids=self._fake_ids,
            networks=self.networks.launch(spec),
            volumes=launch_mounts(spec.mounts, self._store),
            joins=tuple(companions.joins(spec.security, self.find, self.state)),
        )
        used = tuple(
            UsedVolume(one.source, one.target, not one.read_only) for one in spec.mounts.points if one.type == "volume"
        )
        telling = Telling(self._store.root, event_attributes(spec, {}), used)
        if self._facts() is None:
            return self._runtime.launch(request)  # it refuses: nothing is copied for that
        root = self._worker().prepare(PrepareRequest(root=Root(lowers=request.lowers, upper=upper, work=work)))
        request = msgspec.structs.replace(
            request,
            lowers=root.lowers,
            upper=root.upper,
            work=root.work,
            telling=telling,
            terminal=Terminal(*size) if spec.tty else None,
            room=self._store.bound.growth(directory),
        )
        try:
            return self._runtime.launch(request, stdin=stdin, stdout=stdout, stderr=stderr, detach_keys=detach_keys)
        except LaunchFailed:
            if spec.auto_remove:
                self._forget(spec)
            raise

    def shown_image(self, spec: ContainerSpec) -> str:
        """The name the user gave, or the short id once that name means another image (as docker shows it)."""
        try:
            same = self._store.resolve(spec.image) == spec.image_id
        except (ImageNotFound, InvalidInput):  # gone, or by now a prefix of several ids
            same = False
        return spec.image if same else spec.image_id.short

    def written(self, spec: ContainerSpec) -> int:
        """Bytes of the files that the container has written."""
        directory = self._store.container_dir(spec.id)
        if has_tree(directory):  # all of the image is in it: somebody has to find what has changed
            return self._worker().measure([tree_of(directory)])[0]
        upper = os.path.join(directory, "upper")
        try:
            return measure(upper)
        except PermissionError:  # files of the container's other users
            return self._worker().measure([upper])[0]

    def processes(self, spec: ContainerSpec) -> tuple[int, ...]:
        """Its processes as the host sees them, parents before children.

        Raises:
            Conflict: it does not run.
        """
        if self.state(spec).status == "restarting":
            raise Conflict(f"container {spec.name!r} is restarting", hint="wait until it runs")
        process = self.connect(spec)
        if process is None:
            raise Conflict(f"container {spec.name!r} is not running", hint="ps -a shows what became of it")
        try:
            return process.processes()
        finally:
            process.close()

    def stop(self, spec: ContainerSpec, timeout: int | None = None, signal: str | None = None) -> None:
        """Send the stop signal, and SIGKILL after ``timeout`` seconds (default: the container's; negative: never).

        The end is wanted: no restart policy starts it again. A paused container is resumed for it.
        """
        process = self.connect(spec)
        if process is None:
            return
        try:
            number = rules.signal_number(signal or spec.stop_signal)
            process.stop(number, spec.stop_timeout if timeout is None else timeout)
            process.wait()
        finally:
            process.close()
        self.tell(spec, "stop")

    def restart(self, spec: ContainerSpec, timeout: int | None = None, signal: str | None = None) -> None:
        """Stop a container, if it runs, and start it again.

        Args:
            spec: the container.
            timeout: seconds until SIGKILL; default: the container's.
            signal: to send first; default: the container's stop signal.

        Raises:
            LaunchFailed and its kinds: it cannot be started.
        """
        self.stop(spec, timeout, signal)
        self.start(spec).close()
        self.tell(spec, "restart")

    def kill(self, spec: ContainerSpec, signal: str) -> None:
        """Send a signal.

        Raises:
            Conflict: it does not run. InvalidInput: no such signal.
        """
        number = rules.signal_number(signal)
        process = self._process(spec, "kill")
        try:
            process.signal(number, ends=number in (9, rules.signal_number(spec.stop_signal)))
            if number == 9:
                process.wait(10)
        finally:
            process.close()

    def wait(self, spec: ContainerSpec) -> int:
        """Block until the container has exited; its exit code."""
        process = self.connect(spec)
        while process is None:
            state = self.state(spec)
            if not state.alive:
                return state.exit_code
            time.sleep(_SOON)  # its monitor hears nobody any more, and is about to record the exit
            process = self.connect(spec)
        try:
            return process.wait() or 0
        finally:
            process.close()

    def remove(self, spec: ContainerSpec, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container and its files.

        Args:
            spec: the container.
            force: kill it if it runs.
            volumes: remove its anonymous volumes too, those that no other container uses.

        Raises:
            ContainerRunning: it runs, and ``force`` is not set.
        """
        state = self.state(spec)
        if state.alive:
            if not force:
                raise ContainerRunning(
                    f"cannot remove {state.status} container {spec.name!r} ({spec.id[:12]})",
                    hint=f"{'unpause and stop' if state.status == 'paused' else 'stop'} it first, or remove with -f",
                )
            with suppress(Conflict):  # it has ended meanwhile
                self.kill(spec, "KILL")
        self._forget(spec, volumes=volumes)

    def give_up(self, spec: ContainerSpec) -> None:
        """Remove a ``--rm`` container whose start or run was broken off, if it is still there."""
        if spec.auto_remove and any(known.id == spec.id for known in self._store.containers()):
            self.remove(spec, force=True)

    def finished(self, spec: ContainerSpec) -> None:
        """Complete the removal of a ``--rm`` container after its exit."""
        if spec.auto_remove:
            self._forget(spec)

    def _forget(self, spec: ContainerSpec, *, volumes: bool = False) -> None:
        directory = self._store.container_dir(spec.id)
        there = os.path.isdir(directory)
        try:
            shutil.rmtree(directory)
        except FileNotFoundError:
            pass
        except PermissionError:
            self._worker().remove([directory])
        except OSError as problem:
            if problem.errno != errno.ENOTEMPTY:  # its monitor is just ending: the store removes the rest later
                raise
        gone = self._store.remove_container(spec.id, volumes=volumes or spec.auto_remove)
        if there:  # else its monitor has removed it, and told so
            self.tell(spec, "destroy")
        for name in gone:
            self._events.write("volume", "destroy", name, {"driver": "local"})
        if gone:
            from contextkernel.store.trash import empty_trash

            empty_trash(self._store, self._worker())

    def logs(
        self,
        spec: ContainerSpec,
        *,
        tail: int | None = None,
        follow: bool = False,
        since: int | None = None,
        until: int | None = None,
    ) -> Iterator[LogRecord]:
        """The records of the container's log, oldest first.

        Args:
            spec: the container.
            tail: only the last ones.
            follow: go on until the container has exited.
            since, until: nanoseconds since the epoch.

        Raises:
            Conflict: the container keeps no log.
        """
        if spec.life.logs.driver == "none":
            raise Conflict(
                f"container {spec.name!r} keeps no log (--log-driver none)",
                hint="create it without --log-driver none to be able to read its output later",
            )
        path = os.path.join(self._store.container_dir(spec.id), "log.json")
        return read_log(path, lambda: self.state(spec).alive, tail=tail, follow=follow, since=since, until=until)
