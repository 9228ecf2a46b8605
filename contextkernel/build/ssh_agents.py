"""SSH agents for steps: a socket for each step, behind which requests to read and to sign are passed on.

Whoever sits behind the socket may list keys and have something signed, as with BuildKit
(``session/sshforward/sshprovider``): adding, removing and locking keys of the caller's agent is refused.
Message numbers: the SSH agent protocol, RFC 9987 section 5.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from contextkernel.errors import InvalidInput
from contextkernel.model.build_inputs import AgentKeys, AgentSocket, AgentSource

_REQUEST_IDENTITIES = 11
_SIGN_REQUEST = 13
_ALLOWED = (_REQUEST_IDENTITIES, _SIGN_REQUEST)
_FAILURE = (1).to_bytes(4, "big") + bytes([5])
_MAX_MESSAGE = 256 * 1024  # as OpenSSH's AGENT_MAX_LEN
_CHUNK = 65536
_PATIENCE = 10.0  # seconds for ssh-add


def check_agents(sources: Mapping[str, AgentSource]) -> None:
    """Refuse agents that cannot be had before anything is built.

    Raises:
        InvalidInput: no agent, no such socket or key, or no ``ssh-agent`` to hold keys.
    """
    for id, source in sources.items():  # noqa: A001 - docker's word
        match source:
            case AgentSocket():
                _socket_of(id, source)
            case AgentKeys(paths=paths):
                for path in paths:
                    if not os.path.isfile(path):
                        raise InvalidInput(
                            f"SSH agent {id!r}: there is no key or socket {path}",
                            hint="--ssh default takes the running agent, --ssh default=FILE a private key",
                        )
                _tool(id, "ssh-agent")
                _tool(id, "ssh-add")


def _socket_of(id: str, source: AgentSocket) -> str:
    path = source.path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise InvalidInput(
            f"SSH agent {id!r}: no agent is running (SSH_AUTH_SOCK is not set)",
            hint="start one: eval $(ssh-agent); ssh-add; or name a key: --ssh default=FILE",
        )
    if not os.path.exists(path):
        raise InvalidInput(f"SSH agent {id!r}: there is no socket {path}", hint="is the agent still running?")
    return path


def _tool(id: str, name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise InvalidInput(
            f"SSH agent {id!r}: private keys need {name}, which is not installed",
            hint="install openssh-client, or forward a running agent with --ssh default",
        )
    return found


@contextmanager
def agent_socket(id: str, source: AgentSource, path: str) -> Iterator[None]:
    """A socket at ``path`` that leads to an agent, while the block runs.

    Args:
        id: for messages.
        source: which agent.
        path: of the socket to be made; its name may be of any length.

    Raises:
        InvalidInput: there is no agent, or a key is not usable.
    """
    with _agent(id, source) as target:
        listener = _listen(path)
        relay = _Relay(listener, target)
        try:
            relay.start()
            yield
        finally:
            relay.stop()
            with suppress(OSError):
                os.unlink(path)


def _listen(path: str) -> socket.socket:
    """Bind by way of /proc, because a socket's name may not exceed 107 bytes."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listener.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
        finally:
            os.close(directory)
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


