"""A traced container as its monitor sees it: its room, and the process that stands for its program.

What the monitor clones becomes proot, which starts the small program of :mod:`contextkernel.runtime.traced_starter`,
which starts the container's. The latter's pid and wait status come through a pipe in the room.
"""

from __future__ import annotations

import os
import select
import signal
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux import pidfd
from contextkernel.linux.proot_loaders import loaders_in
from contextkernel.model.step_mounts import SecretFile
from contextkernel.runtime.birth import Child
from contextkernel.runtime.freezing import children, descendants
from contextkernel.runtime.plan_traced import LOADER, LOADER_32, STARTER, room_of
from contextkernel.runtime.surroundings import Place, Surrounding
from contextkernel.runtime.traced_starter import starter

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest
    from contextkernel.runtime.loop import Loop

_NUMBER = struct.Struct("=i")
_NO_SUCH_FILE = 2  # ENOENT
_MEMORY = "/dev/shm"  # noqa: S108 - a directory of one's own is made in there


class TracedRoom(Surrounding):
    """The directory beside a container's tree: what proot needs, and what is shown over the tree.

    Args:
        request: what is started.
    """

    def __init__(self, request: LaunchRequest) -> None:
        super().__init__()
        self._request = request
        self._room = room_of(request)
        self._memory = ""
        self._count = 0
        self._reader = -1

    def enter(self, place: Place, loop: Loop) -> Place:
        """See :class:`Surrounding`."""
        del loop
        if place.facts.tracer is None:
            return place  # the plan says so
        self.leave()  # what a monitor that was killed has left
        try:
            os.mkdir(self._room, 0o700)
            with open(place.facts.tracer.path, "rb") as file:
                loaders = loaders_in(file.read())
            self._keep(LOADER, loaders.wide)
            self._keep(LOADER_32, loaders.narrow)
            self._keep(STARTER, starter())
            if any(isinstance(mount, SecretFile) for mount in self._request.mounts):
                self._memory = _memory_room() or self._room
            path, self._reader = self.new_report()
        except OSError as problem:
            self.leave()
            why = os.strerror(problem.errno or 0).lower()
            raise LaunchFailed(f"the container's room cannot be made: {problem.filename}: {why}") from problem
        except BaseException:
            self.leave()
            raise
        facts = msgspec.structs.replace(place.facts, report=path, memory_room=self._memory)
        return msgspec.structs.replace(place, facts=facts)

    def _keep(self, name: str, content: bytes) -> None:
        if content:
            path = os.path.join(self._room, name)
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, 0o500)

    def new_report(self) -> tuple[str, int]:
        """A pipe by which a program's start and end are told: its path, and a descriptor to read from.

        Raises:
            OSError: it cannot be made.
        """
        self._count += 1
        path = os.path.join(self._room, f"report-{self._count}")
        os.mkfifo(path, 0o600)
        return path, os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def child(self, pid: int) -> TracedChild:
        """The container's first process, as it was cloned."""
        reader, self._reader = self._reader, -1
        return TracedChild(pid, reader)

    def leave(self) -> None:
        """See :class:`Surrounding`."""
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1
        import shutil  # for the first time on entering

        for path in (self._room, self._memory):
            if path:
                shutil.rmtree(path, ignore_errors=True)
        self._memory = ""


def _memory_room() -> str:
    import tempfile  # most containers have no secrets

    try:
        return tempfile.mkdtemp(prefix="contextkernel-", dir=_MEMORY)
    except OSError:
        return ""


class TracedChild(Child):
    """proot, which stands for the program that it has started.

    Args:
        pid: of proot, as it was cloned.
        reader: of the pipe; it is owned from here on.

    Attributes:
        program: pid of the program; 0 before it is there.
    """

    def __init__(self, pid: int, reader: int) -> None:
        super().__init__(pid)
        self.program = 0
        self._reader = reader
        self._handle_of_program = -1
        self._numbers: list[int] = []
        self._killed = False

    @property
    def shown_pid(self) -> int:
        """The program's."""
        return self.program or self.pid

    @property
    def helpers(self) -> set[int]:
        """Processes that are none of the container's: proot, and what it starts first."""
        return {self.pid, *(children(self.pid) or ())}

    def await_program(self) -> bool:
        """Wait until the program is there; ``False`` if proot has ended before."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.register(self.handle, select.POLLIN)
        while not self.program:
            ready = dict(poll.poll())
            self._read()
            if self.handle in ready:
                break
        if self.program:
            with suppress(OSError):  # it has ended meanwhile
                self._handle_of_program = os.pidfd_open(self.program)
        return bool(self.program)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self._reader, 64):
                self._numbers += [number for (number,) in _NUMBER.iter_unpack(data)]
        self.program = next((number for number in self._numbers if number > 0), 0)

    def signal(self, number: int) -> None:
        """Send the program a signal; SIGKILL ends everything."""
        if self._handle_of_program >= 0:
            with suppress(SyscallFailed, ValueError):
                pidfd.send(self._handle_of_program, number)
        if number != signal.SIGKILL or self.handle < 0:
            return
        # the rest is proot's to kill, when it hears of that end; if it was kept from that, or there is no program yet
        self._killed = True
        helpers = self.helpers
        for pid in reversed(descendants([self.pid])):
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT if pid in helpers and self.program else signal.SIGKILL)

    def collect(self) -> tuple[int, float, int]:
        """See :class:`Child`; the exit code is the program's."""
        code, seconds, memory = super().collect()
        self._read()
        numbers = [number for number in self._numbers if number >= 0]
        failed = next((-number for number in self._numbers if number < 0), 0)
        if failed:
            code = 127 if failed == _NO_SUCH_FILE else 126
        elif len(numbers) > 1:
            code = os.waitstatus_to_exitcode(numbers[1])
            code = code if code >= 0 else 128 - code
        elif self._killed or self.program:
            code = 128 + signal.SIGKILL  # somebody has killed what would have told
        for descriptor in (self._reader, self._handle_of_program):
            if descriptor >= 0:
                os.close(descriptor)
        self._reader = self._handle_of_program = -1
        return code, seconds, memory
