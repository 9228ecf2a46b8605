"""Options of ``run`` and ``create`` about limits; most of them are those of ``update`` too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.grammar import Option
from contextkernel.commands.values_resources import (
    devices,
    nano_cpus_of,
    size_of,
    swap_of,
    uint16_of,
    ulimits,
    value,
)

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked.resources import ResourceKeywords

#: what can be changed later
CHANGEABLE = (
    Option(
        name="blkio-weight",
        kind="string",
        metavar="uint16",
        help="Weight against other containers on block devices: 10 to 1000, or 0 for none",
    ),
    Option(name="cpu-period", kind="int", metavar="int", help="Period in microseconds that --cpu-quota is a part of"),
    Option(
        name="cpu-quota", kind="int", metavar="int", help="Microseconds of processor time in each period, -1 for any"
    ),
    Option(name="cpu-rt-period", kind="int", metavar="int", help="Period of real-time tasks in microseconds"),
    Option(name="cpu-rt-runtime", kind="int", metavar="int", help="Microseconds for real-time tasks in each period"),
    Option(
        name="cpu-shares",
        short="c",
        kind="int",
        metavar="int",
        help="Weight against other containers on busy processors; 1024 is the usual",
    ),
    Option(name="cpus", kind="string", metavar="decimal", help="Number of processors, such as 1.5"),
    Option(name="cpuset-cpus", kind="string", metavar="string", help="Processors it may use: 0-3, or 0,1"),
    Option(name="cpuset-mems", kind="string", metavar="string", help="Memory nodes it may use: 0-3, or 0,1"),
    Option(name="kernel-memory", kind="string", metavar="bytes", hidden=True),
    Option(name="memory", short="m", kind="string", metavar="bytes", help="Memory, such as 512m"),
    Option(
        name="memory-reservation",
        kind="string",
        metavar="bytes",
        help="Memory that is left to it when the host runs short",
    ),
    Option(
        name="memory-swap",
        kind="string",
        metavar="bytes",
        help="Memory and swap together, -1 for any; by default twice --memory",
    ),
    Option(name="pids-limit", kind="int", metavar="int", help="Number of processes and threads, -1 for any"),
)

OPTIONS = (
    *CHANGEABLE,
    Option(
        name="blkio-weight-device", kind="list", metavar="list", help="Weight on one block device: PATH:10 to PATH:1000"
    ),
    Option(name="device-read-bps", kind="list", metavar="list", help="Bytes a second read from a device: PATH:1mb"),
    Option(name="device-read-iops", kind="list", metavar="list", help="Reads a second from a device: PATH:1000"),
    Option(name="device-write-bps", kind="list", metavar="list", help="Bytes a second written to a device: PATH:1mb"),
    Option(name="device-write-iops", kind="list", metavar="list", help="Writes a second to a device: PATH:1000"),
    Option(
        name="memory-swappiness",
        kind="int",
        metavar="int",
        default="-1",
        help="How readily its memory is swapped out: 0 to 100, -1 for the host's",
    ),
    Option(name="oom-kill-disable", help="Let it wait for memory instead of being killed"),
    Option(
        name="oom-score-adj",
        kind="int",
        metavar="int",
        help="How likely the host picks it when memory is short: -1000 to 1000",
    ),
    Option(name="shm-size", kind="string", metavar="bytes", help="Size of /dev/shm, by default 64m"),
    Option(
        name="ulimit",
        kind="list",
        metavar="ulimit",
        help="Resource limit of each process: NAME=SOFT[:HARD]",
    ),
)


def changes(parsed: Parsed) -> ResourceKeywords:
    """What ``update`` changes too, as keyword arguments of the engine; only what was given.

    Raises:
        UsageProblem: a value that cannot be.
    """
    found: ResourceKeywords = {}
    value(parsed, "kernel-memory", size_of)  # no longer there in the kernel; docker looks at nothing but its form
    if (number := parsed.number("cpu-period")) is not None:
        found["cpu_period"] = number
    if (number := parsed.number("cpu-quota")) is not None:
        found["cpu_quota"] = number
    if (number := parsed.number("cpu-rt-period")) is not None:
        found["cpu_rt_period"] = number
    if (number := parsed.number("cpu-rt-runtime")) is not None:
        found["cpu_rt_runtime"] = number
    if (number := parsed.number("cpu-shares")) is not None:
        found["cpu_shares"] = number
    if (number := parsed.number("pids-limit")) is not None:
        found["pids_limit"] = number
    if (text := parsed.maybe("cpuset-cpus")) is not None:
        found["cpuset_cpus"] = text
    if (text := parsed.maybe("cpuset-mems")) is not None:
        found["cpuset_mems"] = text
    if (number := value(parsed, "cpus", nano_cpus_of)) is not None:
        found["nano_cpus"] = number
    if (number := value(parsed, "blkio-weight", uint16_of)) is not None:
        found["blkio_weight"] = number
    if (number := value(parsed, "memory", size_of)) is not None:
        found["mem_limit"] = number
    if (number := value(parsed, "memory-reservation", size_of)) is not None:
        found["mem_reservation"] = number
    if (number := value(parsed, "memory-swap", swap_of)) is not None:
        found["memswap_limit"] = number
    return found


def keywords(parsed: Parsed) -> ResourceKeywords:
    """The options as keyword arguments of the engine.

    Raises:
        UsageProblem: a value that cannot be.
    """
    from contextkernel.model.resources import ULIMITS

    found = changes(parsed)
    if parsed.given("blkio-weight-device"):
        found["blkio_weight_device"] = devices(parsed, "blkio-weight-device", weights=True)
    if parsed.given("device-read-bps"):
        found["device_read_bps"] = devices(parsed, "device-read-bps", sizes=True)
    if parsed.given("device-write-bps"):
        found["device_write_bps"] = devices(parsed, "device-write-bps", sizes=True)
    if parsed.given("device-read-iops"):
        found["device_read_iops"] = devices(parsed, "device-read-iops")
    if parsed.given("device-write-iops"):
        found["device_write_iops"] = devices(parsed, "device-write-iops")
    if (number := parsed.number("memory-swappiness")) is not None:
        found["mem_swappiness"] = number
    if parsed.flag("oom-kill-disable"):
        found["oom_kill_disable"] = True
    if (number := parsed.number("oom-score-adj")) is not None:
        found["oom_score_adj"] = number
    if (number := value(parsed, "shm-size", size_of)) is not None:
        found["shm_size"] = number
    if parsed.given("ulimit"):
        found["ulimits"] = ulimits(parsed, ULIMITS)
    return found
