"""A process that has the program's modules loaded and forks itself for each command line.

    warm.py SOCKET        serve
    docker ... (client)   see :data:`CLIENT`

Most of a command's time is the start of Python and of its modules; hundreds of them need not pay it. What runs is
``contextkernel.cli.main`` in a process of its own, with the caller's words, environment, directory and streams.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys

#: a program that has a command line run by the server; a command on a terminal of its own needs a process of its own
CLIENT = """\
#!{python} -ISE
import json, os, socket, sys
if os.environ.get("ON_TERMINAL"):
    os.execv({python!r}, [{python!r}, "-m", "contextkernel", *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({socket!r})
    words = json.dumps([os.getcwd(), sys.argv[1:], dict(os.environ)]).encode()
    socket.send_fds(server, [len(words).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(words)
    os.closerange(0, 3)
    code = int.from_bytes(server.recv(4), "big")
os._exit(code)
"""


def main(path: str) -> None:
    """Serve until standard input ends."""
    from contextkernel import cli

    _load()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ, None)
        selector.register(0, selectors.EVENT_READ, None)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj == 0:
                    return
                if key.fileobj is listener:
                    _begin(listener, selector, cli)
                elif isinstance(key.fileobj, socket.socket):
                    if key.fileobj.fileno() == -1:  # its program ended in the same moment
                        continue
                    # it says nothing more: it was killed
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(key.data[1], signal.SIGTERM)
                    selector.unregister(key.fileobj)
                else:
                    _end(key, selector)


def _load() -> None:
    for room in ("commands", "engine", "runtime", "store", "model", "linux", "host"):
        package = importlib.import_module(f"contextkernel.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def _begin(listener: socket.socket, selector: selectors.BaseSelector, cli: object) -> None:
    client, _ = listener.accept()
    head, streams, _, _ = socket.recv_fds(client, 4, 3)
    length, data = int.from_bytes(head, "big"), b""
    while len(data) < length:
        data += client.recv(length - len(data))
    directory, words, environment = json.loads(data)
    pid = os.fork()
    if pid == 0:
        listener.close()
        client.close()
        selector.close()
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        code = 1
        try:
            code = cli.main(words)  # type: ignore[attr-defined]
        except SystemExit as problem:
            code = problem.code if isinstance(problem.code, int) else 1
        finally:
            sys.stdout.flush()
            os._exit(code)
    for stream in streams:
        os.close(stream)
    watched = os.pidfd_open(pid)
    selector.register(client, selectors.EVENT_READ, ("client", pid))
    selector.register(watched, selectors.EVENT_READ, ("program", pid, client))


def _end(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
    _, pid, client = key.data
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    selector.unregister(key.fileobj)
    os.close(key.fd)
    with contextlib.suppress(KeyError, ValueError):
        selector.unregister(client)
    with contextlib.suppress(OSError):
        client.sendall((code if code >= 0 else 128 - code).to_bytes(4, "big"))
    client.close()


if __name__ == "__main__":
    main(sys.argv[1])
