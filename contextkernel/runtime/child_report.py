"""What a container's first process and its monitor say to each other while it sets itself up, and by which descriptor.

The process reports (:data:`contextkernel.runtime.messages.FromChild`); the monitor answers in single bytes.
"""

from __future__ import annotations

import os
import socket

from contextkernel.errors import LaunchFailed
from contextkernel.runtime.messages import Failed, Generated, Rooted, SetUp, encode, send
from contextkernel.runtime.mountpoints import MountPoints

#: the report socket's descriptor in the child
REPORT = 3
#: what the monitor sends when everything around the container is there
GO = b"g"
#: what it sends when it has seen which namespaces the child has; from there on the child may hide itself
SEEN = b"s"


def report(message: Failed | SetUp) -> None:
    """Tell the monitor; also when nothing works any more but the descriptor."""
    frame = encode(message)
    while frame:
        frame = frame[os.write(REPORT, frame) :]


def hand_over(message: Generated | Rooted, descriptor: int) -> None:
    """Tell the monitor, and give it a descriptor, which stays open here.

    Args:
        message: what it is.
        descriptor: of a file or directory.
    """
    with socket.socket(fileno=os.dup(REPORT)) as channel:
        send(channel, message, [descriptor])


def await_go() -> None:
    """Wait until everything around the container is there.

    Raises:
        LaunchFailed: the monitor has ended.
    """
    if os.read(REPORT, 1) != GO:
        raise LaunchFailed("the container's monitor has not put it into its control group")


def set_up_done(points: MountPoints) -> None:
    """Say that the container is there, and which places were made for it; wait until the monitor has seen it.

    Args:
        points: of the container.

    Raises:
        LaunchFailed: the monitor has ended.
    """
    report(SetUp(points.stubs, points.parents))
    while (word := os.read(REPORT, 1)) != SEEN:
        if word != GO:
            raise LaunchFailed("the container's monitor has ended")


def announce(points: MountPoints) -> None:
    """The same, and let go of the monitor: whoever comes next is not the engine any more.

    Args:
        points: of the container.

    Raises:
        LaunchFailed: the monitor has ended.
    """
    set_up_done(points)
    os.close(REPORT)
