from __future__ import annotations

from contextkernel.linux.cgroup import Group, own_groups

V2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = """\
24 18 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro
33 24 0:30 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:11 - cgroup cgroup rw,memory
34 24 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 24 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
36 24 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_unified() -> None:
    assert list(own_groups("0::/user.slice/a.scope\n", V2)) == [Group("/sys/fs/cgroup/user.slice/a.scope", ())]
    assert list(own_groups("0::/\n", V2)) == [Group("/sys/fs/cgroup", ())]


def test_hybrid_inside_a_container() -> None:
    cgroup = "4:cpu,cpuacct:/jobs\n3:memory:/docker/abc/job\n1:name=systemd:/x\n0::/\n9:freezer:/\n"
    assert list(own_groups(cgroup, V1)) == [
        Group("/sys/fs/cgroup/cpu,cpuacct/jobs", ("cpu", "cpuacct")),
        Group("/sys/fs/cgroup/memory/job", ("memory",)),
        Group("/sys/fs/cgroup/systemd/x", ("name=systemd",)),
        Group("/sys/fs/cgroup/unified", ()),
    ]


def test_a_group_outside_of_what_is_mounted_is_the_mounts_root() -> None:
    mounted = "33 24 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    assert list(own_groups("3:memory:/docker/abcd\n", mounted)) == [Group("/sys/fs/cgroup/memory", ("memory",))]


def test_nothing_mounted() -> None:
    assert list(own_groups("0::/\n", "24 18 0:22 / /sys ro - sysfs sysfs ro\n")) == []
