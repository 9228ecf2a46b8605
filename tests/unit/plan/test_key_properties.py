"""Properties of keys and plans: the same every time, and different where what counts is different."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from contextkernel.dockerfile import parse
from contextkernel.model.digest import Digest
from contextkernel.model.platform import Platform
from contextkernel.plan import (
    Facts,
    StagePlan,
    build_graph,
    from_scratch,
    global_scope,
    keys,
    plan_stage,
    platform_arguments,
)
from contextkernel.plan.steps import CopyStep, RunStep, WorkdirStep
from tests.unit.plan.test_keys import COPY, RUN, WORKDIR

LINUX = Platform("linux", "amd64")
FEW = settings(max_examples=60, deadline=None)
WORD = st.text(st.characters(codec="ascii", exclude_characters="\0="), min_size=1, max_size=3)
DIGEST = st.binary(max_size=1).map(Digest.of)
RUNS = st.builds(
    lambda argv, env, user, cwd: structs.replace(
        RUN, argv=tuple(argv), env=tuple(f"{name}={value}" for name, value in env.items()), user=user, cwd=cwd
    ),
    st.lists(WORD, max_size=3),
    st.dictionaries(WORD, WORD, max_size=3),
    WORD,
    WORD,
)
COPIES = st.builds(
    lambda to, chown, chmod: structs.replace(COPY, destination=to, chown=chown, chmod=chmod), WORD, WORD, WORD
)
WORKDIRS = st.builds(
    lambda path, owner, epoch: structs.replace(WORKDIR, path=path, owner=owner, epoch=epoch),
    WORD,
    WORD,
    st.none() | st.integers(0, 3),
)


@FEW
@given(RUNS, RUNS, DIGEST, DIGEST)
def test_run_keys_are_equal_where_inputs_are(one: RunStep, two: RunStep, below: Digest, other: Digest) -> None:
    same = (keys.run_inputs(one), below) == (keys.run_inputs(two), other)
    assert (keys.run_key(one, below) == keys.run_key(two, other)) == same
    assert keys.run_key(one, below) == keys.run_key(structs.replace(one, env=one.env[::-1]), below)


@FEW
@given(COPIES, COPIES, DIGEST, DIGEST)
def test_copy_keys_are_equal_where_inputs_are(one: CopyStep, two: CopyStep, content: Digest, other: Digest) -> None:
    below = keys.chain([])
    same = keys.copy_inputs(one, content) == keys.copy_inputs(two, other)
    assert (keys.copy_key(one, below, content) == keys.copy_key(two, below, other)) == same


@FEW
@given(WORKDIRS, WORKDIRS, DIGEST, DIGEST)
def test_workdir_keys_are_equal_where_inputs_are(
    one: WorkdirStep, two: WorkdirStep, below: Digest, other: Digest
) -> None:
    same = (keys.workdir_inputs(one), below) == (keys.workdir_inputs(two), other)
    assert (keys.workdir_key(one, below) == keys.workdir_key(two, other)) == same


LINES = st.sampled_from(
    [
        "ARG A=1",
        "ARG B",
        "ENV A=$B",
        "ENV C=${A}x",
        "RUN echo $C",
        "WORKDIR /w$A",
        "USER u",
        "COPY a* /$B/",
        "LABEL l=$A",
    ]
)


@FEW
@given(st.lists(LINES, max_size=8), st.dictionaries(st.sampled_from(["A", "B"]), WORD, max_size=2))
def test_planning_gives_the_same_plan_every_time(lines: list[str], given_args: dict[str, str]) -> None:
    text = "\n".join(["FROM scratch AS one", *lines, ""])
    first = plan(text, given_args)
    assert plan(text, dict(reversed(given_args.items()))) == first
    assert len(first.layer_steps) == sum(line.split()[0] in {"RUN", "WORKDIR", "COPY"} for line in lines)


def plan(text: str, arguments: Mapping[str, str]) -> StagePlan:
    dockerfile = parse(text)
    scope = global_scope(dockerfile, arguments, platform_arguments(LINUX, LINUX, None, arguments))
    (node,) = build_graph(dockerfile, scope=scope, target=None).stages
    facts = Facts(dockerfile=dockerfile, scope=scope, build_args=arguments, proxy=(), network="default")
    return plan_stage(node, from_scratch(), facts)
