"""Reaching ck-network, and starting it where it does not run. Imports nothing that takes time.

::

    root/network/lock     held by the living service; whoever gets it may start one
    root/network/socket   where it listens

The starter binds the socket and hands it over: from then on whoever connects waits until he is answered, and nobody
needs to look whether the service is ready yet.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import sys
import time
from collections.abc import Iterator

from contextkernel.errors import LaunchFailed, ProtocolViolation
from contextkernel.network import messages
from contextkernel.network.messages import FromService, Link, Refused

DIRECTORY = "network"
SOCKET = "socket"
_LOCK = "lock"
_PATIENCE = 15.0  # seconds for a service that is ending to have gone, and for an answer to begin with
_PAUSE = 0.005
_ANSWER_PATIENCE = 60.0
_BACKLOG = 512
_FIRST = 3  # descriptors of the started process: the socket, the lock, then the membership of a user namespace
_START = "import sys; sys.path[:0] = {paths!r}; from contextkernel.network.process import main; main(*{arguments!r})"


class Service:
    """A connection to ck-network.

    Args:
        connection: connected.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(_ANSWER_PATIENCE)
        self._link: Link[FromService] = Link(connection, messages.FromService, "client", "network service")

    def fileno(self) -> int:
        """Descriptor that can be read when the service says something unasked, or has gone."""
        return self._link.fileno()

    def ask(self, message: messages.ToService, descriptors: tuple[int, ...] = ()) -> messages.Attached | messages.Done:
        """Send a request and wait for its answer.

        Raises:
            ConnectionError: the service has gone, or gives no answer.
            Conflict, InvalidInput, LaunchFailed: it refused.
        """
        try:
            self._link.send(message, descriptors)
            while True:
                answer = self._receive()
                match answer:
                    case messages.Attached() | messages.Done():
                        return answer
                    case Refused():
                        raise answer.error()
                    case messages.Changed():
                        continue  # said before it read the request
                    case None:
                        raise ConnectionResetError("the network service has gone")
        except TimeoutError:
            raise ConnectionAbortedError("the network service does not answer") from None

    def heard(self) -> messages.Changed | None:
        """What it said unasked.

        Raises:
            ConnectionError: it has gone.
        """
        answer = self._receive()
        if answer is None:
            raise ConnectionResetError("the network service has gone")
        if not isinstance(answer, messages.Changed):
            raise ProtocolViolation(
                f"the client expected Changed from the network service, got {type(answer).__name__}"
            )
        return answer

    def _receive(self) -> messages.FromService | None:
        answer, descriptors = self._link.receive()
        for descriptor in descriptors:
            os.close(descriptor)
        return answer

    @property
    def gone(self) -> bool:
        """The service has ended; for a connection on which nothing was asked for."""
        poll = select.poll()
        poll.register(self._link.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """End the connection: what is attached by it is detached. Idempotent."""
        self._link.close()


class Hold:
    """Keeps the network services of stores running as long as this process lives, once they were needed.

    Args:
        membership: descriptor that keeps the shared user namespace to be found; started services inherit it.
    """

    def __init__(self, membership: int | None = None) -> None:
        self.membership = membership
        self._services: dict[str, Service] = {}

    def keep(self, root: str, *, shared: bool) -> None:
        """Start the service of a store, if it does not run, without waiting until it is ready.

        Raises:
            LaunchFailed: it cannot be started.
        """
        service = self._services.get(root)
        if service is not None and service.gone:
            service.close()
            service = None
        if service is None:
            self._services[root] = connect(root, shared=shared, membership=self.membership)

    def let_go(self) -> None:
        """In a fork that is not to keep them: forget them."""
        for service in self._services.values():
            service.close()
        self._services.clear()


def find(root: str) -> Service | None:
    """Connect to the network service of a store, if it runs.

    Args:
        root: directory of the store.
    """
    try:
        with _directory(root) as directory:
            connection = _connect(directory)
    except OSError:
        return None
    return None if connection is None else Service(connection)


def connect(root: str, *, shared: bool, membership: int | None = None) -> Service:
    """Connect to the network service of a store; it is started if it does not run.

    Only for a process in the host's network namespace that has the containers' privileges.

    Args:
        root: directory of the store.
        shared: bridges are made in the host's network namespace; else in one of the service's own.
        membership: descriptor that keeps the shared user namespace to be found; the started service inherits it.

    Raises:
        LaunchFailed: it cannot be started.
    """
    deadline = time.monotonic() + _PATIENCE
    try:
        with _directory(root) as directory:
            while True:
                connection = _connect(directory)
                if connection is not None:
                    return Service(connection)
                if not _start(directory, shared, membership):
                    if time.monotonic() > deadline:
                        raise LaunchFailed("the network service neither answers nor ends")
                    time.sleep(_PAUSE)
    except OSError as problem:
        raise LaunchFailed(
            f"the network service cannot be started: {problem.strerror or problem}", hint=f"it works in {root}"
        ) from problem


@contextlib.contextmanager
def _directory(root: str) -> Iterator[int]:
    path = os.path.join(root, DIRECTORY)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _address(directory: int) -> str:
    """The socket's name, short enough for sockaddr_un whatever the directory's is."""
    return f"/proc/self/fd/{directory}/{SOCKET}"


def _connect(directory: int) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        connection.connect(_address(directory))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def _start(directory: int, shared: bool, membership: int | None) -> bool:
    """Start the service; ``False`` if another one lives, or is just being started or ending."""
    lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=directory)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as listener:
            listener.bind(_address(directory))
            listener.listen(_BACKLOG)
            _spawn(directory, shared, [listener.fileno(), lock, *([] if membership is None else [membership])])
    finally:
        os.close(lock)  # the service holds it now
    return True


def _spawn(directory: int, shared: bool, descriptors: list[int]) -> None:
    """Start a fresh interpreter that sees nothing but this package and what it imports."""
    import importlib.util

    import msgspec

    import contextkernel

    origins: list[str | None] = [contextkernel.__file__, msgspec.__file__]
    for name in ("pyroute2", "dnslib"):
        found = importlib.util.find_spec(name)
        origins.append(found.origin if found is not None else None)
    paths = list(dict.fromkeys(os.path.dirname(os.path.dirname(os.path.abspath(o))) for o in origins if o))
    arguments = (os.readlink(f"/proc/self/fd/{directory}"), shared, len(descriptors))
    code = _START.format(paths=paths, arguments=arguments)
    # so that none of them has the number of another's place
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100) for descriptor in descriptors]
    try:
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", code],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, _FIRST + place) for place, descriptor in enumerate(high)],
        )
    finally:
        for descriptor in high:
            os.close(descriptor)
