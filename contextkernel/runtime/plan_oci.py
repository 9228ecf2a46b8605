"""The plan of a container that an installed OCI runtime sets up (``--runtime runc``). Pure but for its devices.

What this engine keeps doing: the monitor, the log, control group and network (entered before), and the root, whose
layers it mounts. All else is in the document: the same one that ``run --plan`` shows, without what is done already.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import InvalidInput
from contextkernel.model.ids import IdMap
from contextkernel.runtime import operations as op
from contextkernel.runtime.devices import device_nodes
from contextkernel.runtime.document import generated_directory, make_document, oci_name
from contextkernel.runtime.plan import plan_operations

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.runtime.operations import Operation

#: what comes before the runtime, in the order of the usual plan
_BEFORE = (
    op.MakePrivate,
    op.NewKeyring,
    op.JoinNetwork,
    op.MountOverlay,
    op.BindRoot,
    op.MakeDirectory,
    op.LoopbackUp,
    op.AwaitGroup,
)
#: all that is in the document was in there already, and crun before 1.14 refuses a later one
_VERSION = "1.0.2"
_DONE = ("network", "user")  # namespaces that the runtime is started in


def plan_start(request: LaunchRequest, facts: HostFacts) -> tuple[Operation, ...]:
    """The steps of a container's first process, whoever sets it up.

    Raises:
        InvalidInput: what was asked for is not possible. LaunchFailed: a device is not there.
    """
    if not request.security.runtime:
        return plan_operations(request, facts)
    return plan_oci(request, facts)


def plan_oci(request: LaunchRequest, facts: HostFacts) -> tuple[Operation, ...]:
    """The steps with an OCI runtime.

    Raises:
        InvalidInput: what was asked for is not possible with one. LaunchFailed: a device is not there.
    """
    _check(request, facts)
    usual = plan_operations(request, facts)
    document = make_document(request, facts, IdMap(), usual, nodes=tuple(device_nodes(request)))
    linux = document.linux
    document = msgspec.structs.replace(
        document,
        oci_version=_VERSION,
        linux=msgspec.structs.replace(
            linux,
            namespaces=tuple(space for space in linux.namespaces if space.type not in _DONE),
            sysctl={name: value for name, value in linux.sysctl.items() if not name.startswith("net.")},
        ),
    )
    files = tuple((os.path.basename(step.target), step.content) for step in usual if isinstance(step, op.HostsFile))
    settings = tuple(step for step in usual if isinstance(step, op.SetSysctl) and step.name.startswith("net/"))
    return (
        *(step for step in usual if isinstance(step, _BEFORE)),
        op.RunOci(
            program=request.security.runtime,
            name=oci_name(request.id),
            bundle=generated_directory(request),
            config=msgspec.json.encode(document).decode(),
            files=files,
            user=request.user,
            groups=request.security.groups,
            settings=tuple((step.name, step.value, step.required) for step in settings),
        ),
    )


def _check(request: LaunchRequest, facts: HostFacts) -> None:
    runtime = request.security.runtime
    reason = ""
    if request.terminal is not None:
        reason = "a terminal (-t) is the engine's own"
    elif request.joins:
        reason = "namespaces of other containers are joined by the engine's own runtime only"
    elif facts.proc == "bind" or not facts.pid:
        reason = "this host allows no new /proc, which it needs"
    elif facts.root != "pivot":
        reason = "this host refuses pivot_root, which it needs"
    elif request.fake_ids:
        reason = "this host maps a single id, which it cannot stand in for"
    elif request.init:
        reason = "--init is the engine's own"
    if reason:
        raise InvalidInput(f"not possible with --runtime {runtime}: {reason}", hint="leave out --runtime")
