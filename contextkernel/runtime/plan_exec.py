"""From a request for a further program to the ordered steps of its process. Pure.

It gets the container's rules: capabilities, filters, limits, users; what it shares with the others, its namespaces, it
has joined before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from contextkernel.runtime import operations as op
from contextkernel.runtime.plan import environment, limits, memory_limits, plan_traced_program
from contextkernel.runtime.plan_security import identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contextkernel.model.container import ExecRequest, LaunchRequest
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.runtime.operations import Operation


def plan_exec(request: LaunchRequest, facts: HostFacts, wanted: ExecRequest) -> tuple[Operation, ...]:
    """The steps of a process that is in the container's namespaces already.

    Args:
        request: the container, as its init was started.
        facts: what this host allows.
        wanted: the program.
    """
    if facts.isolation == "none":
        return plan_traced_program(request, facts, wanted)
    request = msgspec.structs.replace(request, user=wanted.user, env=wanted.env)
    size = wanted.terminal
    return (
        op.NewKeyring(f"_ses.{request.id}"),
        *([op.OpenTerminal(size.rows, size.columns, console=False)] if size is not None else ()),
        *_limits(request, facts),
        *_identity(request, facts, privileged=wanted.privileged),
        op.Chdir(wanted.working_dir),
        *memory_limits(request),
        op.Exec(wanted.argv, environment(request)),
    )


def _limits(request: LaunchRequest, facts: HostFacts) -> Iterator[Operation]:
    """The container's, but for the score that is set before anything is joined."""
    return (step for step in limits(request, facts) if not isinstance(step, op.SetOomScore))


def _identity(request: LaunchRequest, facts: HostFacts, *, privileged: bool) -> Iterator[Operation]:
    """The container's; a privileged program gets more capabilities, and keeps the filter, as with docker."""
    own = tuple(identity(request, facts))
    if not privileged or request.fake_ids:
        yield from own
        return
    security = msgspec.structs.replace(request.security, privileged=True)
    for step in identity(msgspec.structs.replace(request, security=security), facts):
        if isinstance(step, op.DropCapabilities):
            yield from (limit for limit in own if isinstance(limit, op.InstallSeccomp | op.LimitScope))
        if not isinstance(step, op.InstallSeccomp):
            yield step
