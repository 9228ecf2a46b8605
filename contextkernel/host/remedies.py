"""What would make a host allow more, as text to be copied, for each of those who can do it. Pure.

Sources of the settings: docker run(1), ``kubectl explain pod.spec``, KubeSpawner's and repo2docker's documentation.
Which of them helps where was measured; docs/hosts.md has the table.
"""

from __future__ import annotations

import errno
import shlex
from collections.abc import Callable, Iterator

from contextkernel.host.catalogue import PACKAGES
from contextkernel.host.causes import blocking_settings
from contextkernel.host.findings import NAMESPACE_SETTINGS, SETTINGS, Findings, Outcome, Surroundings
from contextkernel.host.trying import WITHOUT_VARIABLE
from contextkernel.model.results import Remedy

#: with control groups of version 2; those of version 1 are root's
_DELEGATION = "systemd-run --user --scope -p Delegate=yes jupyter lab"
_LEAD = "c.KubeSpawner."

_GIVES = {
    "user_namespace": "RUN and run in namespaces of their own, as root inside (tier rootless-single)",
    "mount_namespace": "RUN and run in namespaces of their own, as root inside (tier rootless-single)",
    "seccomp": "RUN and run, with docker's default filter",
    "ptrace": "RUN and run through proot (tier ptrace)",
    "proot": "RUN and run, slower and without isolation (tier ptrace)",
    "id_range": "users and owners inside that are real (tier rootless)",
    "overlay": "containers and build steps that start without a copy of their files",
    "pid_namespace": "processes of their own in containers",
    "network_namespace": "bridged networks, published ports, --network none with a loopback",
    "uts_namespace": "host names of their own in containers (--hostname)",
    "ipc_namespace": "shared memory and message queues of their own in containers",
    "cgroup_namespace": "paths of control groups that begin at the container",
    "pivot_root": "a root of the container's own, with nothing of the host's below it",
    "tmpfs": "temporary file systems with a limit",
    "devpts": "terminals (-t)",
    "mqueue": "/dev/mqueue in containers",
    "fresh_proc": "a pid namespace and a /proc of the container's own",
    "fresh_sys": "a /sys of the container's own",
    "tun_device": "UDP and ICMP from containers to the outside",
    "pasta": "UDP and ICMP from containers to the outside",
    "cgroup_v1": "limits that hold for all of it together",
    "cgroup_v2": "limits that hold for all of it together",
    "disk": "room for images",
    "mmdebstrap": "base images from a package mirror",
}

_Advice = Iterator[tuple[str, str, str]]
"""(who, where, text)."""


def remedies_for(outcome: Outcome, findings: Findings) -> tuple[Remedy, ...]:
    """What would change an outcome; nothing if it works, or nothing is known to help.

    Args:
        outcome: of something that was tried.
        findings: all of them: what helps depends on the circumstances.
    """
    if outcome.verdict == "works":
        return ()
    if outcome.unwanted:
        unset = f"unset {WITHOUT_VARIABLE}"
        return (Remedy(fact=outcome.name, who="you", where="shell", text=unset, gives="what this host allows"),)
    advise = _ADVISERS.get(outcome.name, _program)
    return tuple(
        Remedy(fact=outcome.name, who=who, where=where, text=text, gives=_GIVES.get(outcome.name, ""))
        for who, where, text in advise(outcome, findings)
    )


def _outer(around: Surroundings, *, docker: str, pod: str, kubespawner: str) -> _Advice:
    """The same for docker and for a pod; in a pod without docker's, which nobody there could use."""
    if not around.kubernetes and docker:
        yield "operator", "docker", docker
    if pod:
        yield "operator", "kubernetes", pod
    if kubespawner:
        yield "operator", "kubespawner", _LEAD + kubespawner


def _node(around: Surroundings, command: str) -> _Advice:
    """A command for root of the machine: here, or where the container runs."""
    yield "administrator", "node" if around.container else "shell", f"sudo {command}"


def _install(around: Surroundings, package: str) -> _Advice:
    if around.container:
        yield "you", "dockerfile", f"RUN apt-get update && apt-get install -y --no-install-recommends {package}"
        yield "you", "apt.txt", package
    else:
        yield "administrator", "shell", f"sudo apt-get install {package}"


def _user_namespace(outcome: Outcome, findings: Findings) -> _Advice:
    around = findings.surroundings
    blocking = blocking_settings(around)
    if blocking:
        yield from _node(around, "sysctl -w " + " ".join(f"{name}={SETTINGS[name]}" for name in blocking))
    elif outcome.number == errno.ENOSPC:
        yield from _node(around, f"sysctl -w user.max_user_namespaces={SETTINGS['user.max_user_namespaces']}")
    elif around.filtered or around.container:
        options = ["--security-opt seccomp=unconfined"]
        context = {"seccompProfile": "{type: Unconfined}"}
        if around.apparmor:
            options.append("--security-opt apparmor=unconfined")
            context["appArmorProfile"] = "{type: Unconfined}"
        yield from _outer(
            around,
            docker=f"docker run {' '.join(options)} ...",
            pod=f"securityContext: {{{', '.join(f'{name}: {value}' for name, value in context.items())}}}",
            kubespawner="container_security_context = {"
            + ", ".join(f'"{name}": {{"type": "Unconfined"}}' for name in context)
            + "}",
        )


