"""One process per container, in a session of its own: starts it, keeps log and state, answers clients, outlives them.

It is forked from the launcher and never returns there. While it lives it holds ``monitor.lock``; if it dies, the kernel
kills the container's init.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from contextlib import suppress
from typing import NoReturn

from contextkernel.errors import ContextKernelError, SyscallFailed
from contextkernel.linux import namespaces as ns
from contextkernel.linux import pidfd
from contextkernel.linux.tree import remove_tree
from contextkernel.model.container import LaunchRequest, RunState, Usage
from contextkernel.runtime import messages, state
from contextkernel.runtime.child import Streams, run_child
from contextkernel.runtime.facts import HostFacts, refresh
from contextkernel.runtime.messages import Exited, Failed, FromChild, Launch, SetUp, Signal, Started, Taken, ToMonitor
from contextkernel.runtime.plan import plan_operations
from contextkernel.runtime.plan_security import Namespaces, plan_namespaces
from contextkernel.runtime.relay import Input, JsonLog, Output
from contextkernel.runtime.stubs import remove_stubs

_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
_WRITABLE = select.POLLOUT | select.POLLERR | select.POLLHUP
_EXIT_CODES = {"setup": 125, "not_executable": 126, "not_found": 127}


class _Link:
    """A connection to one client."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        self.connection = connection
        self._decoder: messages.Decoder[Signal] = messages.Decoder(ToMonitor, "monitor", "client")

    def send(self, message: Started | Failed | Exited) -> None:
        """Send if the client is still there; the few bytes always fit."""
        with suppress(OSError):
            messages.send(self.connection, message)

    def received(self) -> list[Signal] | None:
        """What the client asks for; ``None`` once it has gone, or does not keep to the protocol."""
        try:
            data = self.connection.recv(4096)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        try:
            return list(self._decoder.feed(data))
        except ContextKernelError:
            return None


def run_monitor(launch: Launch, connection: socket.socket, streams: list[int], permitted: frozenset[str]) -> NoReturn:
    """Start the container, serve it to its end, and exit this process.

    Args:
        launch: what to start.
        connection: to the client that asked for it.
        streams: the client's descriptors, those that ``launch`` says there are.
        permitted: capabilities of this process.
    """
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        ns.set_process_name("ck-monitor")
        messages.send(connection, Taken())
        given = iter(streams)
        chosen = [next(given) if there else None for there in (launch.stdin, launch.stdout, launch.stderr)]
        _Monitor(launch.request, refresh(launch.facts), _Link(connection), permitted).run(*chosen)
        status = 0
    finally:
        os._exit(status)


