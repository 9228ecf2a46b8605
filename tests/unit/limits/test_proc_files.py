"""Generated files over /proc."""

from __future__ import annotations

from contextkernel.runtime.proc_files import MemoryView, ProcessorView, cpuinfo, meminfo, online, stat, swaps

HOST_MEMINFO = """\
MemTotal:       24684096 kB
MemFree:        20980280 kB
MemAvailable:   23937180 kB
Buffers:          181712 kB
Cached:          3122008 kB
SwapTotal:       1000000 kB
SwapFree:        1000000 kB
HugePages_Total:       0
"""
MIB = 1 << 20


def test_memory_is_the_containers() -> None:
    view = MemoryView(
        limit=64 * MIB,
        used=20 * MIB,
        swap_limit=32 * MIB,
        swap_used=MIB,
        statistics={"total_inactive_file": 4 * MIB, "total_active_file": MIB, "total_cache": 6 * MIB},
    )
    assert meminfo(HOST_MEMINFO, view) == (
        "MemTotal:          65536 kB\n"
        "MemFree:           45056 kB\n"
        "MemAvailable:      50176 kB\n"
        "Buffers:               0 kB\n"
        "Cached:             6144 kB\n"
        "SwapTotal:         32768 kB\n"
        "SwapFree:          31744 kB\n"
        "HugePages_Total:       0\n"
    )


def test_more_than_the_limit_is_no_negative_number() -> None:
    text = meminfo(HOST_MEMINFO, MemoryView(limit=MIB, used=2 * MIB))
    assert "MemFree:               0 kB\n" in text
    assert len(text) == len(HOST_MEMINFO)


def test_swaps() -> None:
    assert swaps(MemoryView(limit=1, used=1)).count("\n") == 1
    assert swaps(MemoryView(limit=1, used=1, swap_limit=2048, swap_used=1024)).splitlines()[1].split() == [
        "none", "virtual", "2", "1", "0",
    ]  # fmt: skip


def test_processors_are_counted_from_zero() -> None:
    host = "".join(f"processor\t: {number}\nmodel name\t: fast {number}\n\n" for number in range(4))
    assert cpuinfo(host, (1, 3)) == ("processor\t: 0\nmodel name\t: fast 1\n\nprocessor\t: 1\nmodel name\t: fast 3\n\n")


def test_another_form_of_cpuinfo_is_left_alone() -> None:
    assert cpuinfo("vendor_id : IBM/S390\n", (0,)) == "vendor_id : IBM/S390\n"


def test_times_are_what_the_container_used() -> None:
    host = (
        "cpu  400 0 400 1200 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\ncpu1 300 0 300 400 0 0 0 0 0 0\n"
        "intr 500 1 2 3\nctxt 77\nbtime 1700000000\nsoftirq 9 1 2\n"
    )
    text = stat(host, ProcessorView(numbers=(1,), user=(30,), system=(20,)))
    assert text == (
        "cpu  30 0 20 950 0 0 0 0 0 0\ncpu0 30 0 20 950 0 0 0 0 0 0\nintr 500\nctxt 77\nbtime 1700000000\nsoftirq 9\n"
    )


def test_online() -> None:
    assert [online(count) for count in (1, 2, 8)] == ["0\n", "0-1\n", "0-7\n"]
