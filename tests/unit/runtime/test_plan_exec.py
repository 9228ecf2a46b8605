from __future__ import annotations

import msgspec
import pytest

from contextkernel.linux.caps import CAPABILITIES as ALL
from contextkernel.model.container import ExecRequest, LaunchRequest, Terminal
from contextkernel.runtime import operations as op
from contextkernel.runtime.facts import HostFacts
from contextkernel.runtime.plan import plan_operations
from contextkernel.runtime.plan_exec import plan_exec
from contextkernel.runtime.plan_security import CAPABILITIES, identity

REQUEST = LaunchRequest(
    id="x",
    argv=("init",),
    env=("A=1",),
    hostname="h",
    network="none",
    lowers=("/l",),
    upper="/u",
    work="/w",
    user="bob",
)
WANTED = ExecRequest(argv=("ls", "-l"), env=("B=2",), working_dir="/etc", user="eve")


def test_exact_steps():
    assert plan_exec(REQUEST, HostFacts(), WANTED) == (
        op.NewKeyring("_ses.x"),
        *identity(msgspec.structs.replace(REQUEST, user="eve"), HostFacts()),
        op.Chdir("/etc"),
        op.Exec(("ls", "-l"), ("B=2",)),
    )


def test_rules_are_those_of_the_container():
    init = plan_operations(msgspec.structs.replace(REQUEST, user="eve"), HostFacts())
    kinds = (op.LimitCapabilities, op.InstallSeccomp, op.SetUser, op.DropCapabilities)
    steps = plan_exec(REQUEST, HostFacts(), WANTED)
    assert [step for step in steps if isinstance(step, kinds)] == [step for step in init if isinstance(step, kinds)]


def test_terminal_is_opened_before_privileges_go():
    steps = plan_exec(REQUEST, HostFacts(), msgspec.structs.replace(WANTED, terminal=Terminal(3, 4)))
    assert steps[1] == op.OpenTerminal(3, 4, console=False)


def test_privileged_gets_all_capabilities_and_keeps_the_filter():
    steps = plan_exec(REQUEST, HostFacts(), msgspec.structs.replace(WANTED, privileged=True))
    assert op.LimitCapabilities(ALL) in steps
    assert op.DropCapabilities(ALL) in steps
    assert op.InstallSeccomp(CAPABILITIES) in steps


@pytest.mark.parametrize("privileged", [True, False])
def test_with_a_single_id_it_stays_root(privileged):
    request = msgspec.structs.replace(REQUEST, fake_ids=True)
    steps = plan_exec(request, HostFacts(), msgspec.structs.replace(WANTED, privileged=privileged))
    assert op.InstallFakeIds() in steps
    assert op.SetUser("eve", change=False, groups=False) in steps


def test_console_comes_after_the_devices_and_before_what_the_user_mounts():
    request = msgspec.structs.replace(REQUEST, terminal=Terminal(24, 80))
    kinds = [type(step) for step in plan_operations(request, HostFacts())]
    at = kinds.index(op.OpenTerminal)
    assert kinds.index(op.MountDevpts) < at < kinds.index(op.PivotRoot)
    assert kinds.count(op.OpenTerminal) == 1
    assert op.OpenTerminal not in [type(step) for step in plan_operations(REQUEST, HostFacts())]
