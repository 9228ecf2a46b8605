"""Mounts of RUN as the builder prepares them, and failed steps that are kept; on fakes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from contextkernel.errors import DockerfileError, InvalidInput, SourceNotFound, StepFailed
from contextkernel.model.build_inputs import (
    AgentSocket,
    SecretFromEnvironment,
    SecretFromFile,
    SecretValue,
    StepOptions,
)
from contextkernel.model.step_mounts import CacheBind, LayerBind, Limit, SecretFile
from contextkernel.testing.build_fakes import leave_trace

TOKEN = "s3cr3t-t0k3n"


def fail(request: Any, out: Any, err: Any) -> int:
    leave_trace(request, out, err)
    err("/bin/sh: 1: frobnicate: not found\n")
    return 127


def done(bench: Any) -> str:
    """``cached`` or ``done`` of the last RUN."""
    return next(state for name, state in reversed(bench.outcome().items()) if "RUN" in name)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"src/a": "2"}, "done"),
        ({"src/b": "1"}, "done"),
        ({"other": "2"}, "cached"),
    ],
)
def test_the_content_of_a_bind_is_part_of_the_key(bench: Any, change: dict[str, str], state: str) -> None:
    bench.write({"src/a": "1", "other": "1"})
    text = "FROM base\nRUN --mount=source=src,target=/m x\n"
    bench.build(text)
    os.utime(bench.context / "src/a", (1, 1))  # times are not
    bench.build(text)
    assert done(bench) == "cached"
    bench.write(change)
    bench.build(text)
    assert done(bench) == state


def test_a_bind_of_the_context_shows_a_copy_without_what_is_ignored(bench: Any) -> None:
    bench.write({"src/a": "1", "src/b": "2", ".dockerignore": "src/b\n"})
    seen: list[list[str]] = []

    def look(request: Any, out: Any, err: Any) -> int:
        (mount,) = request.mounts
        seen.append(sorted(os.listdir(mount.lowers[0] + mount.source)))
        return leave_trace(request, out, err)

    bench.programs(look)
    bench.build("FROM base\nRUN --mount=source=src,target=m x\nRUN --mount=source=/src,target=/n,rw y\n")
    assert seen == [["a"], ["a"]]
    one, two = (request.mounts[0] for request in bench.runtime.launched)
    assert (one.target, one.read_only, two.target, two.read_only) == ("/m", True, "/n", False)
    assert one.lowers == two.lowers
    assert not os.path.exists(one.lowers[0])


def test_a_bind_from_a_stage_shows_its_layers(bench: Any) -> None:
    bench.build("FROM base AS one\nRUN make\nFROM base\nRUN --mount=from=one,source=ran,target=/m x\n")
    (mount,) = bench.runtime.launched[1].mounts
    assert isinstance(mount, LayerBind)
    assert (len(mount.lowers), mount.source) == (2, "/ran")


def test_equal_content_from_elsewhere_is_found_again(bench: Any) -> None:
    bench.write({"one/f": "1", "two/f": "1"})
    bench.build("FROM base\nRUN --mount=source=one,target=/m x\n")
    bench.build("FROM base\nRUN --mount=source=two,target=/m x\n")
    assert done(bench) == "cached"


@pytest.mark.parametrize(
    ("flag", "said", "hint"),
    [
        ("source=scr,target=/m", "'scr' is not in", "src"),
        ("source=src/x,target=/m", "'src/x' is not in", "a"),
        ("source=ignored,target=/m", "'ignored' is not in", "!ignored"),
    ],
)
def test_a_missing_source_in_the_context_is_told_before_anything_runs(
    bench: Any, flag: str, said: str, hint: str
) -> None:
    bench.write({"src/a": "1", "ignored": "1", ".dockerignore": "ignored\n"})
    with pytest.raises(SourceNotFound, match=said) as caught:
        bench.build(f"FROM base\nRUN slow\nRUN --mount={flag} x\n")
    assert hint in (caught.value.hint or "")
    assert caught.value.span is not None
    assert caught.value.span.line == 3
    assert bench.runtime.launched == []


def test_a_missing_source_in_a_stage_is_told_at_its_run(bench: Any) -> None:
    with pytest.raises(SourceNotFound, match="'nope' is not in stage one") as caught:
        bench.build("FROM base AS one\nFROM base\nRUN --mount=from=one,source=nope,target=/m x\n")
    assert caught.value.span is not None
    assert caught.value.span.line == 3


def test_caches_are_kept_apart_by_id_and_owner(bench: Any) -> None:
    bench.build(
        "FROM base\n"
        "RUN --mount=type=cache,target=/c x\n"
        "RUN --mount=type=cache,target=/d,id=/c y\n"
        "RUN --mount=type=cache,target=/c,uid=7 z\n"
        "RUN --mount=type=cache,target=/e,source=sub u\n"
    )
    one, two, three, four = (request.mounts[0] for request in bench.runtime.launched)
    assert isinstance(one, CacheBind)
    assert one.source == two.source
    assert len({one.source, three.source, four.source}) == 3
    assert four.path == "/sub"
    assert sorted(bench.store.caches.values()) == ["/c", "/c", "/e"]


def test_a_namespace_keeps_caches_apart(bench: Any) -> None:
    text = "FROM base\nRUN --mount=type=cache,target=/c x\n"
    bench.build(text, build_args={"BUILDKIT_CACHE_MOUNT_NS": "me"})
    assert list(bench.store.caches.values()) == ["me//c"]


def test_one_step_gets_a_cache_once(bench: Any) -> None:
    bench.build("FROM base\nRUN --mount=type=cache,id=a,target=/c,sharing=locked --mount=type=cache,id=a,target=/d x\n")
    one, two = bench.runtime.launched[0].mounts
    assert one.source == two.source


# ---- secrets


def secret_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (tmp_path / "secret").write_text(TOKEN)
    monkeypatch.setenv("CK_TOKEN", TOKEN)
    return {
        "file": SecretFromFile(str(tmp_path / "secret")),
        "env": SecretFromEnvironment("CK_TOKEN"),
        "value": SecretValue(TOKEN.encode()),
    }


@pytest.mark.parametrize("kind", ["file", "env", "value"])
def test_a_secret_reaches_the_program_and_nothing_else(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source = secret_sources(tmp_path, monkeypatch)[kind]
    result = bench.build(
        "FROM base\nRUN --mount=type=secret,id=t,mode=0440,uid=3 --mount=type=secret,id=t,env=T x $T\n",
        "out",
        steps=StepOptions(secrets={"t": source}),
    )
    (request,) = bench.runtime.launched
    assert request.mounts == (SecretFile(target="/run/secrets/t", content=TOKEN.encode(), mode=0o440, uid=3, gid=0),)
    assert [(one.name, one.value) for one in request.secret_env] == [("T", TOKEN)]
    assert TOKEN not in repr(request)
    assert TOKEN not in repr(bench.events)
    assert TOKEN.encode() not in bench.store.images[result.image]
    for path in (bench.root / "store").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


def test_the_value_of_a_secret_is_no_part_of_the_key(bench: Any) -> None:
    text = "FROM base\nRUN --mount=type=secret,id=t x\n"
    bench.build(text, steps=StepOptions(secrets={"t": SecretValue(b"1")}))
    bench.build(text, steps=StepOptions(secrets={"t": SecretValue(b"2")}))
    assert done(bench) == "cached"


def test_a_secret_that_is_not_given_is_left_out_unless_it_is_required(bench: Any) -> None:
    bench.build("FROM base\nRUN --mount=type=secret,id=t,env=T --mount=type=secret,id=t x\n")
    assert (bench.runtime.launched[0].mounts, bench.runtime.launched[0].secret_env) == ((), ())
    with pytest.raises(InvalidInput, match="secret 'token' is required") as caught:
        bench.build(
            "FROM base\nRUN --mount=type=secret,id=token,required y\n",
            steps=StepOptions(secrets={"tokne": SecretValue(b"1")}),
        )
    assert caught.value.hint == "did you mean tokne?"
    assert caught.value.span is not None
    assert len(bench.runtime.launched) == 1


@pytest.mark.parametrize(
    "source", [SecretFromFile("/nowhere/x"), SecretFromFile("/dev/.."), SecretValue(bytes(500 * 1024 + 1))]
)
def test_a_secret_that_cannot_be_had_is_told_before_anything_runs(bench: Any, source: Any) -> None:
    if source == SecretFromFile("/dev/.."):
        with pytest.raises(InvalidInput, match="cannot read"):
            bench.build("FROM base\nRUN --mount=type=secret,id=t x\n", steps=StepOptions(secrets={"t": source}))
        return
    with pytest.raises(InvalidInput, match="secret 't'"):
        bench.build("FROM base\nRUN x\n", steps=StepOptions(secrets={"t": source}))
    assert bench.runtime.launched == []


# ---- agents, settings


def test_an_agent_that_is_not_given_is_left_out_unless_it_is_required(bench: Any) -> None:
    bench.build("FROM base\nRUN --mount=type=ssh x\n")
    (request,) = bench.runtime.launched
    assert request.mounts == ()
    assert "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0" in request.env
    with pytest.raises(InvalidInput, match="SSH agent 'k' is required") as caught:
        bench.build("FROM base\nRUN --mount=type=ssh,id=k,required y\n")
    assert caught.value.hint is not None
    assert "--ssh k" in caught.value.hint


def test_an_agent_that_does_not_run_is_told_before_anything_runs(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(InvalidInput, match="no agent is running"):
        bench.build("FROM base\nRUN x\n", steps=StepOptions(agents={"default": AgentSocket()}))
    assert bench.runtime.launched == []


def test_what_a_build_gives_all_of_its_steps(bench: Any) -> None:
    bench.build(
        "FROM base\nRUN --network=host --security=insecure x\n",
        build_args={"BUILDKIT_SANDBOX_HOSTNAME": "box"},
        steps=StepOptions(
            hosts=(("name", "10.0.0.1"),),
            shm_size=1 << 20,
            limits=(Limit("nofile", 1, 2),),
            allow=frozenset({"network.host", "security.insecure"}),
            cgroup_parent="/x",
        ),
    )
    (request,) = bench.runtime.launched
    assert (request.hostname, request.hosts, request.shm_size) == ("box", (("name", "10.0.0.1"),), 1 << 20)
    assert (request.limits, request.insecure, request.network) == ((Limit("nofile", 1, 2),), True, "host")
    assert request.sandbox


def test_the_host_s_network_has_to_be_allowed(bench: Any) -> None:
    text = "FROM base\nRUN --network=host x\n"
    with pytest.raises(DockerfileError, match=r"network\.host is not allowed"):
        bench.build(text)
    bench.build(text, network="host")
    assert bench.runtime.launched[0].network == "host"


# ---- failed steps


def test_a_failed_step_is_kept_with_its_mounts_and_without_its_secrets(bench: Any) -> None:
    bench.write({"f": "1"})
    bench.programs(fail)
    with pytest.raises(StepFailed) as caught:
        bench.build(
            "FROM base\nUSER app\nWORKDIR /w\nENV A=1\n"
            "RUN --mount=target=/ctx --mount=from=base,target=/b --mount=type=cache,target=/c"
            " --mount=type=tmpfs,target=/t,size=1m --mount=type=secret,id=t,env=T frobnicate\n",
            steps=StepOptions(secrets={"t": SecretValue(TOKEN.encode())}),
            build_args={"HTTP_PROXY": "http://me:password@proxy"},
            record="a1b2c3d4e5f6g7h8i9j0k1l2m",
        )
    ((step, directory),) = bench.store.failed
    assert step.id == "a1b2c3d4e5f6g7h8i9j0k1l2m"
    assert caught.value.kept == "a1b2c3d4e5f6"
    assert "debug a1b2c3d4e5f6" in str(caught.value)
    assert (step.status, step.line, step.user, step.cwd) == (127, 5, "app", "/w")
    assert "A=1" in step.env
    assert "password" not in repr(step)
    assert TOKEN not in repr(step)
    assert [bind.target for bind in step.binds] == ["/ctx", "/b"]
    assert [cache.target for cache in step.caches] == ["/c"]
    assert [mount.target for mount in step.tmpfs] == ["/t"]
    assert len(step.layers) == 2
    assert os.listdir(f"{directory}/diff") == ["ran"]
    kept = step.binds[0]
    assert os.listdir(f"{directory}/{kept.folder}{kept.source}") == ["f"]
    assert not os.path.exists(f"{directory}/rooms")


def test_the_next_success_lets_it_go(bench: Any) -> None:
    bench.programs(fail)
    with pytest.raises(StepFailed):
        bench.build("FROM base\nRUN x\n")
    assert len(bench.store.failed) == 1
    bench.programs(leave_trace)
    bench.build("FROM base\nRUN y\n")
    assert bench.store.failed == []


def test_nothing_is_kept_on_a_disk_that_is_nearly_full(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.statvfs_result((4096, 4096, 1000, 50, 50, 0, 0, 0, 0, 255))
    bench.programs(fail)
    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", lambda _path: full)
        with pytest.raises(StepFailed) as caught:
            bench.build("FROM base\nRUN x\n")
    assert caught.value.kept == ""
    assert bench.store.failed == []
    assert len(bench.store.discarded) == 1
