"""Restart policies: who is started again, and when."""

from __future__ import annotations

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.model.container import RunState
from contextkernel.model.life import RestartPolicy
from contextkernel.runtime.restarting import Restarting


def ended(code: int = 0, *, seconds: float = 0, restarts: int = 0, wanted: bool = False) -> RunState:
    return RunState(
        status="exited",
        exit_code=code,
        started=0,
        finished=int(seconds * 10**9),
        restart_count=restarts,
        wanted_end=wanted,
    )


@pytest.mark.parametrize(
    ("policy", "state", "again"),
    [
        ("no", ended(1), False),
        ("always", ended(0), True),
        ("always", ended(1), True),
        ("always", ended(143, wanted=True), False),
        ("unless-stopped", ended(0), True),
        ("unless-stopped", ended(143, wanted=True), False),
        ("on-failure", ended(0), False),
        ("on-failure", ended(1), True),
        ("on-failure", ended(1, restarts=1000), True),
        ("on-failure", ended(137, wanted=True), False),
        ("on-failure:3", ended(1, restarts=2), True),
        ("on-failure:3", ended(1, restarts=3), False),
    ],
)
def test_who_is_started_again(policy: str, state: RunState, again: bool) -> None:
    assert (Restarting(RestartPolicy.parse(policy)).delay(state) is not None) is again


def test_the_wait_doubles_up_to_a_minute() -> None:
    restarting = Restarting(RestartPolicy(name="always"))
    waits = [restarting.delay(ended(1)) for _ in range(12)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0]


def test_a_run_of_ten_seconds_makes_the_next_wait_short() -> None:
    restarting = Restarting(RestartPolicy(name="always"))
    waits = [restarting.delay(ended(1, seconds=seconds)) for seconds in (0, 0, 9.9, 10, 0)]
    assert waits == [0.1, 0.2, 0.4, 0.1, 0.2]


def test_a_policy_may_change_between_two_ends() -> None:
    restarting = Restarting(RestartPolicy(name="always"))
    assert restarting.delay(ended(0)) is not None
    restarting.policy = RestartPolicy(name="no")
    assert restarting.delay(ended(0)) is None


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", RestartPolicy()),
        ("no", RestartPolicy()),
        ("always", RestartPolicy(name="always")),
        ("unless-stopped", RestartPolicy(name="unless-stopped")),
        ("on-failure", RestartPolicy(name="on-failure")),
        ("on-failure:5", RestartPolicy(name="on-failure", maximum_retries=5)),
        ("on-failure:", RestartPolicy(name="on-failure")),
        ("always:0", RestartPolicy(name="always")),
    ],
)
def test_policies_as_they_are_written(text: str, policy: RestartPolicy) -> None:
    assert RestartPolicy.parse(text) == policy


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sometimes", "unknown policy 'sometimes'"),
        (":3", "no policy before the colon"),
        ("on-failure:x", "maximum retry count 'x' is not a whole number"),
        ("on-failure:-1", "maximum retry count -1 is negative"),
        ("always:3", "'always' takes no maximum retry count"),
        ("Always", "unknown policy 'Always'"),
    ],
)
def test_bad_policies_are_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        RestartPolicy.parse(text)