class _Monitor:
    def __init__(self, request: LaunchRequest, facts: HostFacts, client: _Link, permitted: frozenset[str]) -> None:
        self._request = request
        self._facts = facts
        self._client: _Link | None = client
        self._permitted = permitted
        self._links: dict[int, _Link] = {client.connection.fileno(): client}
        self._namespaces: Namespaces = plan_namespaces(request, facts)
        self._directory: int | None = None
        self._lock: int | None = None
        self._log: JsonLog | None = None
        self._listener: socket.socket | None = None
        self._outputs: list[Output] = []
        self._input: Input | None = None
        self._set_up: SetUp = SetUp((), ())
        self._pid = 0
        self._init = -1  # pidfd
        self._usage: Usage | None = None

    def run(self, stdin: int | None, stdout: int | None, stderr: int | None) -> None:
        """The whole life of one container."""
        try:
            failure = self._prepare() or self._launch(stdin, stdout, stderr)
        except ContextKernelError as problem:
            failure = Failed("setup", problem.problem, problem.hint, number=getattr(problem, "number", 0))
        except Exception as problem:
            failure = Failed("setup", f"the container's monitor failed: {type(problem).__name__}: {problem}")
        if failure is not None:
            self._give_up(failure)
            return
        started = time.time_ns()
        self._record(RunState(status="running", pid=self._pid, started=started))
        self._tell(Started(self._pid))
        while not self._serve_once():
            pass
        exit_code = self._collect()
        self._finish(RunState(status="exited", exit_code=exit_code, started=started, finished=time.time_ns()))

    def _prepare(self) -> Failed | None:
        """Lock the container and open what outsiders use."""
        if self._request.state_dir is not None:
            self._directory = os.open(self._request.state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._lock = state.take_lock(self._directory)
            self._listener = self._listen(self._directory)
        if self._request.log is not None:
            self._log = JsonLog(self._request.log)
        return None

    def _listen(self, directory: int) -> socket.socket:
        """Bind the control socket by a name short enough for sockaddr_un, whatever the directory's is."""
        with suppress(FileNotFoundError):
            os.unlink(state.SOCKET, dir_fd=directory)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        listener.bind(f"/proc/self/fd/{directory}/{state.SOCKET}")
        listener.listen()
        return listener

    def _launch(self, stdin: int | None, stdout: int | None, stderr: int | None) -> Failed | None:
        """Clone the child and wait until it has executed the program, or says why not."""
        operations = plan_operations(self._request, self._facts)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        ends = [null]
        child_in = null
        if stdin is not None and self._request.open_stdin:
            child_in, sink = os.pipe()
            ends.append(child_in)
            self._input = Input(stdin, sink)
        child_out = []
        for name, client in (("stdout", stdout), ("stderr", stderr)):
            if client is None and self._log is None:
                child_out.append(null)
                continue
            source, end = os.pipe()
            ends.append(end)
            child_out.append(end)
            self._outputs.append(Output(name, source, client, self._log))
        report, report_end = os.pipe()
        ends.append(report_end)
        if not self._namespaces.pid:
            ns.set_child_subreaper()
        try:
            pid = ns.clone(_flags(self._namespaces))
        except SyscallFailed as problem:
            return Failed("setup", problem.problem, _CLONE_HINT, "clone", problem.number)
        if pid == 0:
            run_child(operations, Streams(child_in, child_out[0], child_out[1], report_end), self._permitted)
        self._pid = pid
        self._init = os.pidfd_open(pid)
        for end in ends:
            os.close(end)
        return self._await_exec(report)

    def _await_exec(self, report: int) -> Failed | None:
        """Read the child's report; its end of the pipe closes at exec, or when it dies."""
        decoder: messages.Decoder[SetUp | Failed] = messages.Decoder(FromChild, "monitor", "child")
        failure = None
        with os.fdopen(report, "rb", buffering=0) as stream:
            while data := stream.read(65536):
                for message in decoder.feed(data):
                    if isinstance(message, SetUp):
                        self._set_up = message
                    else:
                        failure = message
        return failure

    def _serve_once(self) -> bool:
        """Wait for the next thing to happen and handle it; ``True`` once the container's init has exited."""
        poll = select.poll()
        poll.register(self._init, select.POLLIN)
        if self._listener is not None:
            poll.register(self._listener, select.POLLIN)
        self._watch(poll)
        ready = dict(poll.poll())
        self._handle(ready)
        if self._listener is not None and self._listener.fileno() in ready:
            self._accept(self._listener)
        return self._init in ready

    def _watch(self, poll: select.poll) -> None:
        for descriptor in self._links:
            poll.register(descriptor, select.POLLIN)
        for output in self._outputs:
            if output.wants_read and output.source is not None:
                poll.register(output.source, select.POLLIN)
            if output.wants_write and output.client is not None:
                poll.register(output.client, select.POLLOUT)
        if self._input is not None:
            if self._input.wants_read and self._input.client is not None:
                poll.register(self._input.client, select.POLLIN)
            if self._input.sink is not None:
                # without interest in writing only a closed other end is reported
                poll.register(self._input.sink, select.POLLOUT if self._input.wants_write else 0)

    def _handle(self, ready: dict[int, int]) -> None:
        for output in self._outputs:
            if output.source is not None and ready.get(output.source, 0) & _READABLE:
                output.read()
            if output.client is not None and output.wants_write and ready.get(output.client, 0) & _WRITABLE:
                output.write()
        if self._input is not None:
            if self._input.sink is not None and ready.get(self._input.sink, 0) & select.POLLERR:
                self._input.close()
            elif self._input.wants_write and ready.get(self._input.sink or -1, 0) & _WRITABLE:
                self._input.write()
            elif self._input.client is not None and ready.get(self._input.client, 0) & _READABLE:
                self._input.read()
        for descriptor in [descriptor for descriptor in self._links if descriptor in ready]:
            self._serve_link(descriptor)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        link = _Link(connection)
        self._links[connection.fileno()] = link
        link.send(Started(self._pid))

    def _serve_link(self, descriptor: int) -> None:
        link = self._links[descriptor]
        requests = link.received()
        if requests is None:
            self._drop(descriptor)
            return
        for request in requests:
            self._kill(request.number)

    def _drop(self, descriptor: int) -> None:
        link = self._links.pop(descriptor)
        link.connection.close()
        if link is not self._client:
            return
        self._client = None
        for output in self._outputs:
            output.drop_client()
        if self._input is not None:
            self._input.close()
        if self._request.die_with_client:
            self._kill(signal.SIGKILL)

    def _kill(self, number: int) -> None:
        if self._init >= 0:
            with suppress(ContextKernelError, ValueError):
                pidfd.send(self._init, number)

    def _collect(self) -> int:
        """The exit code of the container's init, after whatever it left behind is gone too."""
        _, status, used = os.wait4(self._pid, 0)
        self._usage = Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
        if not self._namespaces.pid:
            _kill_descendants()
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _finish(self, ended: RunState) -> None:
        """Everything that must be true before clients hear of the exit."""
        if self._listener is not None:
            self._listener.close()
        if self._input is not None:
            self._input.close()
        for output in self._outputs:
            while output.read():  # all writers are dead: what there is, is in the pipe
                pass
            output.close_source()
        if self._log is not None:
            self._log.close()
        self._clean_upper()
        self._record(ended)
        self._flush()
        self._remove()
        self._tell(Exited(ended.exit_code, self._usage))

    def _flush(self) -> None:
        """Hand the client what it has not taken yet, as long as it is there."""
        while any(output.wants_write for output in self._outputs):
            poll = select.poll()
            self._watch(poll)
            self._handle(dict(poll.poll()))
        for output in self._outputs:
            output.drop_client()

    def _give_up(self, failure: Failed) -> None:
        if self._pid:
            self._kill(signal.SIGKILL)
            self._collect()
            self._clean_upper()
        self._record(RunState(status="created", exit_code=_EXIT_CODES[failure.kind], error=failure.problem))
        for output in self._outputs:
            output.drop_client()
        self._tell(failure)

    def _clean_upper(self) -> None:
        remove_stubs(self._request.upper, self._set_up.stubs, self._set_up.parents)

    def _remove(self) -> None:
        for path in self._request.remove:
            with suppress(OSError):
                remove_tree(path)

    def _record(self, new: RunState) -> None:
        if self._directory is None or self._lock is None:
            return
        with suppress(OSError):
            if new.pid:
                state.note_init(self._lock, new.pid)
            state.write_state(self._directory, new)

    def _tell(self, message: Started | Failed | Exited) -> None:
        for link in self._links.values():
            link.send(message)


_CLONE_HINT = "see /proc/sys/user/max_*_namespaces, and `system info` for what this host allows"


def _flags(chosen: Namespaces) -> int:
    flags = {
        ns.CLONE_NEWNS: chosen.mount,
        ns.CLONE_NEWUTS: chosen.uts,
        ns.CLONE_NEWIPC: chosen.ipc,
        ns.CLONE_NEWCGROUP: chosen.cgroup,
        ns.CLONE_NEWPID: chosen.pid,
        ns.CLONE_NEWNET: chosen.network,
    }
    return sum(flag for flag, wanted in flags.items() if wanted)


def _kill_descendants() -> None:
    """Without a pid namespace: kill what the container left running; as their reaper we see them all in the end."""
    me = os.getpid()
    while True:
        with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as file:
            children = file.read().split()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
