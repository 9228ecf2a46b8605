"""The registries of a store: where their files are, whether they run, how they are started and ended.

::

    STORE/registry/NAME/settings.json   what it was started with
                       /lock            held (flock(2)) by the living server, with its process id
                       /layout/         see ``storage``
                       /log             what went wrong

The starter binds the sockets and hands them over with the lock: whether a port is free is known at once, and whoever
connects waits until he is answered. The server outlives the starter.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from contextkernel.errors import Conflict, HostUnsupported, InvalidInput, LaunchFailed, NotFound
from contextkernel.linux import pidfd
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.serving import DEFAULT_PORT, RegistryRow, check_registry_name
from contextkernel.registry_server.access import PasswordHash, Peers
from contextkernel.store.paths import refused

HOST = "127.0.0.1"
_FIRST = 3  # descriptors of the started process: the lock, where to say that it is ready, then the sockets
_PATIENCE = 20.0  # seconds for a server to note its id, or to end
_PAUSE = 0.01
_PORTS_TRIED = 20
_LOOKS = 5
_START = (
    "import sys; sys.path[:0] = {paths!r}; from contextkernel.engine.registry_process import main; main(*{words!r})"
)
_PACKAGES = ("contextkernel", "msgspec", "tornado", "isal", "zstandard", "platformdirs")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry was started with.

    Attributes:
        port: of loopback.
        read_only: show the images of the store.
        password: who is let in.
        created: nanoseconds since the epoch.
    """

    port: int
    read_only: bool = False
    password: PasswordHash | None = None
    created: int = 0


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to start; ``None``: as it was the last time.

    Attributes:
        port: of loopback.
        read_only: show the images of the store.
        user: who is let in, with ``password``; empty: nobody needs one.
        password: see there.
    """

    port: int | None = None
    read_only: bool | None = None
    user: str | None = None
    password: str = ""


class _Held(msgspec.Struct, frozen=True):
    """What the server writes into the lock: its process id, and where that is one."""

    pid: int
    namespace: int


class Place:
    """The files of one registry.

    Args:
        store: directory of the store.
        name: of the registry.

    Raises:
        InvalidInput: not a name.
    """

    def __init__(self, store: str, name: str) -> None:
        self.name = check_registry_name(name)
        self.path = f"{store}/registry/{name}"
        self.layout = f"{self.path}/layout"
        self.log = f"{self.path}/log"
        self._store = store
        self._lock = f"{self.path}/lock"

    @property
    def exists(self) -> bool:
        """It was started once, and not removed."""
        return os.path.exists(f"{self.path}/settings.json")

    def settings(self) -> Settings:
        """What it was started with.

        Raises:
            NotFound: there is no such registry.
        """
        try:
            with open(f"{self.path}/settings.json", "rb") as file:
                return from_json(file.read(), Settings)
        except FileNotFoundError:
            raise NotFound(
                f"no such registry: {self.name}", hint="registry ls lists those there are, registry start makes one"
            ) from None
        except msgspec.MsgspecError as problem:
            raise InvalidInput(f"{self.path}/settings.json cannot be read: {problem}") from None

    @property
    def running(self) -> bool:
        """Its server lives."""
        with self._locked() as descriptor:
            return descriptor is None

    @contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Hold the lock; gives ``None`` if a server has it, and -1 if there is nothing to be locked."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            yield -1
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            yield descriptor
        finally:
            os.close(descriptor)

    # ---- starting

    def start(self, wanted: Wanted) -> Settings:
        """Start it, unless it runs already as it is wanted.

        Raises:
            Conflict: it runs otherwise, or the port is taken. InvalidInput: a port or user that cannot be.
            HostUnsupported: other users could not be kept out. LaunchFailed, StoreProblem: it cannot be started.
        """
        try:
            os.makedirs(self.path, 0o700, exist_ok=True)
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if not _taken(lock):
                    return self._running_as(wanted)
                os.truncate(lock, 0)
                return self._start(wanted, lock)
            finally:
                os.close(lock)  # the server holds it now
        except OSError as problem:
            raise refused(problem, self._store) from problem

    def _running_as(self, wanted: Wanted) -> Settings:
        settings = self.settings()
        user = settings.password.user if settings.password else ""
        differs = [
            text
            for text, other in (
                (f"on port {settings.port}", wanted.port not in (None, 0, settings.port)),
                (
                    "read-only" if settings.read_only else "to be pushed to",
                    wanted.read_only not in (None, settings.read_only),
                ),
                (f"for {user}" if user else "without a password", wanted.user not in (None, user)),
            )
            if other
        ]
        if differs:
            raise Conflict(
                f"registry {self.name} runs already {', '.join(differs)}",
                hint=f"registry stop {self.name} first, or give this one another --name",
            )
        return settings

    def _start(self, wanted: Wanted, lock: int) -> Settings:
        before = self.settings() if self.exists else None
        password = None if before is None else before.password
        if wanted.user is not None:
            password = PasswordHash.of(wanted.user, wanted.password) if wanted.user else None
        if password is None and not Peers([]).known:
            raise HostUnsupported(
                "this host does not tell whose a connection is (/proc/net/tcp): any user of it could push",
                hint="give the registry a password: --user NAME --password-stdin",
            )
        read_only = (before is not None and before.read_only) if wanted.read_only is None else wanted.read_only
        if before is not None and before.read_only != read_only:
            # what one kind keeps means nothing to the other
            if (
                not before.read_only
                and os.path.isdir(f"{self.layout}/repositories")
                and os.listdir(f"{self.layout}/repositories")
            ):
                raise Conflict(
                    f"registry {self.name} has images that were pushed", hint="give the read-only one another --name"
                )
            shutil.rmtree(self.layout, ignore_errors=True)
        sockets = listen(wanted.port, None if before is None else before.port)
        try:
            port = int(sockets[0].getsockname()[1])
            settings = Settings(
                port=port,
                read_only=read_only,
                password=password,
                created=before.created if before is not None else time.time_ns(),
            )
            self._write(settings)
            if not _spawn((self._store, self.name, len(sockets)), lock, [one.fileno() for one in sockets]):
                raise LaunchFailed(
                    f"registry {self.name} cannot be started: {self._last_words()}", hint=f"its log is {self.log}"
                )
        finally:
            for one in sockets:
                one.close()
        return settings

    def _last_words(self) -> str:
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()[-2000:].strip().rpartition("\n")[2] or "its process ended"
        except OSError:
            return "its process ended"

    def _write(self, settings: Settings) -> None:
        temporary = f"{self.path}/settings.{os.getpid()}"
        with open(temporary, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(to_json(settings))
        os.replace(temporary, f"{self.path}/settings.json")

    # ---- ending

    def stop(self) -> bool:
        """End it, and wait until it has ended.

        Returns:
            Whether it ran.

        Raises:
            NotFound: there is no such registry. LaunchFailed: it does not end. HostUnsupported: its process cannot be
                seen from here.
        """
        self.settings()
        deadline = time.monotonic() + _PATIENCE
        asked = False
        while True:
            with self._locked() as free:
                if free is not None:
                    return asked
                held = self._holder()
            if held is not None and not asked:
                asked = self._end(held)
            if time.monotonic() > deadline:
                raise LaunchFailed(f"registry {self.name} does not end", hint=f"its log is {self.log}")
            time.sleep(_PAUSE)

    def _holder(self) -> _Held | None:
        try:
            with open(self._lock, "rb") as file:
                return from_json(file.read(), _Held)
        except (OSError, msgspec.MsgspecError):
            return None  # it has just been started

    def _end(self, held: _Held) -> bool:
        if held.namespace != pid_namespace():
            raise HostUnsupported(
                f"registry {self.name} was started in another container", hint="stop it there, where its process is"
            )
        process = pidfd.open_pid(held.pid)
        if process is None:
            return False
        try:
            # the id is that of the server as long as somebody holds the lock with this id in it
            with self._locked() as free:
                if free is not None or self._holder() != held:
                    return False
            return pidfd.send(process, signal.SIGTERM)
        finally:
            os.close(process)

    def hold(self, lock: int) -> None:
        """Note, in the server, which process it is."""
        os.pwrite(lock, to_json(_Held(os.getpid(), pid_namespace())), 0)

    def holds(self, lock: int) -> bool:
        """Whether the lock that the server has is still this registry's: the directory may have been removed."""
        try:
            there = os.stat(self._lock)
        except OSError:
            return False
        ours = os.fstat(lock)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def remove(self) -> None:
        """Remove it and everything in it.

        Raises:
            NotFound: there is no such registry. Conflict: it runs.
        """
        self.settings()
        with self._locked() as free:
            if free is None:
                raise Conflict(
                    f"registry {self.name} is running",
                    hint=f"registry stop {self.name} ends it; registry rm --force does both",
                )
            try:
                shutil.rmtree(self.path)
            except OSError as problem:
                raise refused(problem, self._store) from problem


