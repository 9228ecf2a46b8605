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
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NoReturn, assert_never

import msgspec

from contextkernel.errors import ContextKernelError
from contextkernel.linux import namespaces as ns
from contextkernel.linux.tree import remove_tree
from contextkernel.model.container import RunState, Usage
from contextkernel.runtime import messages
from contextkernel.runtime.birth import Child
from contextkernel.runtime.channels import Attachment, Channels, Standard
from contextkernel.runtime.execs import Execs, Execution
from contextkernel.runtime.health import HealthChecks
from contextkernel.runtime.life import EXIT_CODES, Life
from contextkernel.runtime.links import Link
from contextkernel.runtime.logs import JsonLog
from contextkernel.runtime.loop import Loop
from contextkernel.runtime.messages import (
    Attach,
    Detached,
    Done,
    Exec,
    Exited,
    Failed,
    Launch,
    Pause,
    Processes,
    ProcessList,
    Refusal,
    Resize,
    Signal,
    Started,
    Stop,
    Taken,
    ToMonitor,
    Unpause,
    Update,
)
from contextkernel.runtime.record import Record
from contextkernel.runtime.restarting import Restarting
from contextkernel.runtime.room import RoomKeeper
from contextkernel.runtime.telling import Teller


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
        Monitor(launch, connection, permitted).run(Standard(*chosen))
        status = 0
    finally:
        os._exit(status)


