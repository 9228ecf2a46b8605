"""What changes a cache key, field by field, and what must not."""

from __future__ import annotations

import pytest
from msgspec import structs

from contextkernel.errors import Span
from contextkernel.model.digest import Digest
from contextkernel.model.step_mounts import Limit
from contextkernel.plan import keys
from contextkernel.plan.run_mounts import (
    BindTarget,
    CacheTarget,
    RunMount,
    SecretTarget,
    SshTarget,
)
from contextkernel.plan.steps import (
    ContextOrigin,
    CopyStep,
    InlineFile,
    RunStep,
    StageOrigin,
    TmpfsTarget,
    WorkdirStep,
)

PLACE = Span(file="Dockerfile", line=1, end_line=1, end_column=9)
RUN_KEY = "sha256:4c05e9f3b40ec286e990ef3ca8b88e43b7ef73047ac39b4b3c6da1fc83701b0a"
PARENT = keys.chain([Digest.of(b"base")])
CONTENT = Digest.of(b"content")
RUN = RunStep(
    title="[2/2] RUN true",
    created_by="RUN /bin/sh -c true # buildkit",
    span=PLACE,
    original="RUN true",
    argv=("/bin/sh", "-c", "true"),
    env=("A=1", "B=2"),
)
COPY = CopyStep(
    title="[2/2] COPY a /b",
    created_by="COPY a /b # buildkit",
    span=PLACE,
    original="COPY a /b",
    origin=ContextOrigin(),
    sources=("/a",),
    destination="/b",
)
WORKDIR = WorkdirStep(title="[2/2] WORKDIR /w", created_by="WORKDIR /w", span=PLACE, original="WORKDIR /w", path="/w")

SHOWN_ONLY = {
    "title": "[5/9] other",
    "created_by": "other",
    "span": Span(file="other", line=9, end_line=9, end_column=2),
    "original": "other",
}
RUN_CHANGES = {
    "argv": ("/bin/sh", "-c", "false"),
    "env": ("A=1", "B=3"),
    "user": "nobody",
    "cwd": "/srv",
    "network": "none",
    "security": "insecure",
    "mounts": (TmpfsTarget("/tmp"),),
    "hostname": "other",
    "hosts": (("name", "10.0.0.1"),),
    "shm_size": 1 << 20,
    "ulimits": (Limit("nofile", 1, 2),),
    "script": InlineFile("EOF", "#!/bin/sh\n"),
}
RUN_SAME = {**SHOWN_ONLY, "arguments": ("A",), "proxy": ("HTTP_PROXY=http://proxy",), "env": ("B=2", "A=1")}
BIND = BindTarget(path="/m", origin=ContextOrigin(), source="/a")
CACHE = CacheTarget(path="/m", id="one")
TMPFS = TmpfsTarget("/m")
SECRET = SecretTarget(id="one", path="/m")
SSH = SshTarget(path="/m")
MOUNT_CHANGES: dict[RunMount, dict[str, object]] = {
    BIND: {"path": "/n", "read_only": False},
    CACHE: {"path": "/n", "read_only": True, "mode": 0o700, "uid": 1, "gid": 1},
    TMPFS: {"path": "/n", "size": 1, "read_only": True},
    SECRET: {"path": None, "id": "two", "env": "E", "required": True, "mode": 0o444, "uid": 1, "gid": 1},
    SSH: {"path": "/n", "id": "two", "required": True, "mode": 0o666, "uid": 1, "gid": 1},
}
MOUNT_SAME: dict[RunMount, dict[str, object]] = {
    # where the files come from counts by their content
    BIND: {"origin": StageOrigin(0), "source": "/b"},
    # what a cache holds is no input, so which one it is is none either
    CACHE: {"id": "two", "origin": StageOrigin(0), "source": "/b", "sharing": "locked"},
}
COPY_CHANGES = {
    "destination": "/c",
    "directory": True,
    "chown": "1:1",
    "chmod": "0600",
    "link": True,
    "unpack": True,
}
COPY_SAME = {
    **SHOWN_ONLY,
    # what these stand for comes in through the content digest
    "origin": StageOrigin(0),
    "sources": ("/elsewhere/a",),
    "parents": ("a/b",),
    "exclude": ("*.o",),
    "files": (InlineFile("a", "b"),),
}
WORKDIR_CHANGES = {"path": "/x", "owner": "nobody", "epoch": 1_600_000_000}


@pytest.mark.parametrize("field", RUN_CHANGES)
def test_run_key_changes_with(field: str) -> None:
    other = structs.replace(RUN, **{field: RUN_CHANGES[field]})
    assert keys.run_key(other, PARENT) != keys.run_key(RUN, PARENT)


@pytest.mark.parametrize("field", RUN_SAME)
def test_run_key_does_not_change_with(field: str) -> None:
    other = structs.replace(RUN, **{field: RUN_SAME[field]})
    assert keys.run_key(other, PARENT) == keys.run_key(RUN, PARENT)


@pytest.mark.parametrize(
    ("mount", "field"), [(mount, field) for mount, fields in MOUNT_CHANGES.items() for field in fields]
)
def test_run_key_changes_with_a_mount_s(mount: RunMount, field: str) -> None:
    other = structs.replace(mount, **{field: MOUNT_CHANGES[mount][field]})
    assert _with(other) != _with(mount)