def _namespace(outcome: Outcome, findings: Findings) -> _Advice:
    if outcome.number == errno.ENOSPC:
        yield from _node(findings.surroundings, f"sysctl -w {NAMESPACE_SETTINGS[outcome.name]}=15000")
    elif outcome.number in (errno.EPERM, errno.EACCES):
        yield from _user_namespace(outcome, findings)


def _mount(outcome: Outcome, findings: Findings) -> _Advice:
    if outcome.number in (errno.EPERM, errno.EACCES):
        yield from _user_namespace(outcome, findings)


def _ptrace(outcome: Outcome, findings: Findings) -> _Advice:
    around = findings.surroundings
    if around.settings.get("kernel.yama.ptrace_scope") == "3":
        # 3 cannot be changed before the next start of the machine
        yield (
            "administrator",
            "node" if around.container else "shell",
            ("echo kernel.yama.ptrace_scope=1 | sudo tee /etc/sysctl.d/99-ptrace.conf && sudo reboot"),
        )
    elif around.filtered:
        del outcome
        yield from _outer(
            around,
            docker="docker run --security-opt seccomp=builtin ...",
            pod="securityContext: {seccompProfile: {type: RuntimeDefault}}",
            kubespawner='container_security_context = {"seccompProfile": {"type": "RuntimeDefault"}}',
        )


def _id_range(outcome: Outcome, findings: Findings) -> _Advice:
    around = findings.surroundings
    if around.uid == 0:
        return
    if around.container:
        yield from _id_range_in_container(around)
    elif not {"newuidmap", "newgidmap"} <= around.tools.keys():
        yield from _install(around, PACKAGES["newuidmap"])
    elif not around.subordinate or outcome.verdict == "limited":
        user = shlex.quote(around.user)
        yield from _node(around, f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}")
    elif not around.no_new_privs:
        yield from _node(around, f"chmod u+s {_program_paths(around)}")


def _id_range_in_container(around: Surroundings) -> _Advice:
    """In the image; set-user-ID root is not enough without CAP_SYS_ADMIN in the container, file capabilities are."""
    steps = ["apt-get update", "apt-get install -y --no-install-recommends uidmap libcap2-bin"]
    if not around.subordinate:
        steps.append(f"echo {shlex.quote(around.user)}:100000:65536 | tee /etc/subuid > /etc/subgid")
    uid_program, gid_program = _program_paths(around).split()
    steps.append(f"chmod u-s {uid_program} {gid_program}")
    steps.append(f"setcap cap_setuid+ep {uid_program} && setcap cap_setgid+ep {gid_program}")
    if around.no_new_privs:
        yield from _outer(
            around,
            docker="docker run ...  (without --security-opt no-new-privileges)",
            pod="securityContext: {allowPrivilegeEscalation: true}",
            kubespawner="allow_privilege_escalation = True",
        )
    yield "you", "dockerfile", "RUN " + " && ".join(steps)


def _program_paths(around: Surroundings) -> str:
    return " ".join(shlex.quote(around.tools.get(name, f"/usr/bin/{name}")) for name in ("newuidmap", "newgidmap"))


def _masked(outcome: Outcome, findings: Findings) -> _Advice:
    if outcome.number == errno.EPERM and findings.surroundings.container:
        yield from _outer(
            findings.surroundings,
            docker="docker run --security-opt systempaths=unconfined ...",
            pod="spec: {hostUsers: false, containers: [{securityContext: {procMount: Unmasked}}]}",
            kubespawner='extra_pod_config = {"hostUsers": False}; '
            'c.KubeSpawner.container_security_context = {"procMount": "Unmasked"}',
        )


def _overlay(outcome: Outcome, findings: Findings) -> _Advice:
    around = findings.surroundings
    elsewhere = findings.outcomes.get("overlay_elsewhere")
    if elsewhere is not None:
        place = shlex.quote(f"{elsewhere.detail}/contextkernel-{around.user}")
        yield "you", "shell", f"export CONTEXTKERNEL_ROOT={place}"
    if outcome.number == errno.EINVAL and around.container:
        yield from _volume(around)


def _volume(around: Surroundings) -> _Advice:
    """A file system of its own for the store.

    docker gives a volume owner and mode of the image's directory: of one that the image lacks it makes root's. /var/tmp
    is in all images, and everybody's. A pod's emptyDir is everybody's anyway.
    """
    place, pod_place = "/var/tmp/contextkernel", "/var/lib/contextkernel"  # noqa: S108 - the operator's choice
    yield from _outer(
        around,
        docker=f"docker run --mount type=volume,target=/var/tmp -e CONTEXTKERNEL_ROOT={place} ...",
        pod="spec: {volumes: [{name: contextkernel, emptyDir: {}}], containers: [{volumeMounts: [{name: contextkernel, "
        f"mountPath: {pod_place}}}], env: [{{name: CONTEXTKERNEL_ROOT, value: {pod_place}}}]}}]}}",
        kubespawner='volumes = [{"name": "contextkernel", "emptyDir": {}}]; c.KubeSpawner.volume_mounts = '
        f'[{{"name": "contextkernel", "mountPath": "{pod_place}"}}]; '
        f'c.KubeSpawner.environment = {{"CONTEXTKERNEL_ROOT": "{pod_place}"}}',
    )


