"""The commands about networks: what they ask of the engine, and what they print."""

from __future__ import annotations

import json

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Document, Table, Text
from contextkernel.commands.tables import text_of
from contextkernel.notebook.frames import to_frame


@pytest.fixture
def do(engine, face):
    def run(line):
        return execute(engine, line.split(), face)

    return run


def asked(engine, method):
    return [arguments for name, arguments in engine.calls if name == method]


def test_create_hands_everything_on(do, engine):
    done = do(
        "network create --subnet 10.5.0.0/24,fd00::/64 --gateway 10.5.0.1 --ip-range 10.5.0.128/25 --ipv6 --internal"
        " --aux-address a=10.5.0.9 -o k=v --label x=y net"
    )
    assert done.value == Text(f"{'e' * 64}\n")
    (wanted,) = asked(engine, "create_network")
    assert wanted["name"] == "net"
    assert wanted["subnets"] == ("10.5.0.0/24", "fd00::/64")
    assert (wanted["gateways"], wanted["ip_ranges"]) == (("10.5.0.1",), ("10.5.0.128/25",))
    assert (wanted["aux_addresses"], wanted["options"], wanted["labels"]) == ({"a": "10.5.0.9"}, {"k": "v"}, {"x": "y"})
    assert (wanted["internal"], wanted["enable_ipv4"], wanted["enable_ipv6"]) == (True, True, True)


def test_ls_is_dockers_table(do):
    done = do("network ls")
    assert isinstance(done.value, Table)
    assert text_of(done.value) == (
        "NETWORK ID     NAME      DRIVER    SCOPE\n"
        "aaaaaaaaaaaa   bridge    bridge    local\n"
        "cccccccccccc   host      host      local\n"
        "dddddddddddd   none      null      local\n"
        "bbbbbbbbbbbb   web       bridge    local\n"
    )


def test_ls_as_json_has_dockers_fields(do):
    line = do("network ls --format json").value.text.splitlines()[-1]
    assert json.loads(line) == {
        "CreatedAt": "2023-11-14 22:13:21 +0000 UTC",
        "Driver": "bridge",
        "ID": "bbbbbbbbbbbb",
        "IPv4": "true",
        "IPv6": "false",
        "Internal": "false",
        "Labels": "tier=front",
        "Name": "web",
        "Scope": "local",
    }


def test_inspect_shows_what_there_is_and_says_what_there_is_not(do):
    done = do("network inspect web nope")
    assert isinstance(done.value, Document)
    (document,) = done.value.documents
    assert document["IPAM"]["Config"] == [{"Subnet": "10.5.0.0/24", "Gateway": "10.5.0.1"}]
    assert done.exit_code == 1
    assert [problem.problem for problem in done.problems] == ["network nope not found"]


def test_connect_and_disconnect(do, engine):
    do("network connect --alias a --alias b --ip 10.5.0.9 --gw-priority 3 web box")
    do("network disconnect -f web box")
    (wanted,) = asked(engine, "connect_network")
    assert (wanted["network"], wanted["container"]) == ("web", "box")
    assert (wanted["aliases"], wanted["ipv4_address"], wanted["gw_priority"]) == (("a", "b"), "10.5.0.9", 3)
    (wanted,) = asked(engine, "disconnect_network")
    assert wanted == {"network": "web", "container": "box", "force": True}


def test_rm_goes_on_after_one_that_is_not_there(do, engine):
    done = do("network rm nope web")
    assert (done.value, done.exit_code) == (Text("web\n"), 1)
    assert len(asked(engine, "remove_network")) == 2


def test_prune_lists_what_went(do):
    assert do("network prune -f").value == Text("Deleted Networks:\nweb\n\n")


def test_the_table_of_a_notebook_has_subnets_and_numbers(do):
    frame = to_frame(do("network ls").value)
    assert list(frame["name"]) == ["bridge", "host", "none", "web"]
    assert list(frame["subnet"]) == ["172.17.0.0/16", "", "", "10.5.0.0/24"]
    assert (list(frame["containers"]), str(frame["containers"].dtype)) == ([0, 0, 0, 1], "int64")
    assert str(frame["created"].dtype) == "datetime64[ns, UTC]"
