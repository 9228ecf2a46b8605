"""Filters for programs whose paths a tracer translates (proot): what it does not know is answered before it matters.

A tracer changes the arguments of the system calls it knows. One that it does not know would see the host's paths, so
such calls fail with ENOSYS: C libraries and languages take that for an old kernel and use the older call. (The kernel
shows a call to the tracer first, and to the filter as the tracer has left it; since Linux 4.8.)
"""

from __future__ import annotations

from contextkernel.linux.seccomp_policy import ALLOW, ENOSYS, Policy, Rule, fail_with

#: calls that take a path, or make a process, and that proot 5.1.0 (of 2014) passes on as they are; newer ones know some
_UNKNOWN = """
statx openat2 faccessat2 fchmodat2 renameat2 execveat clone3 open_tree open_tree_attr move_mount fsopen fspick
mount_setattr open_by_handle_at fanotify_mark quotactl quotactl_fd io_uring_setup
setxattrat getxattrat listxattrat removexattrat
"""

UNKNOWN_CALLS = Rule(names=tuple(_UNKNOWN.split()), action=fail_with(ENOSYS))

#: the rest is left to the other filters
TRACED_POLICY = Policy(rules=(UNKNOWN_CALLS,), default=ALLOW)