@contextmanager
def _agent(id: str, source: AgentSource) -> Iterator[str]:
    """The socket of an agent; one for keys is started, and ended with the block."""
    if isinstance(source, AgentSocket):
        yield _socket_of(id, source)
        return
    with tempfile.TemporaryDirectory(prefix="ck-ssh-") as folder:
        path = f"{folder}/agent"
        # an agent that is given a command ends with it, and the command ends with this process, however that ends:
        # else whoever kills a build would leave an agent with unlocked keys behind
        with subprocess.Popen(
            [_tool(id, "ssh-agent"), "-a", path, "sh", "-c", 'echo "$SSH_AGENT_PID"; exec cat'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as command:
            assert command.stdin is not None  # noqa: S101 - it is a pipe
            assert command.stdout is not None  # noqa: S101
            number = command.stdout.readline().strip()  # it listens by then
            if not number.isdigit():
                raise InvalidInput(f"SSH agent {id!r}: ssh-agent does not start", hint="does it work in a shell?")
            try:
                _add_keys(id, source, path)
                yield path
            finally:
                # it looks for its command every ten seconds only
                with suppress(ProcessLookupError):
                    os.kill(int(number), signal.SIGTERM)
                command.stdin.close()


def _add_keys(id: str, source: AgentKeys, path: str) -> None:
    environment = {**os.environ, "SSH_AUTH_SOCK": path, "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
    for key in source.paths:
        try:
            with open(key, "rb") as stream:
                data = stream.read(1 << 20)
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise InvalidInput(f"SSH agent {id!r}: cannot read {key}: {reason}") from None
        added = subprocess.run(
            # on standard input: the mode of the file is the caller's affair
            [_tool(id, "ssh-add"), "-q", "-"],
            input=data,
            env=environment,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            start_new_session=True,
        )
        if added.returncode:
            raise InvalidInput(
                f"SSH agent {id!r}: {key} is not a private key that can be used",
                hint="keys with a passphrase: add them to your agent with ssh-add, and use --ssh default",
            )


class _Relay:
    """A thread that serves one socket.

    Args:
        listener: accepts connections; closed at the end.
        target: socket of the agent.
    """

    def __init__(self, listener: socket.socket, target: str) -> None:
        self._listener = listener
        self._target = target
        self._wake_reader, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="ssh-agent", daemon=True)
        self._live: dict[socket.socket, _Connection] = {}

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End all connections and the thread."""
        self._wake.close()
        for connection in list(self._live.values()):
            connection.shut()
        if self._thread.is_alive():
            self._thread.join()
        self._wake_reader.close()
        self._listener.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_reader, selectors.EVENT_READ)
            selector.register(self._listener, selectors.EVENT_READ)
            try:
                while True:
                    for key, _ in selector.select():
                        if key.fileobj is self._wake_reader:
                            return
                        if key.fileobj is self._listener:
                            self._accept(selector)
                            continue
                        connection: _Connection = key.data
                        if not connection.serve():
                            selector.unregister(key.fileobj)
                            connection.close()
                            self._live.pop(connection.client, None)
            finally:
                for connection in list(self._live.values()):
                    connection.close()

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        connection = _Connection(client, self._target)
        self._live[client] = connection
        selector.register(client, selectors.EVENT_READ, connection)


class _Connection:
    """One client, and its connection to the agent."""

    def __init__(self, client: socket.socket, target: str) -> None:
        self.client = client
        self._target = target
        self._agent: socket.socket | None = None
        self._pending = bytearray()
        client.settimeout(_PATIENCE)

    def serve(self) -> bool:
        """Answer what has arrived; false once the connection is over."""
        try:
            data = self.client.recv(_CHUNK)
            if not data:
                return False
            self._pending += data
            while len(self._pending) >= 4:
                length = int.from_bytes(self._pending[:4], "big")
                if not 0 < length <= _MAX_MESSAGE:
                    return False
                if len(self._pending) < 4 + length:
                    break
                frame = bytes(self._pending[: 4 + length])
                del self._pending[: 4 + length]
                self.client.sendall(self._ask(frame) if frame[4] in _ALLOWED else _FAILURE)
        except OSError:
            return False
        return True

    def _ask(self, frame: bytes) -> bytes:
        if self._agent is None:
            self._agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._agent.settimeout(60.0)  # an agent may ask its user
            self._agent.connect(self._target)
        self._agent.sendall(frame)
        head = self._exactly(4)
        length = int.from_bytes(head, "big")
        if length > _MAX_MESSAGE:
            raise OSError("the agent's answer is too long")
        return head + self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._agent.recv(count - len(data)) if self._agent is not None else b""
            if not piece:
                raise OSError("the agent ended the connection")
            data += piece
        return data

    def shut(self) -> None:
        """Wake whoever reads from either connection."""
        for end in (self.client, self._agent):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End both connections."""
        self.client.close()
        if self._agent is not None:
            self._agent.close()
