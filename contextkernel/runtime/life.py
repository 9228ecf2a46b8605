"""The runs of a container's init: each has its surroundings, its birth, and its end."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import Conflict, ContextKernelError
from contextkernel.linux import namespaces as ns
from contextkernel.model.container import RECORDED, ExecRequest, RunState, Usage
from contextkernel.runtime.birth import Birth, Child
from contextkernel.runtime.entering import fork_into
from contextkernel.runtime.facts import refresh
from contextkernel.runtime.fallbacks import fallbacks, isolation
from contextkernel.runtime.freezing import Freezer, SignalFreezer, descendants
from contextkernel.runtime.messages import Answering, Done, Failed, Refusal
from contextkernel.runtime.plan_exec import plan_exec
from contextkernel.runtime.plan_oci import plan_start
from contextkernel.runtime.plan_security import container_capabilities, plan_namespaces
from contextkernel.runtime.recorder import RecorderProcess
from contextkernel.runtime.stubs import remove_stubs
from contextkernel.runtime.surroundings import Place, surroundings_of
from contextkernel.runtime.traced_monitor import TracedChild, TracedRoom
from contextkernel.runtime.traced_ports import TracedPorts

if TYPE_CHECKING:
    from contextkernel.model.resources import Resources
    from contextkernel.runtime.channels import Channels
    from contextkernel.runtime.loop import Loop
    from contextkernel.runtime.messages import Launch

#: state's exit code of a container that could not be started (moby, daemon/errors.go, setExitCodeFromError)
EXIT_CODES = {"setup": 128, "not_executable": 126, "not_found": 127}


class Life:
    """A container as its monitor has it.

    Args:
        launch: what to start.
        permitted: capabilities of this process.
        loop: for what surroundings wait for.
        record: called with each new state.

    Attributes:
        state: what is known of it.
        usage: of the last run, after its end.
        others: processes that are not the init's descendants (``exec``).
    """

    def __init__(
        self, launch: Launch, permitted: frozenset[str], loop: Loop, record: Callable[[RunState], None]
    ) -> None:
        self._launch = launch
        self._permitted = permitted
        self._loop = loop
        self._record = record
        self._surroundings = surroundings_of(launch.request)
        self._room = TracedRoom(launch.request) if launch.facts.isolation == "none" else None
        if self._room is not None:
            self._surroundings += [TracedPorts(launch.request), self._room]
        for surrounding in self._surroundings:
            surrounding.changed = self._changed
        self._birth = Birth()
        self._place: Place | None = None
        self._pid_namespace = True
        self._frozen: Freezer | None = None
        self._recorder: RecorderProcess | None = None
        self.state = RunState(status="created")
        self.usage: Usage | None = None
        self.others: Callable[[], list[Child]] = list

    @property
    def child(self) -> Child | None:
        """The init, until it has been collected."""
        child = self._birth.child
        return child if child is not None and child.handle >= 0 else None

    def note(self, **changes: object) -> None:
        """Change the state and record it."""
        self.state = msgspec.structs.replace(self.state, **changes)
        self._record(self.state)

    def start(self, channels: Channels) -> Failed | None:
        """Enter the surroundings, clone the init, and wait until it has executed the program.

        Args:
            channels: its streams.

        Returns:
            Why there is no program; nothing is left of the attempt then, and the state is as it was before.
        """
        try:
            failure = self._attempt(channels)
        except ContextKernelError as problem:
            failure = Failed("setup", problem.problem, problem.hint, number=getattr(problem, "number", 0))
        except Exception as problem:
            failure = Failed("setup", f"the container's monitor failed: {type(problem).__name__}: {problem}")
        if failure is None:
            self._report()
            pid = self._birth.child.shown_pid if self._birth.child else 0
            began = {"pid": pid, "exit_code": 0, "started": time.time_ns(), "finished": 0, "error": ""}
            self.note(status="running", **began, **self._kept())
            return None
        if self.child is not None:
            self.child.signal(signal.SIGKILL)
            self.collect()
        else:
            self._leave()
        return failure

    def _attempt(self, channels: Channels) -> Failed | None:
        request, facts = self._launch.request, refresh(self._launch.facts)
        place = Place(request=request, facts=facts, namespaces=plan_namespaces(request, facts))
        for surrounding in self._surroundings:
            place = surrounding.enter(place, self._loop)
        self._place = place
        operations = plan_start(place.request, place.facts)
        self._pid_namespace = place.namespaces.pid
        if not self._pid_namespace:
            ns.set_child_subreaper()
        make_child = Child if self._room is None else self._room.child
        self._birth = Birth(keeper=bool(place.request.security.runtime), child=make_child)
        beside = next((join.pid for join in place.request.joins if join.kind == "pid"), 0)
        report = self._birth.clone(
            operations,
            place.namespaces,
            channels.child,
            self._permitted,
            beside=0 if place.facts.shares_pids else beside,
        )
        channels.close_child_ends()
        if self._birth.child is None or report is None:
            return self._birth.failure
        try:
            for surrounding in self._surroundings:
                surrounding.settle(self._birth.child.pid)
        except BaseException:
            report.close()
            raise
        self._birth.await_exec(report, channels.use_terminal, self.answering)
        for surrounding in self._surroundings:
            self._birth.files = surrounding.opened(self._birth.files)
        for descriptor in self._birth.files.values():
            os.close(descriptor)
        return self._birth.failure

    def _kept(self) -> dict[str, object]:
        """What keeps it apart, for the state."""
        if self._place is None:
            return {}
        request, facts = self._place.request, self._place.facts
        return {
            "isolation": isolation(request, facts, self._place.namespaces),
            "fallbacks": fallbacks(request, facts),
        }

    def answering(self, message: Answering, descriptors: list[int]) -> None:
        """Somebody has to answer changes of owner of a process of the container.

        Args:
            message: what the process says.
            descriptors: that come with it; closed here.

        Raises:
            SyscallFailed, LaunchFailed: nobody can.
        """
        try:
            self.state = msgspec.structs.replace(self.state, owners=message.problem or RECORDED)
            if message.problem:
                return
            listener, root = descriptors
            if self._recorder is None:
                request = self._launch.request
                capabilities = frozenset(container_capabilities(request, self._launch.facts))
                self._recorder = RecorderProcess(root, os.path.dirname(request.upper), capabilities)
            self._recorder.add(listener, noted=message.noted)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def collect(self) -> int:
        """Wait for the init, and for whatever it left behind; take its surroundings away. Its exit code."""
        if self._birth.child is None:
            return 0
        code, seconds, memory = self._birth.child.collect()
        self.usage = Usage(seconds, memory)
        if not self._pid_namespace:
            _kill_descendants()
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None
        if self._birth.inside is not None:
            self._birth.inside.close()
        self._frozen = None
        self._report()
        self._leave()
        remove_stubs(self._launch.request.upper, self._birth.set_up.stubs, self._birth.set_up.parents)
        return code

    def _changed(self) -> None:
        self._report()
        self.note()

    def _report(self) -> None:
        for surrounding in self._surroundings:
            self.state = surrounding.report(self.state)

    def _leave(self) -> None:
        for surrounding in reversed(self._surroundings):
            surrounding.leave()

    def signal(self, number: int) -> None:
        """Send a signal to the init; no error when there is none."""
        if self.child is not None:
            self.child.signal(number)

    def processes(self) -> list[int]:
        """All processes, as the host sees them, parents before children."""
        helpers = {pid for child in (self.child, *self.others()) if child for pid in child.helpers}
        return [pid for pid in descendants(self._roots()) if pid not in helpers]

    def _roots(self) -> list[int]:
        """Processes that all others descend from."""
        if not self._pid_namespace:
            return [pid for pid in descendants([os.getpid()]) if pid != os.getpid()]
        return [child.pid for child in (self.child, *self.others())] if self.child is not None else []

    def init_of_namespace(self) -> int | None:
        """Pid of the init if it is that of a pid namespace of its own."""
        return self.child.pid if self._pid_namespace and self.child is not None else None

    def why_no_exec(self) -> Refusal | None:
        """Why no further program can be started now."""
        if self._frozen is not None:
            return Refusal("it is paused", "unpause it first")
        if self.child is None:
            return Refusal("it is not running", "ps -a shows what became of it")
        return None

    def fork(
        self, wanted: ExecRequest, streams: tuple[int, int, int]
    ) -> tuple[int, socket.socket, Callable[[int], Child]]:
        """Fork a process that becomes a further program; see :func:`~contextkernel.runtime.entering.fork_into`.

        Raises:
            SyscallFailed: no process can be made. InvalidInput: the plan is not possible. Conflict: no init.
        """
        if self._place is None or self._birth.inside is None:
            raise Conflict("the container is not running")
        facts = self._place.facts
        make_child: Callable[[int], Child] = Child
        if self._room is not None:
            path, reader = self._room.new_report()
            facts = msgspec.structs.replace(facts, report=path)
            make_child = partial(TracedChild, reader=reader)
        operations = plan_exec(self._place.request, facts, wanted)
        score = self._place.request.resources.oom_score_adj
        forked = fork_into(self._birth.inside, operations, streams, self._permitted, self._join, oom_score=score)
        return *forked, make_child

    def _join(self) -> None:
        for surrounding in self._surroundings:
            surrounding.join()

    def update(self, resources: Resources) -> Done | Refusal:
        """Change the limits; with an error some may have changed already."""
        try:
            for surrounding in self._surroundings:
                surrounding.update(resources)
        except ContextKernelError as problem:
            return Refusal(problem.problem, problem.hint)
        finally:
            self._report()
            self.note()
        return Done()

    def pause(self) -> Done | Refusal:
        """Pause all processes."""
        if self._frozen is not None:
            return Refusal("it is already paused")
        if self.state.status != "running":
            return Refusal("it is restarting, wait until it is running")
        offered = [freezer for one in self._surroundings if (freezer := one.freezer()) is not None]
        freezer = offered[0] if offered else SignalFreezer(self._roots)
        try:
            freezer.freeze()
        except ContextKernelError as problem:
            with suppress(ContextKernelError):
                freezer.thaw()
            return Refusal(problem.problem, problem.hint)
        self._frozen = freezer
        self.note(status="paused")
        return Done()

    def unpause(self) -> Done | Refusal:
        """Let all processes go on."""
        if self._frozen is None:
            return Refusal("it is not paused")
        try:
            self._frozen.thaw()
        except ContextKernelError as problem:
            return Refusal(problem.problem, problem.hint)
        self._frozen = None
        self.note(status="running")
        return Done()


def _kill_descendants() -> None:
    """Without a pid namespace: kill what the container left running; as their reaper we see them all in the end."""
    own = os.getpid()
    while True:
        # the innermost first: what is traced must not go on without its tracer
        for pid in reversed([pid for pid in descendants([own]) if pid != own]):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
