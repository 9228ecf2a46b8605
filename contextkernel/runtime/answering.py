"""With one id: who answers a process's changes of owner from here on."""

from __future__ import annotations

import os
import socket

from contextkernel.errors import HostUnsupported, SyscallFailed
from contextkernel.linux.seccomp import fixed_filter, install_filter
from contextkernel.linux.seccomp_notify import install_listener
from contextkernel.linux.seccomp_policy import FAKE_IDS_POLICY, RECORDED_IDS_POLICY
from contextkernel.runtime.messages import Answering, send


def install_fake_ids(report: int, lost: str = "", *, noted: bool) -> None:
    """Have the monitor's helper answer them; where the kernel refuses that, the filter itself does.

    Args:
        report: descriptor of the socket on which the monitor is told.
        lost: why the helper cannot; empty: it can.
        noted: see :class:`contextkernel.runtime.messages.Answering`.

    Raises:
        SyscallFailed: not even a filter can be installed.
    """
    descriptors: list[int] = []
    try:
        if lost:
            raise HostUnsupported(lost)
        descriptors.append(install_listener(fixed_filter(RECORDED_IDS_POLICY)))
        message = Answering(noted=noted)
    except (SyscallFailed, HostUnsupported) as problem:
        install_filter(fixed_filter(FAKE_IDS_POLICY))
        message = Answering(problem.problem)
    else:
        descriptors.append(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    with socket.socket(fileno=os.dup(report)) as channel:
        send(channel, message, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
