"""The root of a traced container, as its first process prepares it: what is shown where, and what may be touched.

Nothing is mounted. What is shown is a list that proot gets; a place that does not exist in the image is made like a
mount point, and taken away at the end by the same rules. What has no other place is kept in the container's room.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import NoReturn, assert_never

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux import landlock
from contextkernel.linux.openat2 import make_dirs_in_root, open_in_root
from contextkernel.linux.seccomp import fixed_filter, install_filter
from contextkernel.linux.seccomp_traced import TRACED_POLICY
from contextkernel.runtime.mountpoints import OWN, MountPoints
from contextkernel.runtime.operations import traced
from contextkernel.runtime.plan_traced import LOADER, LOADER_32, STARTER_TARGET
from contextkernel.runtime.traced_paths import View
from contextkernel.runtime.traced_program import find_program
from contextkernel.runtime.traced_starter import DESCRIPTOR
from contextkernel.runtime.tracer import command_line, tracer_environment
from contextkernel.runtime.users import resolve

_RIGHTS = {"write": landlock.WRITE, "read": landlock.READ, "list": landlock.READ_DIR}


class TracedTree:
    """One container's.

    Args:
        step: which.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, step: traced.UseTree) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        root = os.open(step.upper, flags)
        self.points = MountPoints(
            root, os.open(step.upper, flags), keep_own=step.keep_own, keep_points=step.keep_points
        )
        self.view = View(step.upper)
        self._root = os.path.realpath(step.upper)
        self._room = step.room
        self._report = os.open(step.report, os.O_WRONLY | os.O_CLOEXEC)
        self._shown: dict[str, str] = {}
        self._rules = [(self._root, landlock.READ if step.read_only else landlock.WRITE)]
        self._count = 0
        self._directory = "/"

    def apply(self, step: traced.ShowPath | traced.ShowFile | traced.Confine | traced.InstallTracedFilter) -> None:
        """Carry out one operation.

        Raises:
            SyscallFailed, LaunchFailed: it failed.
        """
        match step:
            case traced.ShowPath():
                self.show(step)
            case traced.ShowFile():
                self.show_file(step)
            case traced.Confine():
                self.confine(step)
            case traced.InstallTracedFilter():
                install_filter(fixed_filter(TRACED_POLICY))
            case _ as never:
                assert_never(never)

    def show(self, step: traced.ShowPath) -> None:
        """Carry out :class:`~contextkernel.runtime.operations.traced.ShowPath`.

        Raises:
            LaunchFailed: there is no source, or it does not fit the target. SyscallFailed: no place can be made.
        """
        source = _inside(step) if step.within else os.path.realpath(step.source)
        if not os.path.exists(source):
            if step.optional:
                return
            raise LaunchFailed(f"there is no {step.source!r} to show at {step.target}")
        self._add(source, step.target, _RIGHTS[step.access])

    def show_directory(self, step: traced.ShowDirectory, dev: int) -> int:
        """Carry out :class:`~contextkernel.runtime.operations.traced.ShowDirectory`.

        Args:
            step: the operation.
            dev: descriptor of the container's /dev, as far as it is there.

        Returns:
            The same, now.
        """
        path = self._own_place(self._room)
        if not os.path.isdir(path):  # for a further program it is there
            os.mkdir(path)
            os.chmod(path, step.mode)
        self._add(path, step.target, landlock.READ if step.read_only else landlock.WRITE)
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if step.target == "/dev" else dev

    def show_file(self, step: traced.ShowFile) -> None:
        """Carry out :class:`~contextkernel.runtime.operations.traced.ShowFile`.

        An image whose file is a link into /proc, /sys or /dev (``/etc/resolv.conf -> /dev/null``) keeps it.
        """
        path = self._own_place(step.place or self._room)
        guest = self.view.find(step.target).guest
        if f"/{guest.split('/')[1]}" in OWN and not step.place:
            return
        if not os.path.exists(path):
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            rest = memoryview(step.content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fchmod(descriptor, step.mode)
            os.close(descriptor)
        self._add(path, step.target, landlock.READ if step.read_only else landlock.WRITE)

    def show_terminal(self, name: str, *, console: bool) -> None:
        """The program's terminal, one of the host's, may be opened by its name; and be the console."""
        self._rules.append((name, landlock.WRITE))
        if console:
            self._add(name, "/dev/console", landlock.WRITE)

    def change_directory(self, target: str) -> None:
        """Where the program starts.

        Raises:
            SyscallFailed: there is no such directory.
        """
        try:
            place = self.view.find(target)
            mode = os.stat(place.host).st_mode
        except OSError as problem:
            raise SyscallFailed("chdir", problem.errno or 0, target) from problem
        if not stat.S_ISDIR(mode):
            raise SyscallFailed("chdir", 20, target)  # ENOTDIR
        self._directory = place.guest

    def confine(self, step: traced.Confine) -> None:
        """Carry out :class:`~contextkernel.runtime.operations.traced.Confine`.

        Raises:
            SyscallFailed: the kernel refused.
        """
        scopes = landlock.SCOPE_SIGNAL * step.signals | landlock.SCOPE_ABSTRACT_UNIX_SOCKET * step.sockets
        rules = [
            *self._rules,
            *((path, landlock.READ) for path in step.readable),
            *((path, landlock.READ_FILE | landlock.EXECUTE) for path in step.executable),
        ]
        if step.files or scopes:
            landlock.restrict(scopes, rules if step.files else None)

    def run(self, step: traced.RunTraced, announce: Callable[[], None]) -> NoReturn:
        """Carry out :class:`~contextkernel.runtime.operations.traced.RunTraced`.

        Args:
            step: the operation.
            announce: tells the monitor that all is prepared, if the step says so.

        Raises:
            ExecProblem: there is no such program, or it cannot be executed. InvalidInput: no such user.
        """
        identity = resolve(step.user, self.view.read("/etc/passwd"), self.view.read("/etc/group"), step.groups)
        items = (*step.env, *(f"{one.name}={one.value}" for one in step.secrets))
        environment = dict(item.partition("=")[::2] for item in items if not item.startswith("="))
        if not environment.get("HOME"):
            environment["HOME"] = identity.home
        program = find_program(self.view, step.argv[0], environment, self._directory)
        words = command_line(
            step.program,
            self._root,
            tuple((host, guest) for guest, host in self._shown.items()),
            uid=identity.uid,
            gid=identity.gid,
            working_dir=self._directory,
            argv=(STARTER_TARGET, program, *step.argv),
        )
        narrow = os.path.join(self._room, LOADER_32)
        tracing = tracer_environment(
            tuple(f"{name}={value}" for name, value in environment.items()),
            wide=os.path.join(self._room, LOADER),
            narrow=narrow if os.path.exists(narrow) else "",
        )
        if step.announce:
            announce()
        self._execute(words, dict(item.partition("=")[::2] for item in tracing))

    def _execute(self, words: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
        os.chdir("/")
        os.dup2(self._report, DESCRIPTOR)
        os.set_inheritable(DESCRIPTOR, True)  # noqa: FBT003 - takes no keyword
        try:
            os.execve(words[0], words, dict(environment))  # noqa: S606 - no shell is wanted
        except OSError as problem:
            raise SyscallFailed("execve", problem.errno or 0, words[0]) from problem

    def _own_place(self, room: str) -> str:
        """A name in the room; a further program of the same plan comes to the same ones."""
        self._count += 1
        return os.path.join(room, f"shown-{self._count}")

    def _add(self, source: str, target: str, rights: int) -> None:
        directory = os.path.isdir(source)
        guest = self._place(target, directory=directory)
        if ":" in source:  # proot takes it for the end of the path
            link = self._own_place(self._room)
            if not os.path.islink(link):
                os.symlink(source, link)
            self._shown[guest] = link
        else:
            self._shown[guest] = source
        self._rules.append((source, rights))
        self.view.show(guest, source)

    def _place(self, target: str, *, directory: bool) -> str:
        """Where ``target`` is without links; made if missing."""
        if target in OWN:
            os.close(self.points.own(target))
            return target
        try:
            place = self.view.find(target)
        except OSError as problem:
            raise SyscallFailed("stat", problem.errno or 0, target) from problem
        shown, host = self.view.around(place.guest)
        if shown == "/":
            os.close(self.points.wanted(place.guest, directory=directory))
        elif place.missing:
            _make(host, place.guest[len(shown) :], directory=directory)
        if os.path.isdir(self.view.host(place.guest)) != directory:
            raise LaunchFailed(
                f"error mounting to rootfs at {target!r}: not a directory",
                hint="a directory cannot be shown in the place of a file, or the other way round",
            )
        return place.guest


def _inside(step: traced.ShowPath) -> str:
    """The host's path of what ``within`` means inside of the source."""
    directory = os.open(step.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = open_in_root(directory, step.within)
    except SyscallFailed as failure:
        raise LaunchFailed(
            f"there is no {step.within!r} to mount at {step.target}", hint="check source= of the mount"
        ) from failure
    finally:
        os.close(directory)
    try:
        return os.readlink(f"/proc/self/fd/{found}")
    finally:
        os.close(found)


def _make(host: str, rest: str, *, directory: bool) -> None:
    """A place inside of something that is shown itself: a volume, or /dev."""
    folder = os.open(host, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path = rest if directory else os.path.dirname(rest)
        last, _ = make_dirs_in_root(folder, path)
        try:
            if not directory:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(os.path.basename(rest), flags, 0o644, dir_fd=last))
        finally:
            os.close(last)
    finally:
        os.close(folder)
