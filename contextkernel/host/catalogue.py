"""Every fact that a report has, in its order: what it belongs to, what is tried, and what it is for."""

from __future__ import annotations

#: name -> what is tried, and what it is for; by group
GROUPS: dict[str, dict[str, str]] = {
    "conclusions": {
        "isolation": "what keeps a container's programs apart from yours",
        "backing": "what a container's file system is made of",
        "limits": "what keeps the limits of containers (-m, --cpus, --pids-limit)",
        "outbound": "how a container with a network of its own reaches the outside",
    },
    "namespaces": {
        "user_namespace": "entering a user namespace with one id, as root of it: for everything below",
        "id_range": "entering one with a range of ids, through newuidmap: for several users inside",
        "mount_namespace": "a mount namespace, and a directory mounted in it once more",
        "pid_namespace": "a pid namespace: processes of their own",
        "network_namespace": "a network namespace: bridged networks, published ports",
        "uts_namespace": "a host name of one's own",
        "ipc_namespace": "shared memory and message queues of one's own",
        "cgroup_namespace": "a view of control groups of one's own",
        "fresh_proc": "mounting /proc in a new pid namespace",
        "fresh_sys": "mounting /sys in a new network namespace",
        "pivot_root": "making another directory the root, and detaching the old one",
        "move_root": "moving another directory over the root; the fallback for pivot_root",
        "chroot": "making another directory the root; the fallback for both",
        "tmpfs": "mounting a tmpfs: /dev, /dev/shm, --tmpfs",
        "devpts": "mounting terminals of one's own: -t",
        "mqueue": "mounting the message queues of a new ipc namespace",
    },
    "files": {
        "overlay": "an overlay in the store's root, mounted, and changed as a build step does: layers without copies",
        "fuse_overlayfs": "the same by fuse-overlayfs, through /dev/fuse: told, not used; layers are copied instead",
        "whiteout_marks": "how a removed file can be marked in the store's root",
        "user_xattrs": "attributes of files in the store's root: owners that programs set are kept in them",
        "reflink": "files that share their blocks (FICLONE): copies that cost nothing",
        "disk": "room on the store's file system",
    },
    "confinement": {
        "seccomp": "installing docker's default filter, and being refused something by it",
        "seccomp_notify": "answering a program's system calls: owners that programs set are recorded under one id",
        "landlock": "Landlock's version, and drawing a line around a process",
        "ptrace": "tracing a child: for proot",
        "apparmor": "the AppArmor profile of this process, and AppArmor's rule for user namespaces",
    },
    "resources": {
        "cgroup_v1": "making control groups of version 1 below one's own",
        "cgroup_v2": "the same of version 2",
        "memory": "memory that may be used, by the control group's limit too",
        "cpus": "processors that may be used",
    },
    "network": {
        "packet_filter": "leading connections elsewhere (nf_tables): the way out as root, and the relay otherwise",
        "tun_device": "making a network device through /dev/net/tun: for pasta and slirp4netns",
    },
    "programs": {
        "pasta": "UDP and ICMP to the outside, as an ordinary user",
        "slirp4netns": "the same; slower",
        "newuidmap": "maps the user ids of a range",
        "newgidmap": "maps the group ids of a range",
        "proot": "RUN and run without namespaces; tried by running /bin/true in it",
        "mmdebstrap": "base images from a package mirror",
    },
}
NAMES = tuple(name for names in GROUPS.values() for name in names)
"""Every fact, in the order of the report."""
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}
ABOUT = {name: about for names in GROUPS.values() for name, about in names.items()}

CONCLUSIONS = (*GROUPS["conclusions"], "apparmor")
"""Facts that are drawn from others, or from circumstances; nothing is tried for them."""

#: what cannot be tried where no user namespace can be entered
NEEDS_USER_NAMESPACE = frozenset(
    {*GROUPS["namespaces"], "overlay", "fuse_overlayfs", "packet_filter", "tun_device"} - {"user_namespace", "chroot"}
)
#: what is tried inside of something else
NEEDS = {
    "packet_filter": "network_namespace",
    "tun_device": "network_namespace",
    "fresh_sys": "network_namespace",
    "mqueue": "ipc_namespace",
    "fresh_proc": "pid_namespace",
}
#: of no interest where they have not been tried: they are stand-ins, or what stands in for them costs little
SPARED = frozenset({"move_root", "tmpfs", "devpts", "mqueue"})
PACKAGES = {
    "pasta": "passt",
    "slirp4netns": "slirp4netns",
    "newuidmap": "uidmap",
    "newgidmap": "uidmap",
    "proot": "proot",
    "mmdebstrap": "mmdebstrap",
}
"""Debian's and Ubuntu's package of each program."""
