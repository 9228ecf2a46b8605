"""Ports: what the builder and the engine need of the outside world, as protocols with their contracts.

Every implementation, real or fake, passes the contract suite of its port (tests/contract).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from contextkernel.model.backing import PrepareRequest, Root, SettleRequest
from contextkernel.model.box import BoxView, Change, PathFacts, PlaceRequest
from contextkernel.model.container import ExecRequest, LaunchRequest, RunState, Usage
from contextkernel.model.layers import (
    CopyRequest,
    ExportRequest,
    LayerFacts,
    MakeDirRequest,
    PopulateRequest,
)
from contextkernel.model.life import RestartPolicy
from contextkernel.model.resources import Resources


class Process(Protocol):
    """A launched container or build step, as its client sees it."""

    @property
    def pid(self) -> int:
        """Process id of the container's init as the host sees it."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What it used, once :meth:`wait` has given its exit code; ``None`` where nobody could tell."""
        ...

    def wait(self, timeout: float | None = None) -> int | None:
        """Exit code (128+n for death by signal n), or ``None`` when ``timeout`` seconds passed first.

        By the time it returns, all output has been written to the client's descriptors, they have been closed
        by the monitor, and (without ``--rm``) ``state.json`` is complete.
        """
        ...

    def signal(self, number: int) -> None:
        """Send a signal to the container's init. No error when it has already exited."""
        ...

    def resize(self, rows: int, columns: int) -> None:
        """Tell the program's terminal of a new size. No error without one, or when it has exited."""
        ...

    def close(self) -> None:
        """Give up the connection. Idempotent. Kills the container if it was launched with ``die_with_client``."""
        ...


class Screen(Protocol):
    """The terminal at which a program's terminal is shown."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns; zeros if they are not known."""
        ...

    def hold(self, resized: Callable[[int, int], None]) -> AbstractContextManager[None]:
        """While the block lasts: pass keys on as they are typed, and call ``resized`` with each new size.

        Whatever ends the block, the terminal is as it was before.
        """
        ...


class RunningContainer(Process, Protocol):
    """A container that runs, is paused, or waits for its next start, as any client sees it."""

    @property
    def detached(self) -> bool:
        """The detach keys were typed at the streams of this client; :meth:`wait` has returned ``None`` then."""
        ...

    def signal(self, number: int, *, ends: bool = False) -> None:
        """Send a signal to the container's init. No error when it has already exited.

        Args:
            number: the signal.
            ends: it is meant to be the end: no restart policy starts it again, and a paused container is resumed.
        """
        ...

    def stop(self, number: int, timeout: int) -> None:
        """Ask for the end, for good, and return at once; :meth:`wait` tells when it has come. Resumes a paused one.

        Args:
            number: signal to send first.
            timeout: seconds until SIGKILL; negative: never.
        """
        ...

    def pause(self) -> None:
        """Pause all processes.

        Raises:
            Conflict: it is paused already, has ended, or this host cannot.
        """
        ...

    def unpause(self) -> None:
        """Let all processes go on.

        Raises:
            Conflict: it is not paused, or has ended.
        """
        ...

    def update(self, restart: RestartPolicy | None = None, resources: Resources | None = None) -> None:
        """Change the restart policy, from the next exit on, and the limits, from now on.

        Args:
            restart: ``None`` leaves it as it is.
            resources: all limits, as they are to be; ``None`` leaves them as they are.

        Raises:
            Conflict: it has ended, or the kernel refuses a limit.
        """
        ...

    def processes(self) -> tuple[int, ...]:
        """Process ids as the host sees them, parents before children.

        Raises:
            Conflict: it has ended.
        """
        ...

    def attach(
        self,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
    ) -> None:
        """Connect streams to the container; output is given from now on. The caller keeps and closes its own.

        Args:
            stdin, stdout, stderr: descriptors; an input is used only if the container has one.
            detach_keys: what to type on ``stdin`` to leave the container running; empty: nothing.

        Raises:
            Conflict: it has ended, or is between two runs.
        """
        ...