def places(store: str) -> list[Place]:
    """The registries of a store, by name.

    Args:
        store: its directory.
    """
    try:
        names = sorted(os.listdir(f"{store}/registry"))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        with suppress(InvalidInput):
            found.append(Place(store, name))
    return [place for place in found if place.exists]


def row_of(place: Place) -> RegistryRow:
    """A registry as it is listed, without what is in it.

    Raises:
        NotFound: it was removed meanwhile.
    """
    settings = place.settings()
    return RegistryRow(
        name=place.name,
        address=f"{HOST}:{settings.port}",
        running=place.running,
        read_only=settings.read_only,
        user=settings.password.user if settings.password else "",
        created=settings.created,
    )


def listen(wanted: int | None, before: int | None) -> list[socket.socket]:
    """Sockets on a port of loopback, of IPv4, and of IPv6 where there is such a thing.

    Args:
        wanted: the port; 0 for any; ``None``: the one before, else 5000, else any.
        before: the port it had.

    Raises:
        Conflict: the wanted port is taken. InvalidInput: it is none.
    """
    if wanted is not None and not 0 <= wanted <= 65535:
        raise InvalidInput(f"{wanted} is not a port", hint="1 to 65535, or 0 for any that is free")
    if wanted:
        sockets = _bound(wanted)
        if sockets is None:
            raise Conflict(f"port {wanted} of {HOST} is taken", hint="--port 0 takes one that is free")
        return sockets
    for port in () if wanted == 0 else dict.fromkeys((before or DEFAULT_PORT, DEFAULT_PORT)):
        sockets = _bound(port)
        if sockets is not None:
            return sockets
    for _ in range(_PORTS_TRIED):
        sockets = _bound(0)
        if sockets is not None:
            return sockets
    raise Conflict(f"no port of {HOST} is free")


