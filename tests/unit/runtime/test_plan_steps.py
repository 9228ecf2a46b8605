"""The plan of a build step: what BuildKit does differently from ``run``, and the mounts of a step."""

from __future__ import annotations

import msgspec
import pytest

from contextkernel.errors import InvalidInput
from contextkernel.linux.caps import CAPABILITIES as ALL
from contextkernel.model.codec import to_json
from contextkernel.model.container import LaunchRequest, Tmpfs
from contextkernel.model.step_mounts import (
    CacheBind,
    LayerBind,
    Limit,
    SecretFile,
    SecretVariable,
    SocketBind,
)
from contextkernel.runtime import messages
from contextkernel.runtime import operations as op
from contextkernel.runtime.facts import HostFacts
from contextkernel.runtime.plan import plan_operations
from contextkernel.runtime.plan_security import CAPABILITIES

FACTS = HostFacts(resolv_conf="nameserver 192.0.2.1\n", hosts="192.0.2.7 machine\n", more_devices=("fuse",))
TOKEN = b"s3cr3t"
REQUEST = LaunchRequest(
    id="build-1",
    argv=("prog",),
    env=("PATH=/bin",),
    hostname="buildkitsandbox",
    network="host",
    lowers=("/s/layers/1/diff",),
    upper="/s/layers/2/diff",
    work="/s/layers/2/work",
    sandbox=True,
)


def planned(facts: HostFacts = FACTS, **changes: object) -> tuple[op.Operation, ...]:
    return plan_operations(msgspec.structs.replace(REQUEST, **changes), facts)


def kinds(steps: tuple[op.Operation, ...], *wanted: type) -> list[op.Operation]:
    return [step for step in steps if isinstance(step, wanted)]


def test_generated_files_are_buildkit_s_and_read_only() -> None:
    steps = planned(hosts=(("box", "10.0.0.1"),))
    assert kinds(steps, op.HostsFile) == [
        op.HostsFile(
            "/etc/hosts",
            "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.1\tbox\n",
            read_only=True,
        ),
        op.HostsFile("/etc/resolv.conf", "nameserver 192.0.2.1\n", read_only=True),
    ]


def test_what_the_engine_mounts_on_stays() -> None:
    (root,) = kinds(planned(), op.MountOverlay)
    assert isinstance(root, op.MountOverlay)
    assert root.keep_own
    (root,) = kinds(planned(lowers=()), op.BindRoot)
    assert root == op.BindRoot("/s/layers/2/diff", keep_own=True)


def test_exact_mounts_outer_first() -> None:
    steps = planned(
        mounts=(
            LayerBind(target="/a/b/c", lowers=("/s/layers/7/diff",), source="/out", room="/s/layers/2/rooms/0"),
            CacheBind(source="/s/caches/x/tree/data", target="/cache/in", path="/sub"),
            SecretFile(target="/run/secrets/t", content=TOKEN, uid=3),
            SocketBind(source="/s/layers/2/rooms/3/agent", target="/run/buildkit/ssh_agent.0"),
        ),
        tmpfs=(Tmpfs("/a", "exec"),),
    )
    assert kinds(steps, op.BindLayers, op.BindCache, op.BindSecret, op.BindSocket) == [
        op.BindCache("/s/caches/x/tree/data", "/cache/in", "/sub", read_only=False, nodev=True),
        op.BindLayers(
            "/a/b/c", ("/s/layers/7/diff",), "/out", "/s/layers/2/rooms/0",
            read_only=True, userxattr=False, nodev=True, lenient=False,
        ),
        op.BindSecret("/run/secrets/t", TOKEN, 0o400, 3, 0, lenient=False),
        op.BindSocket("/s/layers/2/rooms/3/agent", "/run/buildkit/ssh_agent.0", 0o600, 0, 0, lenient=False),
    ]  # fmt: skip
    outer = steps.index(op.MountTmpfs("/a", ("nosuid", "nodev"), ""))
    assert outer < steps.index(kinds(steps, op.BindCache)[0])