class Runtime(Protocol):
    """Starts containers."""

    def warm(self) -> None:
        """Begin what makes the next launch quicker, without waiting for it."""
        ...

    def launch(
        self,
        request: LaunchRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> Process:
        """Start ``request``; returns once the program has been executed.

        Args:
            request: what to start.
            stdin, stdout, stderr: descriptors of the client that the monitor relays; they are duplicated, the
                caller keeps and closes its own. ``None`` for output discards it (the log still gets it).

        Raises:
            CommandNotFound, CommandNotExecutable, LaunchFailed: nothing is left running and no mount is left.
        """
        ...

    def state(self, state_dir: str) -> RunState:
        """What became of the container of ``state_dir``; never raises for a container that is gone."""
        ...

    def close(self) -> None:
        """End the launcher; containers go on. Idempotent."""
        ...


class ContainerRuntime(Runtime, Protocol):
    """Starts containers, and reaches those that others have started."""

    def launch(
        self,
        request: LaunchRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
    ) -> RunningContainer:
        """As :meth:`Runtime.launch`.

        Args:
            request, stdin, stdout, stderr: see there.
            detach_keys: what to type on ``stdin`` to leave the container running; empty: nothing.
        """
        ...

    def connect(self, state_dir: str) -> RunningContainer | None:
        """The container of ``state_dir``, whoever started it; ``None`` unless a monitor looks after it."""
        ...

    def execute(
        self,
        state_dir: str,
        request: ExecRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
    ) -> RunningContainer | None:
        """Start a further program in the running container of ``state_dir``; ``None`` if it does not run.

        What is returned is about the program: its :meth:`~Process.wait` gives the program's exit code. The program
        goes on when the client goes; it ends with the container.

        Args:
            state_dir: of the container.
            request: the program.
            stdin, stdout, stderr: descriptors of the client that the monitor relays; the caller keeps its own. An
                output that is ``None`` is discarded.
            detach_keys: what to type on ``stdin`` to leave it running; empty: nothing.

        Raises:
            Conflict: the container is paused.
            CommandNotFound, CommandNotExecutable, LaunchFailed: the program cannot be executed.
        """
        ...


class LayerWorker(Protocol):
    """Works on layer directories with the container's ids (inside the user namespace where there is one).

    Every method either finishes or leaves a directory that is safe to remove; none touches anything but
    the directories it is given.
    """

    def commit(self, directory: str) -> LayerFacts:
        """Scan ``directory/diff`` (an overlay upper directory), write ``directory/index``, hash the layer's tar."""
        ...

    def unpack(self, source: str | int, directory: str, *, limit: int | None = None) -> LayerFacts:
        """Unpack a layer archive (tar, plain or compressed, by content) into ``directory/diff``, write its index.

        The archive is read once. Calls from several threads are done at the same time, as far as there are processors.

        Args:
            source: path of the archive, or a descriptor to read it from, from where it stands to its end: a file, or a
                pipe that is being filled (``store.streaming`` fills one). It stays open, and what is at its end
                may be missing from a sender that broke off: the facts tell what was read.
            directory: layer directory.
            limit: bound on the unpacked bytes.

        Raises:
            InvalidArchive: refused content; DigestMismatch is the caller's to raise from the facts.
        """
        ...

    def copy(self, request: CopyRequest) -> tuple[str, ...]:
        """Do a COPY.

        Returns:
            What its user should know, e.g. that the owner's name is none of the image's.

        Raises:
            SourceNotFound: a source does not exist. InvalidInput: the destination cannot be resolved, or the owner
            has a name and there is no image below to look it up in.
        """
        ...

    def make_dir(self, request: MakeDirRequest) -> tuple[str, ...]:
        """Create a directory as WORKDIR does; an existing one is left as it is. Returns notes as :meth:`copy`."""
        ...

    def populate(self, request: PopulateRequest) -> None:
        """Copy what an image has at a path into an empty directory, with owners, modes, attributes and times.

        The directory itself gets those of the image's. Nothing is done if the image has no directory there, or the
        directory is not empty.
        """
        ...

    def look(self, view: BoxView, path: str, *, root: int = -1, follow: bool = False) -> PathFacts:
        """What is at a path of a container.

        Args:
            view: where its files are.
            path: absolute or relative, counts from its root; ``..`` ends there.
            root: descriptor of a running container's root.
            follow: if the last component is a link, tell of what it leads to.
        """
        ...

    def pack(self, view: BoxView, facts: PathFacts, name: str, descriptor: int, *, root: int = -1) -> None:
        """Write what is at a path of a container as a tar archive.

        Args:
            view: where its files are.
            facts: from :meth:`look`.
            name: what it is called in the archive; empty: what is in the directory, without itself.
            descriptor: to write to.
            root: as for :meth:`look`.

        Raises:
            Conflict: it has become something else since.
        """
        ...

    def place(self, request: PlaceRequest, descriptor: int, *, root: int = -1) -> tuple[str, ...]:
        """Unpack a tar archive, plain or compressed, into a directory of a container; nothing lands outside of it.

        Returns:
            Paths of the archive that this host cannot make (devices).

        Raises:
            Conflict: a directory meets a file. InvalidArchive: refused content. SyscallFailed: no such directory, a
            read-only place.
        """
        ...

    def changes(self, view: BoxView) -> tuple[Change, ...]:
        """What a container has changed of its image, by path; docker's ``diff``."""
        ...

    def write_changes(self, view: BoxView, descriptor: int) -> None:
        """Write what a container has changed as a layer's tar."""
        ...

    def prepare(self, request: PrepareRequest) -> Root:
        """Make a root ready for a launch.

        Where file systems are made with overlay that is the root as it is. Else all layers are copied into a tree
        beside ``upper``, if there is none yet; what is in ``upper`` already counts as changes of it.

        Returns:
            What to launch with.
        """
        ...

    def settle(self, request: SettleRequest) -> None:
        """Put what a program has changed of a tree into ``upper``, as overlay would have; nothing where it did.

        Nothing may run in the tree any more.
        """
        ...

    def write_tar(self, directory: str, descriptor: int, *, latest: int | None = None) -> LayerFacts:
        """Render the layer's uncompressed tar from ``directory`` to an open descriptor.

        Args:
            directory: the layer's directory.
            descriptor: what to write to.
            latest: no entry gets a later time than this (nanoseconds); the digest is that of what was written.
        """
        ...

    def export_tar(self, request: ExportRequest, descriptor: int) -> None:
        """Write the merged files of layers as one tar archive (docker's ``type=tar``) to an open descriptor.

        Raises:
            InvalidInput: the output cannot be written.
        """
        ...

    def export_tree(self, request: ExportRequest, descriptor: int) -> None:
        """Write the merged files of layers into an open directory (docker's ``type=local``), as the caller's own.

        What is there stays, unless it is in the way. No symbolic link is followed, neither of the directory nor of
        the layers; every file appears complete or not at all.

        Raises:
            InvalidInput: the directory cannot be written, or a device cannot be made.
        """
        ...

    def remove(self, paths: Sequence[str]) -> None:
        """Remove directory trees, whoever owns the files inside. Missing ones are fine."""
        ...

    def measure(self, paths: Sequence[str]) -> tuple[int, ...]:
        """Bytes of the files below each directory, whoever owns them; nothing for one that is not there."""
        ...

    def adopt(self, source: str, directory: str) -> LayerFacts:
        """Move the tree ``source`` (same file system) to ``directory/diff`` and commit it."""
        ...

    def close(self) -> None:
        """End the worker. Idempotent."""
        ...


Reporter = Callable[[object], None]
"""Receives events (see model.events) in order; must not block for long."""
