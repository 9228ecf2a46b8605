"""What must be there around a container before its init exists, and goes after its end: its network, its cgroup."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from contextkernel.model.container import LaunchRequest, RunState
from contextkernel.model.resources import Resources
from contextkernel.runtime.facts import HostFacts
from contextkernel.runtime.plan_security import Namespaces

if TYPE_CHECKING:
    from contextkernel.runtime.freezing import Freezer
    from contextkernel.runtime.loop import Loop


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What one start of a container's init is planned from; each surrounding may change it.

    Attributes:
        request: what to start.
        facts: what the host allows, and the text of generated files.
        namespaces: what the init is cloned with.
    """

    request: LaunchRequest
    facts: HostFacts
    namespaces: Namespaces


class Surrounding:
    """One of them; it lives in the container's monitor. Only :meth:`enter`, :meth:`settle` and :meth:`update` raise.

    The order of one start: :meth:`enter`, clone, :meth:`settle` (in the monitor), the container's life with any number
    of :meth:`join`, :meth:`leave`. A restart begins again with :meth:`enter`. :meth:`leave` may also come right after
    :meth:`enter`, when the start failed.
    """

    def __init__(self) -> None:
        #: called when there is news for :meth:`report` while the container lives; set by whoever keeps its state
        self.changed: Callable[[], None] = lambda: None

    def enter(self, place: Place, loop: Loop) -> Place:  # noqa: ARG002 - for those who have something to wait for
        """Make it, and move the monitor into it: the init, which is cloned next, is born there.

        Args:
            place: what the surroundings before this one have left.
            loop: for descriptors to watch while the container lives.

        Returns:
            What the plan is made from, with what only this surrounding knows.

        Raises:
            ContextKernelError: it cannot be had; the container does not start. Nothing of it is left then.
        """
        return place

    def settle(self, pid: int) -> None:
        """The init is there (``pid`` as the host sees it): the monitor may go back to where it was.

        Raises:
            ContextKernelError: the container does not start.
        """

    def opened(self, files: dict[str, int]) -> dict[str, int]:
        """Generated files that the init has mounted, by path, open for writing.

        Returns:
            Those that are left: nobody wants to write them, and they are closed.
        """
        return files

    def update(self, resources: Resources) -> None:
        """Change the limits of the running container.

        Raises:
            ContextKernelError: they cannot be kept.
        """

    def join(self) -> None:
        """Called in a fork of the monitor that is going to be a further process of the container (exec).

        It still sees the host's files, and joins the init's namespaces afterwards.
        """

    def leave(self) -> None:
        """All processes of the container have gone: take it away. Idempotent."""

    def freezer(self) -> Freezer | None:
        """What pauses all processes at once, if this can."""
        return None

    def report(self, state: RunState) -> RunState:
        """The container's state with what is known here (addresses, how a limit is enforced)."""
        return state


def surroundings_of(request: LaunchRequest) -> list[Surrounding]:
    """What ``request`` needs around it, in the order of :meth:`Surrounding.enter`; :meth:`Surrounding.leave` reverses.

    Args:
        request: what is to be started.
    """
    from contextkernel.runtime.device_fence import DeviceFence
    from contextkernel.runtime.joining import JoinPid
    from contextkernel.runtime.network_surrounding import NetworkSurrounding
    from contextkernel.runtime.resource_group import ResourceGroup

    found: list[Surrounding] = []
    if request.attach is not None:
        found.append(NetworkSurrounding(request, request.attach))
    found += [JoinPid() for join in request.joins if join.kind == "pid"]
    if request.state_dir is not None:
        found.append(ResourceGroup(request))
        if request.security.runtime:
            from contextkernel.runtime.oci_keeper import Leftovers

            found.append(Leftovers(request))
        elif not request.security.privileged:
            found.append(DeviceFence(request))
    return found
