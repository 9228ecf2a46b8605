"""The socket in front of an SSH agent: what is passed on, what is refused, what ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contextkernel.build.ssh_agents import agent_socket, check_agents
from contextkernel.errors import InvalidInput
from contextkernel.model.build_inputs import AgentKeys, AgentSocket

FAILURE = b"\0\0\0\x01\x05"


class Agent:
    """Answers every request with 12 and what it was asked."""

    def __init__(self, path: Path) -> None:
        self.asked: list[bytes] = []
        self.path = str(path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                while head := client.recv(4):
                    body = client.recv(int.from_bytes(head, "big"))
                    self.asked.append(body)
                    client.sendall(frame(b"\x0c" + body))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path / "agent")
    yield made
    made.close()


def ask(path: str, *pieces: bytes) -> bytes:
    """Send pieces; what comes back until the other side has answered or ended."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(path)
        for piece in pieces:
            client.sendall(piece)
        return client.recv(4096)


def test_lists_and_signatures_are_passed_on_and_nothing_else(agent: Agent, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with agent_socket("default", AgentSocket(agent.path), path):
        assert ask(path, frame(b"\x0b")) == frame(b"\x0c\x0b")
        assert ask(path, b"\0\0", b"\0\x05\x0dkey", b"!") == frame(b"\x0c\x0dkey!")  # in pieces
        for other in (1, 17, 18, 19, 22, 25, 27):  # adding, removing, locking, extensions
            assert ask(path, frame(bytes([other]) + b"x")) == FAILURE
    assert agent.asked == [b"\x0b", b"\x0dkey!"]
    assert not os.path.exists(path)


@pytest.mark.parametrize("garbage", [b"\0\0\0\0", b"\xff\xff\xff\xff\x0b", b"\0\x10\0\0"])
def test_garbage_ends_the_connection_and_not_the_socket(agent: Agent, tmp_path: Path, garbage: bytes) -> None:
    path = str(tmp_path / "socket")
    with agent_socket("default", AgentSocket(agent.path), path):
        assert ask(path, garbage) == b""
        assert ask(path, frame(b"\x0b")) == frame(b"\x0c\x0b")


def test_nothing_goes_on_after_the_step(agent: Agent, tmp_path: Path) -> None:
    path, threads = str(tmp_path / "socket"), threading.active_count()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        with agent_socket("default", AgentSocket(agent.path), path):
            client.connect(path)
            client.sendall(frame(b"\x0b"))
            assert client.recv(100) == frame(b"\x0c\x0b")
        assert client.recv(100) == b""
    assert threading.active_count() == threads


def test_an_agent_that_has_gone_ends_the_connection(tmp_path: Path) -> None:
    gone = Agent(tmp_path / "agent")
    path = str(tmp_path / "socket")
    with agent_socket("default", AgentSocket(gone.path), path):
        gone.close()
        assert ask(path, frame(b"\x0b")) == b""


def test_a_long_path_is_fine(agent: Agent, tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    with agent_socket("default", AgentSocket(agent.path), f"{folder}/socket"):
        assert os.path.exists(f"{folder}/socket")


def test_what_cannot_be_had_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(InvalidInput, match="no agent is running"):
        check_agents({"default": AgentSocket()})
    with pytest.raises(InvalidInput, match="there is no socket"):
        check_agents({"default": AgentSocket(str(tmp_path / "none"))})
    with pytest.raises(InvalidInput, match="no key or socket"):
        check_agents({"default": AgentKeys((str(tmp_path / "none"),))})
    (tmp_path / "key").write_text("x")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match="ssh-agent, which is not installed"):
        check_agents({"default": AgentKeys((str(tmp_path / "key"),))})


def agents_of(folder: str) -> list[int]:
    """Processes that were started with a socket in ``folder``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"ssh-agent") and any(folder.encode() in word for word in words):
            found.append(int(entry.parent.name))
    return found


HOLDER = """
import sys, threading
from contextkernel.build.ssh_agents import agent_socket
from contextkernel.model.build_inputs import AgentKeys
with agent_socket("default", AgentKeys((sys.argv[1],)), sys.argv[2]):
    print("ready", flush=True)
    if sys.argv[3] == "wait":
        threading.Event().wait()
"""


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="needs ssh-agent")
@pytest.mark.parametrize("end", ["kill", "return"])
def test_attack_agent_with_keys_that_outlives_a_killed_build(tmp_path: Path, end: str) -> None:
    key, temporary = tmp_path / "key", tmp_path / "tmp"
    temporary.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    wanted = "wait" if end == "kill" else "return"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(key), str(tmp_path / "socket"), wanted],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        if end == "kill":
            assert agents_of(str(temporary))
            holder.kill()
        assert holder.wait() == (-signal.SIGKILL if end == "kill" else 0)
    patience = time.monotonic() + 60.0  # it looks every ten seconds whether it is still wanted
    while agents_of(str(temporary)):
        assert time.monotonic() < patience, agents_of(str(temporary))
        time.sleep(0.05)
    assert not list(temporary.rglob("agent"))