def _bound(port: int) -> list[socket.socket] | None:
    """``None`` if the port is taken, for either kind: ``localhost`` must not lead to somebody else."""
    first = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind((HOST, port))
        first.listen()
    except OSError as problem:
        first.close()
        if problem.errno in {errno.EADDRINUSE, errno.EACCES}:
            return None
        raise
    try:
        second = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError:  # no IPv6 here
        return [first]
    try:
        second.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        second.bind(("::1", first.getsockname()[1]))
        second.listen()
    except OSError as problem:
        second.close()
        if problem.errno == errno.EADDRINUSE:
            first.close()
            return None
        return [first]
    return [first, second]


def _taken(lock: int) -> bool:
    """Take the lock of a registry that does not run; who only looks whether it runs holds it for a moment, too."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_PAUSE)
    return False


def pid_namespace() -> int:
    """What process ids of this process mean something in."""
    return os.stat("/proc/self/ns/pid").st_ino


def _spawn(words: Sequence[object], lock: int, sockets: Sequence[int]) -> bool:
    """Start a fresh interpreter, which leaves us at once, so that nobody has to wait for its end.

    Returns:
        Whether it serves; false if it has ended before.
    """
    import importlib.util

    origins = [spec.origin for name in _PACKAGES if (spec := importlib.util.find_spec(name)) is not None]
    paths = list(dict.fromkeys(os.path.dirname(os.path.dirname(os.path.abspath(o))) for o in origins if o))
    code = _START.format(paths=paths, words=tuple(words))
    ready, telling = os.pipe()
    try:
        # so that none of them has the number of another's place
        high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100) for descriptor in (lock, telling, *sockets)]
        try:
            started = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", code],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, descriptor, _FIRST + place) for place, descriptor in enumerate(high)
                ],
            )
        finally:
            for descriptor in (*high, telling):
                os.close(descriptor)
        os.waitpid(started, 0)
        return os.read(ready, 1) != b""
    finally:
        os.close(ready)
