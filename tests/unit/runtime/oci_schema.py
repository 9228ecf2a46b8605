"""What config.md and config-linux.md of the OCI runtime specification 1.2 say of the parts that are used here.

Written from the specification's text, stricter than its own JSON schema: nothing else may be there. With
``CONTEXTKERNEL_OCI_SCHEMA`` set to the ``schema`` folder of a checkout of it, the tests use that one too.
"""

from __future__ import annotations

from typing import Any

UINT32 = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
UINT64 = {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}
TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
PATH = {"type": "string", "pattern": "^/"}
CAPABILITY = {"type": "string", "pattern": "^CAP_([A-Z]|_)+$"}


def table(required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def many(item: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": item, **more}


def one_of(*words: str) -> dict[str, Any]:
    return {"enum": list(words)}


ACTION = {"type": "string", "pattern": "^SCMP_ACT_(KILL|KILL_PROCESS|KILL_THREAD|TRAP|ERRNO|TRACE|ALLOW|LOG|NOTIFY)$"}
ID_MAPPING = table("containerID hostID size", containerID=UINT32, hostID=UINT32, size=UINT32)
SECCOMP = table(
    "defaultAction",
    defaultAction=ACTION,
    defaultErrnoRet=UINT32,
    architectures=many({"type": "string", "pattern": "^SCMP_ARCH_[A-Z0-9_]+$"}),
    flags=many({"type": "string", "pattern": "^SECCOMP_FILTER_FLAG_"}),
    syscalls=many(
        table(
            "names action",
            names=many(TEXT, minItems=1),
            action=ACTION,
            errnoRet=UINT32,
            args=many(
                table(
                    "index value op",
                    index=UINT32,
                    value=UINT64,
                    valueTwo=UINT64,
                    op=one_of(*(f"SCMP_CMP_{name}" for name in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"])),
                )
            ),
        )
    ),
)
PROCESS = table(
    "cwd args user",
    terminal=FLAG,
    consoleSize=table("height width", height=UINT64, width=UINT64),
    cwd=PATH,
    env=many({"type": "string", "pattern": "="}),
    args=many(TEXT, minItems=1),
    user=table("uid gid", uid=UINT32, gid=UINT32, umask=UINT32, additionalGids=many(UINT32), username=TEXT),
    capabilities=table(
        "", **{name: many(CAPABILITY) for name in ("bounding", "effective", "inheritable", "permitted", "ambient")}
    ),
    rlimits=many(
        table("type soft hard", type={"type": "string", "pattern": "^RLIMIT_[A-Z]+$"}, soft=UINT64, hard=UINT64)
    ),
    noNewPrivileges=FLAG,
    apparmorProfile=TEXT,
    oomScoreAdj={"type": "integer", "minimum": -1000, "maximum": 1000},
)
INTEGER = {"type": "integer"}
THROTTLE = table("major minor rate", major=INTEGER, minor=INTEGER, rate=UINT64)
NAMES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
LINUX = table(
    "",
    namespaces=many(table("type", type=one_of(*NAMES), path=PATH)),
    uidMappings=many(ID_MAPPING),
    gidMappings=many(ID_MAPPING),
    devices=many(
        table(
            "type path",
            type={"type": "string", "pattern": "^[cbup]$"},
            path=PATH,
            major={"type": "integer"},
            minor={"type": "integer"},
            fileMode={"type": "integer", "minimum": 0, "maximum": 0o7777},
            uid=UINT32,
            gid=UINT32,
        )
    ),
    cgroupsPath=TEXT,
    resources=table(
        "",
        devices=many(
            table(
                "allow",
                allow=FLAG,
                type=one_of("a", "b", "c"),
                major={"type": "integer"},
                minor={"type": "integer"},
                access={"type": "string", "pattern": "^[rwm]+$"},
            )
        ),
        memory=table(
            "",
            limit=INTEGER,
            reservation=INTEGER,
            swap=INTEGER,
            swappiness={"type": "integer", "minimum": 0, "maximum": 100},
            disableOOMKiller=FLAG,
        ),
        cpu=table(
            "",
            shares=UINT64,
            quota=INTEGER,
            period=UINT64,
            realtimeRuntime=INTEGER,
            realtimePeriod=UINT64,
            cpus=TEXT,
            mems=TEXT,
        ),
        pids=table("limit", limit=INTEGER),
        blockIO=table(
            "",
            weight={"type": "integer", "minimum": 10, "maximum": 1000},
            weightDevice=many(table("major minor", major=INTEGER, minor=INTEGER, weight=INTEGER)),
            **{f"throttle{way}{unit}Device": many(THROTTLE) for way in ("Read", "Write") for unit in ("Bps", "IOPS")},
        ),
    ),
    rootfsPropagation=one_of("private", "shared", "slave", "unbindable"),
    seccomp=SECCOMP,
    sysctl={"type": "object", "additionalProperties": TEXT},
    maskedPaths=many(PATH),
    readonlyPaths=many(PATH),
    mountLabel=TEXT,
)
CONFIG = table(
    "ociVersion",
    ociVersion={"type": "string", "pattern": r"^1\.2\.\d+$"},
    hostname=TEXT,
    domainname=TEXT,
    process=PROCESS,
    root=table("path", path={"type": "string", "minLength": 1}, readonly=FLAG),
    mounts=many(table("destination", destination=PATH, type=TEXT, source=TEXT, options=many(TEXT))),
    linux=LINUX,
    annotations={"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": TEXT},
)
