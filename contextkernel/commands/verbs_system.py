"""Verbs about the engine itself: version, info, doctor, check."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from contextkernel import __version__
from contextkernel.commands.humanize import human_size
from contextkernel.commands.outcome import Host, Outcome, Table, Text
from contextkernel.commands.tables import documents_formatted
from contextkernel.commands.verbs_image import shown
from contextkernel.model.room import STORE_LIMIT_VARIABLE

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.model.room import StoreRoom


def version(call: Call) -> Outcome:
    """Versions of this package and of what it runs on."""
    system = os.uname()
    document = {
        "Version": __version__,
        "PythonVersion": ".".join(str(part) for part in sys.version_info[:3]),
        "Os": system.sysname.lower(),
        "Arch": _architecture(),
        "KernelVersion": system.release,
    }
    layout = call.parsed.text("format")
    if layout:
        # there is no server; scripts that ask for docker's are answered with what does the server's work
        return Outcome(value=Text(_one({**document, "Client": document, "Server": document}, layout)))
    rows = (
        ("Version:", document["Version"]),
        ("Python version:", document["PythonVersion"]),
        ("OS/Arch:", f"{document['Os']}/{document['Arch']}"),
        ("Kernel version:", document["KernelVersion"]),
    )
    return Outcome(value=Text("contextkernel\n" + "".join(f" {name:<18}{value}\n" for name, value in rows)))


def info(call: Call) -> Outcome:
    """What the store holds and what the host is."""
    engine, system = call.engine, os.uname()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    states = [row.state for row in engine.containers(all=True)]
    room = engine.store_room()
    document = {
        "ServerVersion": __version__,
        "Containers": len(states),
        "ContainersRunning": states.count("running"),
        "ContainersPaused": 0,
        "ContainersStopped": len(states) - states.count("running"),
        "Images": len({row.id for row in engine.images(all=True)}),
        "Driver": "overlay",
        "DockerRootDir": engine.root,
        "StoreSize": room.used,
        "StoreBound": room.bound,
        "StoreFree": room.free,
        "Tier": engine.host_report().tier,
        "KernelVersion": system.release,
        "OperatingSystem": _distribution(),
        "OSType": system.sysname.lower(),
        "Architecture": system.machine,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": memory,
        "Name": system.nodename,
    }
    layout = call.parsed.text("format")
    if layout:
        return Outcome(value=Text(_one(document, layout)))
    lines = (
        f"Containers: {document['Containers']}",
        f" Running: {document['ContainersRunning']}",
        f" Stopped: {document['ContainersStopped']}",
        f"Images: {document['Images']}",
        f"Version: {__version__}",
        f"Tier: {document['Tier']}",
        f"Storage Driver: {document['Driver']}",
        f"Root Dir: {document['DockerRootDir']}",
        f"Store Size: {_room_text(room)}",
        f"Kernel Version: {document['KernelVersion']}",
        f"Operating System: {document['OperatingSystem']}",
        f"OSType: {document['OSType']}",
        f"Architecture: {document['Architecture']}",
        f"CPUs: {document['NCPU']}",
        f"Total Memory: {memory / (1 << 30):.4g}GiB",
        f"Name: {document['Name']}",
    )
    return Outcome(value=Text("".join(f"{line}\n" for line in lines)))


def _room_text(room: StoreRoom) -> str:
    """``3.1GB of 5GB (CONTEXTKERNEL_MAX_SIZE), 20GB free on its disk of 100GB``."""
    bound = f" of {human_size(room.bound)} ({STORE_LIMIT_VARIABLE})" if room.bound else ""
    disk = f" of {human_size(room.disk)}" if room.disk else ""
    return f"{human_size(room.used)}{bound}, {human_size(room.free)}{disk} free on its disk"


def doctor(call: Call) -> Outcome:
    """What this host allows."""
    report = call.engine.host_report()
    if call.parsed.flag("json"):
        from contextkernel.model.codec import to_json

        return Outcome(value=Text(to_json(report).decode() + "\n"))
    return Outcome(value=Host(report))


def check(call: Call) -> Outcome:
    """What is wrong in the store; exit code 1 when something stays wrong."""
    findings = call.engine.check_store(repair=call.parsed.flag("repair"))
    broken = any(not finding.repaired for finding in findings)
    outcome = shown(call, Table("findings", findings))
    return Outcome(value=outcome.value, exit_code=1 if broken else 0)


def _one(document: dict[str, Any], layout: str) -> str:
    """``--format`` for a single object, which docker's ``json`` does not wrap in an array."""
    if layout == "json":
        from contextkernel.commands.template_values import to_json

        return to_json(document) + "\n"
    return documents_formatted([document], layout)


def _architecture() -> str:
    from contextkernel.model.platform import Platform

    return Platform.host().architecture


def _distribution() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            for line in file:
                if line.startswith("PRETTY_NAME="):
                    return line.partition("=")[2].strip().strip('"')
    except OSError:
        pass
    return os.uname().sysname