class Monitor:
    """Serves one container, over all its runs.

    Args:
        launch: what to start.
        connection: to the client that asked for it.
        permitted: capabilities of this process.
    """

    def __init__(self, launch: Launch, connection: socket.socket, permitted: frozenset[str]) -> None:
        self._launch = launch
        self._loop = Loop()
        self._record = Record(launch.request.state_dir, self._accept)
        self._life = Life(launch, permitted, self._loop, self._write)
        self._oom_told = False
        self._outgrown = 0
        self._restarting = Restarting(launch.request.life.restart)
        self._teller = Teller(launch.request)
        self._log: JsonLog | None = None
        self._channels: Channels | None = None
        self._client = Link(connection, self._answer, self._gone)
        self._links: list[Link] = []
        self._attachments: dict[Link, Attachment] = {}
        self._dies = False  # the end that comes now has not been told
        self._execs = Execs(
            self._loop, self._life.fork, self._life.init_of_namespace, self._teller, self._life.answering
        )
        self._executions: dict[Link, Execution] = {}
        self._life.others = self._execs.children
        self._health = HealthChecks(
            launch.request, self._loop, self._execs, lambda health: self._life.note(health=health), self._teller
        )

    def run(self, streams: Standard) -> None:
        """Start the container, serve it, end it.

        Args:
            streams: of the client that asked for it.
        """
        self._join(self._client)
        try:
            self._record.open()
            self._loop.add(self._record)
            if self._launch.request.log is not None:
                self._log = JsonLog(self._launch.request.log, self._launch.request.log_rules)
            channels = self._connect(streams.stdout is not None, streams.stderr is not None)
        except ContextKernelError as problem:
            self._give_up(Failed("setup", problem.problem, problem.hint))
            return
        except OSError as problem:
            text = f"{problem.filename}: " if problem.filename else ""
            text += os.strerror(problem.errno or 0).lower()
            self._give_up(Failed("setup", f"the container's files cannot be written: {text}"))
            return
        failure = self._life.start(channels)
        if failure is not None:
            self._give_up(failure)
            return
        self._tell_start()
        RoomKeeper(self._launch.request.room, self._loop, self._outgrow)
        if any(stream is not None for stream in streams):
            self._attach(self._client, streams, self._launch.detach_keys)
        self._tell(Started(self._life.state.pid))
        while self._serve():
            pass
        self._finish()

    # Runs of the init

    def _connect(self, stdout: bool = False, stderr: bool = False) -> Channels:
        """Pipes for the next run of the init; for its outputs only if there may be somebody to read them."""
        request = self._launch.request
        kept = request.state_dir is not None or self._log is not None
        channels = Channels(
            stdin=request.open_stdin,
            stdout=kept or stdout,
            stderr=kept or stderr,
            terminal=request.terminal is not None,
            log=self._log,
        )
        self._channels = channels
        self._loop.add(channels)
        return channels

    def _serve(self) -> bool:
        """Serve one run of the init to its end; ``True`` when it has been started again."""
        child = self._life.child
        if child is None:
            return False
        exit_ = _Exit(child.handle)
        self._loop.add(exit_)
        while not exit_.happened:
            self._loop.turn()
        self._loop.discard(exit_)
        code = self._life.collect()
        self._health.stop()
        self._teller.ended()
        if self._channels is not None:
            self._channels.end()
        if self._log is not None:
            self._log.flush()
        ended = {"pid": 0, "exit_code": code, "finished": time.time_ns()}
        last = msgspec.structs.replace(self._life.state, **ended)
        delay = self._restarting.delay(last)
        if delay is None:
            self._life.state = msgspec.structs.replace(last, status="exited")
            self._dies = True
            return False
        self._life.note(status="restarting", restart_count=last.restart_count + 1, **ended)
        self._tell_death()
        self._tell_exit()
        return self._again(delay)

    def _again(self, delay: float) -> bool:
        """Wait, then start the init again; ``False`` when the end was asked for meanwhile, or it fails."""
        timer = self._loop.after(delay, lambda: None)
        while timer.pending and not self._life.state.wanted_end:
            self._loop.turn()
        timer.cancel()
        if self._life.state.wanted_end:
            self._life.state = msgspec.structs.replace(self._life.state, status="exited")
            return False
        before = self._life.state
        failure = self._life.start(self._connect())
        if failure is not None:
            code = EXIT_CODES[failure.kind]
            self._life.state = msgspec.structs.replace(before, status="exited", exit_code=code, error=failure.problem)
            return False
        self._tell_start()
        return True

    def _finish(self) -> None:
        """Everything that must be true before clients hear of the exit; then they do."""
        self._record.stop_listening()
        if self._log is not None:
            self._log.close()
        self._life.note()
        if self._dies:
            self._tell_death()
        for path in self._launch.request.remove:
            with suppress(OSError):
                remove_tree(path)
        if self._launch.request.remove:
            self._teller("destroy")
        self._record.unlock()
        self._tell_exit()
        self._execs.finish()

    def _write(self, state: RunState) -> None:
        """Record a state; that memory ran out is told as soon as it is known."""
        self._record.write(state)
        if state.oom_killed and not self._oom_told:
            self._teller("oom")
        self._oom_told = state.oom_killed

    def _tell_start(self) -> None:
        self._teller.begun()
        self._teller("start")
        self._health.begin(self._life.state.started)

    def _tell_death(self) -> None:
        state = self._life.state
        self._teller("die", execDuration=(state.finished - state.started) // 10**9, exitCode=state.exit_code)

    def _tell_exit(self) -> None:
        """Tell all clients of the exit; those with streams once they have taken all output, while they are there."""
        usage = self._life.usage
        if self._outgrown:
            usage = msgspec.structs.replace(usage or Usage(0.0, 0), outgrown=self._outgrown)
        message = Exited(self._life.state.exit_code, usage)
        for link in self._links:
            if link not in self._attachments and link not in self._executions:
                link.send(message)
        while any(not attachment.flushed for attachment in self._attachments.values()):
            self._loop.turn()
        for link, attachment in self._attachments.items():
            attachment.close()
            link.send(message)
        self._attachments.clear()
        self._drop_channels()

    def _give_up(self, failure: Failed) -> None:
        self._record.write(RunState(status="created", exit_code=EXIT_CODES[failure.kind], error=failure.problem))
        self._record.unlock()
        self._drop_channels()
        self._tell(failure)

    def _drop_channels(self) -> None:
        if self._channels is not None:
            self._loop.discard(self._channels)
            self._channels.close()
            self._channels = None

    def _tell(self, message: Started | Failed) -> None:
        for link in self._links:
            link.send(message)

    # Clients

    def _accept(self, connection: socket.socket) -> None:
        link = Link(connection, self._answer, self._gone)
        self._join(link)
        link.send(Started(self._life.state.pid))

    def _join(self, link: Link) -> None:
        self._links.append(link)
        self._loop.add(link)

    def _gone(self, link: Link) -> None:
        self._loop.discard(link)
        self._links.remove(link)
        attachment = self._attachments.pop(link, None)
        if attachment is not None:
            attachment.close()
            if self._ends_input and self._channels is not None:
                self._channels.end_input()
        execution = self._executions.pop(link, None)
        if execution is not None:
            execution.leave()
        if link is self._client and self._launch.request.die_with_client:
            self._life.signal(signal.SIGKILL)

    def _answer(self, link: Link, request: ToMonitor) -> None:
        """Do what a client asks for."""
        match request:
            case Signal(number) if link in self._executions:
                self._executions[link].signal(number)
            case Signal(number, ends):
                if ends:
                    self._want_end()
                self._kill(number)
            case Stop(number, timeout):
                self._want_end()
                self._kill(number)
                if timeout >= 0 and (child := self._life.child) is not None:
                    self._loop.after(timeout, lambda: self._kill_late(child))
            case Pause():
                link.send(self._told("pause", self._life.pause()))
            case Unpause():
                link.send(self._told("unpause", self._life.unpause()))
            case Update(restart, resources):
                answer = self._life.update(resources) if resources is not None else Done()
                if restart is not None and isinstance(answer, Done):
                    self._restarting.policy = restart
                link.send(answer)
            case Attach(stdin, stdout, stderr, detach_keys):
                streams = link.take((stdin, stdout, stderr))
                if streams is None:
                    link.send(Refusal("the streams to attach did not arrive"))
                else:
                    self._attach(link, Standard(*streams), detach_keys)
                    link.send(Done() if self._channels is not None else Refusal("it is restarting"))
            case Exec():
                self._exec(link, request)
            case Resize(rows, columns):
                execution = self._executions.get(link)
                channels = self._channels if execution is None else execution.channels
                if channels is not None:
                    channels.resize(rows, columns)
            case Processes():
                link.send(ProcessList(tuple(self._life.processes())))
            case _:
                assert_never(request)

    def _told(self, action: str, answer: Done | Refusal) -> Done | Refusal:
        if isinstance(answer, Done):
            self._teller(action)
            (self._health.stop if action == "pause" else self._health.go_on)()
        return answer

    def _kill(self, number: int) -> None:
        if self._life.child is not None:
            self._teller("kill", signal=number)
            self._life.signal(number)

    def _kill_late(self, child: Child) -> None:
        """The end was asked for, and has not come in time."""
        if child is self._life.child:
            self._kill(signal.SIGKILL)

    def _outgrow(self, size: int, problem: str) -> None:
        """There is no room for what it writes: whatever it is about to do, others could do nothing any more."""
        self._outgrown = size
        self._life.note(error=problem)
        self._want_end()
        self._kill(signal.SIGKILL)

    def _want_end(self) -> None:
        """Nobody starts it again; a paused one goes on, so that it can end."""
        self._life.state = msgspec.structs.replace(self._life.state, wanted_end=True)
        self._told("unpause", self._life.unpause())

    @property
    def _ends_input(self) -> bool:
        """The program's input ends with a client's: whoever started it gave it one (docker's StdinOnce)."""
        request = self._launch.request
        return request.stdin_once and request.terminal is None

    def _attach(self, link: Link, streams: Standard, detach_keys: bytes) -> None:
        if self._channels is None:  # between two runs
            streams.close()
            return
        before = self._attachments.pop(link, None)
        if before is not None:
            before.close()
        self._attachments[link] = self._channels.attach(
            streams, ends_input=self._ends_input, detach_keys=detach_keys, on_detach=lambda: self._detach(link)
        )

    def _exec(self, link: Link, request: Exec) -> None:
        taken = link.take((request.stdin, request.stdout, request.stderr))
        if taken is None:
            link.send(Refusal("the streams for the program did not arrive"))
            return
        streams = Standard(*taken)
        refusal = self._life.why_no_exec()
        if link in self._executions:
            refusal = Refusal("this connection has a program already")
        if refusal is not None:
            streams.close()
            link.send(refusal)
            return
        self._executions[link] = self._execs.start(request.request, streams, link.send, detach_keys=request.detach_keys)

    def _detach(self, link: Link) -> None:
        attachment = self._attachments.pop(link, None)
        if attachment is not None:
            attachment.close()
            link.send(Detached())


class _Exit:
    """Waits for the exit of a process; a :class:`~contextkernel.runtime.loop.Source`."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.happened = False

    def interests(self) -> Iterator[tuple[int, int]]:
        yield self._handle, select.POLLIN

    def ready(self, events: Mapping[int, int]) -> None:
        self.happened = self.happened or self._handle in events