def _tun(outcome: Outcome, findings: Findings) -> _Advice:
    around = findings.surroundings
    if outcome.number == errno.EACCES:
        yield from _node(around, "chmod 0666 /dev/net/tun")
    elif around.container:
        yield from _outer(
            around,
            docker="docker run --device /dev/net/tun ...",
            pod="resources: {limits: {squat.ai/tun: 1}}  # with the generic-device-plugin on the nodes",
            kubespawner='extra_resource_limits = {"squat.ai/tun": "1"}',
        )
    else:
        yield from _node(around, "modprobe tun")


def _groups(outcome: Outcome, findings: Findings) -> _Advice:
    around = findings.surroundings
    if outcome.number == errno.EROFS or (outcome.number and around.container):
        # nothing less than all privileges makes a container's control groups writable: a pod's own limits have to do
        yield from _outer(
            around,
            docker="docker run -m 2g --cpus 2 ...  # the container's own limits",
            pod="resources: {limits: {memory: 2Gi, cpu: 2}}  # the pod's own limits",
            kubespawner='mem_limit = "2G"; c.KubeSpawner.cpu_limit = 2',
        )
    elif not findings.idmap.identity and not around.container:
        yield "you", "shell", _DELEGATION


def _disk(outcome: Outcome, findings: Findings) -> _Advice:
    if outcome.verdict != "refused":
        yield "you", "shell", "contextkernel system prune"
    elif "overlay_elsewhere" not in findings.outcomes:  # else that is named already
        user = shlex.quote(findings.surroundings.user)
        yield "you", "shell", f"export CONTEXTKERNEL_ROOT=/var/tmp/contextkernel-{user}"


def _proot(outcome: Outcome, findings: Findings) -> _Advice:
    if outcome.number == errno.EACCES and findings.surroundings.container:
        yield from _volume(findings.surroundings)
    yield from _program(outcome, findings)


def _program(outcome: Outcome, findings: Findings) -> _Advice:
    if outcome.name in PACKAGES and outcome.name not in findings.surroundings.tools:
        yield from _install(findings.surroundings, PACKAGES[outcome.name])


_ADVISERS: dict[str, Callable[[Outcome, Findings], _Advice]] = {
    "user_namespace": _user_namespace,
    "mount_namespace": _user_namespace,
    **dict.fromkeys((name for name in NAMESPACE_SETTINGS if name != "mount_namespace"), _namespace),
    **dict.fromkeys(("pivot_root", "move_root", "tmpfs", "devpts", "mqueue"), _mount),
    "ptrace": _ptrace,
    "id_range": _id_range,
    "fresh_proc": _masked,
    "fresh_sys": _masked,
    "overlay": _overlay,
    "tun_device": _tun,
    "cgroup_v1": _groups,
    "cgroup_v2": _groups,
    "disk": _disk,
    "proot": _proot,
}

#: facts whose remedies lead to more, the most useful first
_WANTED = {
    "rootful": ("overlay", "fresh_proc", "limits", "disk"),
    "rootless": ("overlay", "id_range", "fresh_proc", "outbound", "limits", "disk"),
    "rootless-single": ("overlay", "id_range", "fresh_proc", "outbound", "limits", "disk"),
    "ptrace": ("user_namespace", "mount_namespace", "disk"),
    "analysis": ("user_namespace", "mount_namespace", "seccomp", "ptrace", "proot", "disk"),
}


def choose(tier: str, of_fact: dict[str, tuple[Remedy, ...]]) -> tuple[Remedy, ...]:
    """Those of the remedies that lead to a better tier or to better containers, each text once.

    Args:
        tier: of the host.
        of_fact: the remedies of each fact.
    """
    found: dict[tuple[str, str], Remedy] = {}
    for name in _WANTED[tier]:
        for remedy in of_fact.get(name, ()):
            found.setdefault((remedy.where, remedy.text), remedy)
    return tuple(found.values())


def hint(remedies: tuple[Remedy, ...]) -> str:
    """The remedies in one line, for a message: the first of each fact."""
    lines: dict[str, str] = {}
    for remedy in remedies:
        lines.setdefault(remedy.fact, f"{remedy.text} ({_PLACES[remedy.where]})")
    return "; ".join(lines.values())


_PLACES = {
    "shell": "in a terminal",
    "dockerfile": "in the Dockerfile of the image that this runs in",
    "apt.txt": "in binder/apt.txt",
    "docker": "to start this container",
    "kubernetes": "in the pod's manifest",
    "kubespawner": "in jupyterhub_config.py",
    "node": "on the machine",
}
