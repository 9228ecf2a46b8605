"""``--mount``, as docker's command line reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.commands.mount_words import parse_mount
from contextkernel.errors import UsageProblem
from contextkernel.model.mounts import Mount


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("dst=/a", Mount(type="volume", target="/a")),
        ("type=volume,source=data,target=/a", Mount(type="volume", source="data", target="/a")),
        ("TYPE=bind,SRC=/x,destination=/a,ro", Mount(type="bind", source="/x", target="/a", read_only=True)),
        ("type=bind,src=/x,dst=/a,readonly=false", Mount(type="bind", source="/x", target="/a")),
        (
            "type=bind,src=/x,dst=/a,bind-propagation=rslave,bind-nonrecursive",
            Mount(type="bind", source="/x", target="/a", propagation="rslave", recursive="disabled"),
        ),
        (
            "type=bind,src=/x,dst=/a,ro,bind-recursive=readonly,bind-propagation=rprivate",
            Mount(type="bind", source="/x", target="/a", read_only=True, propagation="rprivate", recursive="readonly"),
        ),
        (
            "type=bind,src=/x,dst=/a,bind-create-src=true",
            Mount(type="bind", source="/x", target="/a", create_source=True),
        ),
        (
            'src=v,dst=/a,volume-nocopy,volume-label=a=b,volume-label=c,volume-opt=type=tmpfs,"volume-opt=o=x,y"',
            Mount(
                type="volume",
                source="v",
                target="/a",
                no_copy=True,
                labels={"a": "b", "c": ""},
                options={"type": "tmpfs", "o": "x,y"},
            ),
        ),
        ("src=v,dst=/a,volume-subpath=d/e", Mount(type="volume", source="v", target="/a", subpath="d/e")),
        (
            "type=tmpfs,dst=/a,tmpfs-size=1.5m,tmpfs-mode=1777",
            Mount(type="tmpfs", target="/a", size=1572864, permissions=0o1777),
        ),
        (
            "type=bind,src=/x,dst=/a,consistency=cached",
            Mount(type="bind", source="/x", target="/a", consistency="cached"),
        ),
    ],
)
def test_mounts(text, mount):
    assert parse_mount(text) == mount


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("type=bind,src=/tmp", "target is required"),
        ("type=bind,src=/x,dst=/a,foo=bar", "unexpected key 'foo' in 'foo=bar'"),
        ("type=bind,src=/x,dst=/a,foo", "invalid field 'foo' must be a key=value pair"),
        ("type=bind, src=/x,dst=/a", "unexpected key ' src'"),
        ("dst=/a,source", "invalid field 'source'"),
        ("type=bind,src=/x,dst=/a,ro=x", "invalid value for ro: x"),
        ("type=tmpfs,dst=/a,tmpfs-size=x", "invalid value for tmpfs-size: x"),
        ("type=tmpfs,dst=/a,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ("type=bind,src=/x,dst=/a,volume-nocopy", "cannot mix 'volume-\\*' options with mount type 'bind'"),
        ("dst=/a,bind-propagation=private", "cannot mix 'bind-\\*' options with mount type 'volume'"),
        ("dst=/a,tmpfs-size=1", "cannot mix 'tmpfs-\\*' options with mount type 'volume'"),
        ("type=bind,src=/x,dst=/a,bind-recursive=readonly", "requires 'readonly'"),
        ("type=bind,src=/x,dst=/a,ro,bind-recursive=readonly", "requires 'bind-propagation=rprivate'"),
        ("type=bind,src=/x,dst=/a,bind-recursive=xx", 'must be "enabled", "disabled"'),
        ("type=npipe,dst=/a", 'type "npipe": mount type unknown'),
    ],
)
def test_problems(text, problem):
    with pytest.raises(UsageProblem, match=problem) as caught:
        parse_mount(text)
    assert caught.value.exit_code == 125


@given(st.text(alphabet='typebindsrcvolum=,/"-o \n', max_size=40))
def test_any_text_is_a_mount_or_a_usage_problem(text):
    try:
        mount = parse_mount(text)
    except UsageProblem:
        return
    assert mount.target
