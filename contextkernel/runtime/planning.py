"""What a launch will do as a value to be shown; the user as far as the files of the image tell."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import msgspec

from contextkernel.errors import InvalidInput
from contextkernel.model.planned import Planned, PlannedStep
from contextkernel.runtime.devices import device_nodes
from contextkernel.runtime.document import make_plan
from contextkernel.runtime.fallbacks import fallbacks, isolation
from contextkernel.runtime.users import Identity, resolve
from contextkernel.store.lower_files import LowerFiles
from contextkernel.store.tree_record import tree_of

if TYPE_CHECKING:
    from contextkernel.model.backing import Backing
    from contextkernel.model.container import LaunchRequest
    from contextkernel.model.ids import IdMap
    from contextkernel.runtime.facts import HostFacts

_MAX_FILE = 10 << 20


def planned(request: LaunchRequest, facts: HostFacts, idmap: IdMap, *, backing: Backing = "overlay") -> Planned:
    """The plan of ``request``.

    Args:
        request: what would be started.
        facts: what this host allows.
        idmap: the ids containers have.
        backing: what the root would be made with.

    Raises:
        InvalidInput: something that cannot be. LaunchFailed: a device that is not there.
    """
    if request.attach is not None and request.attach.may_fall_back and not facts.network:
        request = msgspec.structs.replace(request, network="host")  # as its monitor will find out
    identity = find_identity(request)
    if backing == "copy" and request.lowers:
        request = msgspec.structs.replace(request, lowers=(), upper=tree_of(os.path.dirname(request.upper)), work="")
    plan = make_plan(request, facts, idmap, identity=identity, nodes=tuple(device_nodes(request)))
    steps = []
    for number, step in enumerate(plan.operations, start=1):
        values = _plain(step)
        steps.append(PlannedStep(number=number, operation=values.pop("type"), values=values))
    return Planned(
        document=_plain(plan.document),
        operations=tuple(steps),
        backing=backing,
        isolation=isolation(request, facts),
        fallbacks=fallbacks(request, facts),
    )


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    """The value as it is in JSON."""
    return msgspec.json.decode(msgspec.json.encode(value), type=dict[str, Any])


def find_identity(request: LaunchRequest) -> Identity | None:
    """The user as far as the image's uppermost passwd and group files tell; ``None`` if they do not know it.

    At the start they are read through the container's root; here without mounting anything.
    """
    files = LowerFiles(request.lowers)
    passwd, group = (_text(files, f"/etc/{name}") for name in ("passwd", "group"))
    try:
        return resolve(request.user, passwd, group, request.security.groups)
    except InvalidInput:
        return None


def _text(files: LowerFiles, name: str) -> str:
    """The content of a file of the image; empty if there is none."""
    place = files.resolve(name)
    found = files.find(place) if place is not None else None
    if found is None:
        return ""
    try:
        descriptor = os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return os.read(descriptor, _MAX_FILE).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
