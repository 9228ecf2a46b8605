"""A host that lacks one thing, made inside of a user namespace, and what the engine does there.

``lacking_host.py STORE ARCHIVE KIND SCRIPT`` prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from contextkernel.engine import Engine
from contextkernel.errors import LaunchFailed
from contextkernel.linux import mount as mounts
from contextkernel.linux.caps import set_no_new_privs
from contextkernel.linux.namespaces import CLONE_NEWNS, unshare
from contextkernel.linux.seccomp import compile_policy, install_filter
from contextkernel.linux.seccomp_policy import ALLOW, EPERM, Condition, Operator, Policy, Rule, fail_with

PIVOT = Rule(names=("pivot_root",), action=fail_with(EPERM))
CHROOT = Rule(names=("chroot",), action=fail_with(EPERM))
MOVE = Rule(
    names=("mount",),
    action=fail_with(EPERM),
    conditions=(Condition(3, Operator.MASKED_EQUAL, mounts.MS_MOVE, masked=mounts.MS_MOVE),),
)


def lack(kind: str) -> None:
    """Take something from this process, and all that it starts."""
    match kind.split("+"):
        case ["proc"]:
            unshare(CLONE_NEWNS)
            mounts.make_private("/")
            mounts.mount("tmpfs", "/proc/irq", "tmpfs")
        case ["pivot"]:
            refuse(PIVOT)
        case ["pivot", "move"]:
            refuse(PIVOT, MOVE)
        case ["chroot"]:
            refuse(CHROOT)
        case ["nothing"]:
            pass
        case kinds:
            for name in kinds:
                Path(f"/proc/sys/user/max_{name}_namespaces").write_text("0\n")


def refuse(*rules: Rule) -> None:
    set_no_new_privs()
    policy = Policy(rules=rules, default=ALLOW)
    install_filter(compile_policy(policy, frozenset(), os.uname().machine))


def main(store: str, archive: str, kind: str, script: str) -> None:
    lack(kind)
    warnings: list[str] = []
    said: list[str] = []
    with Engine(store) as engine:
        engine.on_warning = warnings.append
        report = engine.host_report()
        engine.import_image(archive, "base")

        def listen(event: object) -> None:
            if type(event).__name__ in ("StepOutput", "BuildWarning"):
                said.append(str(getattr(event, "text", "")).strip())

        engine.build(text="FROM base\nRUN echo built >/built; cat /built\n", tags=["made"], report=listen)
        found: dict[str, object] = {}
        for network in ("default", "none"):
            done = engine.run("made", ["sh", "-c", script], network=network, hostname="mine", name=network * 2)
            found[network] = (done.exit_code, done.stdout.decode(), done.stderr.decode())
        (document,) = engine.inspect(["nonenone"])
        refused = ""
        if kind == "net":
            engine.create_network("wanted")
            try:
                engine.run("made", ["true"], network="wanted", remove=True)
            except LaunchFailed as problem:
                refused = f"{problem.problem}; {problem.hint}"
        plan = engine.plan("made", ["true"])
        for network in found:
            engine.remove_container(network * 2)
    print(
        json.dumps(
            {
                "tier": report.tier,
                "facts": {fact.name: fact.verdict for fact in report.facts},
                "reasons": {fact.name: fact.reason for fact in report.facts},
                "remedies": {fact.name: fact.remedy for fact in report.facts},
                "build": said,
                "runs": found,
                "warnings": warnings,
                "refused": refused,
                "isolation": document["ContextKernel"]["Isolation"],
                "fallbacks": document["ContextKernel"]["Fallbacks"],
                "planned": plan.fallbacks,
                "operations": [step.operation for step in plan.operations],
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