@pytest.mark.parametrize("target", ["/proc/x", "/", "relative"])
def test_impossible_targets(target: str) -> None:
    with pytest.raises(InvalidInput, match="invalid mount target"):
        planned(mounts=(SecretFile(target=target, content=TOKEN),))


def test_secrets_are_never_shown() -> None:
    secrets = {
        "mounts": (SecretFile(target="/t", content=TOKEN),),
        "secret_env": (SecretVariable("T", TOKEN.decode()),),
    }
    assert TOKEN.decode() not in repr(planned(**secrets))
    assert TOKEN.decode() not in repr(msgspec.structs.replace(REQUEST, **secrets))


def test_a_request_survives_the_trip() -> None:
    request = msgspec.structs.replace(
        REQUEST,
        mounts=(
            SecretFile(target="/t", content=TOKEN),
            LayerBind(target="/l", lowers=("/x",), room="/r"),
            CacheBind(source="/c", target="/c"),
            SocketBind(source="/s", target="/s"),
        ),
        secret_env=(SecretVariable("T", "v"),),
        limits=(Limit("nofile", 1, 2),),
    )
    launch = messages.Launch(request=request, facts=FACTS, stdin=False, stdout=True, stderr=True)
    frame = messages.encode(launch)
    decoder: messages.Decoder[messages.Hello | messages.Launch] = messages.Decoder(messages.ToLauncher, "a", "b")
    assert list(decoder.feed(frame)) == [launch]


def test_an_insecure_step_has_everything() -> None:
    steps = planned(insecure=True)
    assert kinds(steps, op.MaskPath, op.ReadonlyPath, op.InstallSeccomp) == []
    assert kinds(steps, op.LimitCapabilities, op.SetUser, op.GrantCapabilities, op.DropCapabilities) == [
        op.LimitCapabilities(ALL),
        op.SetUser("", keep=True),
        op.GrantCapabilities(ALL),
    ]
    assert op.MountSysfs(read_only=False) in steps
    assert op.MakeDevice("/dev/fuse") in steps
    assert op.MountTmpfs("/dev", ("nosuid", "strictatime"), "mode=755,size=65536k") in steps
    (root,) = kinds(steps, op.MountOverlay)
    assert isinstance(root, op.MountOverlay)
    assert not root.nodev


def test_another_step_has_docker_s_share() -> None:
    steps = planned()
    assert kinds(steps, op.LimitCapabilities) == [op.LimitCapabilities(CAPABILITIES)]
    assert op.MakeDevice("/dev/fuse") not in steps
    assert kinds(steps, op.InstallSeccomp)


def test_limits_come_while_they_can_still_be_raised() -> None:
    steps = planned(limits=(Limit("nofile", 1, 2),))
    limit = steps.index(op.SetLimit("nofile", 1, 2))
    assert steps.index(op.PivotRoot()) < limit < steps.index(op.LimitCapabilities(CAPABILITIES))


def test_limits_of_memory_come_when_nothing_but_the_program_needs_any() -> None:
    steps = planned(limits=(Limit("data", 1, 2),))
    assert steps[-2] == op.SetLimit("data", 1, 2)


def test_a_working_directory_that_has_to_be_made_is_the_user_s() -> None:
    assert op.MakeDirectory("/w", "bob") in planned(user="bob", working_dir="/w")
    assert op.MakeDirectory("/w") in planned(user="bob", working_dir="/w", sandbox=False)
    assert op.MakeDirectory("/w") in planned(user="bob", working_dir="/w", fake_ids=True)


def test_a_size_for_shared_memory() -> None:
    assert op.MountTmpfs("/dev/shm", ("nosuid", "nodev"), "mode=1777,size=1048576", "shm") in planned(shm_size=1 << 20)


def test_operations_can_be_printed() -> None:
    assert b"BindLayers" in to_json(planned(mounts=(LayerBind(target="/l", lowers=("/x",), room="/r"),)))