@pytest.mark.parametrize(
    ("mount", "field"), [(mount, field) for mount, fields in MOUNT_SAME.items() for field in fields]
)
def test_run_key_does_not_change_with_a_mount_s(mount: RunMount, field: str) -> None:
    other = structs.replace(mount, **{field: MOUNT_SAME[mount][field]})
    assert _with(other) == _with(mount)


def _with(*mounts: RunMount) -> Digest:
    return keys.run_key(structs.replace(RUN, mounts=mounts), PARENT)


def test_every_field_of_the_mounts_is_decided_upon() -> None:
    for mount, fields in MOUNT_CHANGES.items():
        assert set(mount.__struct_fields__) == set(fields) | set(MOUNT_SAME.get(mount, ()))


def test_run_key_changes_with_what_a_mount_shows() -> None:
    step = structs.replace(RUN, mounts=(BIND,))
    one, two = (keys.run_key(step, PARENT, {BIND: Digest.of(text)}) for text in (b"1", b"2"))
    assert one != two


def test_run_key_does_not_change_with_the_order_of_mounts() -> None:
    other = structs.replace(TMPFS, path="/t")
    assert _with(BIND, other) == _with(other, BIND)
    assert _with(BIND, other) != _with(BIND)


def test_run_key_does_not_change_with_the_address_of_a_host() -> None:
    one, two = (structs.replace(RUN, hosts=(("name", address),)) for address in ("10.0.0.1", "10.0.0.2"))
    assert keys.run_key(one, PARENT) == keys.run_key(two, PARENT)


@pytest.mark.parametrize("field", COPY_CHANGES)
def test_copy_key_changes_with(field: str) -> None:
    other = structs.replace(COPY, **{field: COPY_CHANGES[field]})
    assert keys.copy_key(other, PARENT, CONTENT) != keys.copy_key(COPY, PARENT, CONTENT)


@pytest.mark.parametrize("field", COPY_SAME)
def test_copy_key_does_not_change_with(field: str) -> None:
    other = structs.replace(COPY, **{field: COPY_SAME[field]})
    assert keys.copy_key(other, PARENT, CONTENT) == keys.copy_key(COPY, PARENT, CONTENT)


def test_copy_key_changes_with_content() -> None:
    assert keys.copy_key(COPY, PARENT, Digest.of(b"other")) != keys.copy_key(COPY, PARENT, CONTENT)


def test_a_link_does_not_depend_on_what_lies_below() -> None:
    link, other = structs.replace(COPY, link=True), keys.chain([Digest.of(b"other")])
    assert keys.copy_key(link, PARENT, CONTENT) == keys.copy_key(link, other, CONTENT)
    assert keys.copy_key(link, PARENT, CONTENT) != keys.copy_key(COPY, keys.chain([]), CONTENT)


@pytest.mark.parametrize("field", WORKDIR_CHANGES)
def test_workdir_key_changes_with(field: str) -> None:
    other = structs.replace(WORKDIR, **{field: WORKDIR_CHANGES[field]})
    assert keys.workdir_key(other, PARENT) != keys.workdir_key(WORKDIR, PARENT)


@pytest.mark.parametrize("field", SHOWN_ONLY)
def test_workdir_key_does_not_change_with(field: str) -> None:
    other = structs.replace(WORKDIR, **{field: SHOWN_ONLY[field]})
    assert keys.workdir_key(other, PARENT) == keys.workdir_key(WORKDIR, PARENT)


def test_every_field_of_the_steps_is_decided_upon() -> None:
    for step, known in (
        (RUN, {**RUN_CHANGES, **RUN_SAME}),
        (COPY, {**COPY_CHANGES, **COPY_SAME}),
        (WORKDIR, {**WORKDIR_CHANGES, **SHOWN_ONLY}),
    ):
        assert {field.name for field in structs.fields(step)} == set(known)


def test_all_keys_change_with_what_lies_below() -> None:
    other = keys.chain([Digest.of(b"base"), Digest.of(b"more")])
    assert keys.run_key(RUN, other) != keys.run_key(RUN, PARENT)
    assert keys.copy_key(COPY, other, CONTENT) != keys.copy_key(COPY, PARENT, CONTENT)
    assert keys.workdir_key(WORKDIR, other) != keys.workdir_key(WORKDIR, PARENT)


def test_kinds_of_steps_never_share_a_key() -> None:
    found = {
        keys.run_key(RUN, PARENT),
        keys.copy_key(COPY, PARENT, CONTENT),
        keys.workdir_key(WORKDIR, PARENT),
        keys.chain([]),
        keys.source_digest([]),
    }
    assert len(found) == 5


def test_chain_depends_on_the_order_of_layers() -> None:
    one, two = Digest.of(b"1"), Digest.of(b"2")
    assert keys.chain([one, two]) != keys.chain([two, one])


def test_argv_is_not_joined() -> None:
    split = structs.replace(RUN, argv=("a", "b c"))
    joined = structs.replace(RUN, argv=("a b", "c"))
    assert keys.run_key(split, PARENT) != keys.run_key(joined, PARENT)


def test_names_that_are_not_utf8_stay_apart() -> None:
    assert keys.source_digest([("\udc80",)]) != keys.source_digest([("\udc81",)])


def test_keys_are_stable_across_versions() -> None:
    # a change here throws away every user's build cache: only together with the version tag
    assert keys.run_key(RUN, keys.chain([])) == RUN_KEY
