"""The graph: what is needed, in which order, under which names."""

from __future__ import annotations

import pytest

from contextkernel.dockerfile import parse
from contextkernel.errors import DockerfileError, InvalidInput
from contextkernel.model.oci import ImageConfig, RunConfig
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.plan import (
    Facts,
    ImageOrigin,
    RunStep,
    ScratchOrigin,
    StageGraph,
    StageOrigin,
    build_graph,
    from_image,
    global_scope,
    plan_stage,
    platform_arguments,
    proxy_environment,
    unconsumed,
)
from contextkernel.plan.run_mounts import RunSettings

LINUX = Platform("linux", "amd64")


def graph(text: str, target: str | None = None, **arguments: str) -> StageGraph:
    dockerfile = parse(text)
    scope = global_scope(dockerfile, arguments, platform_arguments(LINUX, LINUX, target, arguments))
    return build_graph(dockerfile, scope=scope, target=target)


def image(name: str) -> ImageOrigin:
    return ImageOrigin(ImageRef.parse(name))


def test_only_what_the_target_needs_in_file_order() -> None:
    found = graph("FROM a AS one\nFROM b AS two\nFROM one AS three\nCOPY --from=two / /\nFROM c AS four\nFROM three\n")
    assert found.needed == (0, 1, 2, 4)
    assert found.images == (image("a"), image("b"))


@pytest.mark.parametrize("target", ["two", "TWO"])
def test_target_by_name(target: str) -> None:
    found = graph("FROM a AS one\nFROM b AS two\nFROM c\n", target)
    assert (found.target, found.needed) == (1, (1,))


def test_a_stage_that_copies_from_a_later_one_may_stand_there_unneeded() -> None:
    text = "FROM a AS one\nCOPY --from=two /x /y\nFROM b AS two\nFROM one AS three\n"
    assert graph(text, "two").needed == (1,)
    with pytest.raises(DockerfileError, match="must be defined before") as caught:
        graph(text, "three")
    assert caught.value.span is not None
    assert caught.value.span.line == 2


def test_default_target_is_the_last_stage() -> None:
    assert graph("FROM a\nFROM b\n").target == 1


@pytest.mark.parametrize("target", ["three", "1", "5", "-1"])
def test_unknown_target(target: str) -> None:
    with pytest.raises(InvalidInput, match="target stage"):
        graph("FROM a AS one\nFROM b AS two\n", target)


def test_bases_are_stages_images_or_nothing() -> None:
    found = graph("FROM a AS x\nFROM x\nFROM scratch\n")
    assert [stage.base for stage in found.stages] == [image("a"), StageOrigin(0), ScratchOrigin()]


def test_a_stage_may_be_called_as_its_base() -> None:
    assert graph("FROM debian AS debian\nFROM debian\n").stages[1].base == StageOrigin(0)
    assert graph("FROM debian AS debian\n").stages[0].base == image("debian")


def test_from_takes_the_nearest_stage_of_that_name() -> None:
    assert graph("FROM a AS x\nFROM b AS x\nFROM x\n").stages[2].base == StageOrigin(1)


def test_copy_from_number_name_image_and_mount() -> None:
    found = graph(
        "FROM a AS x\nFROM b\nCOPY --from=0 / /\nCOPY --from=X / /\n"
        "COPY --from=c:1 / /\nRUN --mount=from=x,target=/m y\n"
    )
    assert [command.origins for command in found.stages[1].commands] == [
        (StageOrigin(0),),
        (StageOrigin(0),),
        (image("c:1"),),
        (StageOrigin(0),),
    ]
    assert found.images == (image("a"), image("b"), image("c:1"))


def test_missing_names_the_images_that_are_not_known() -> None:
    found = graph("FROM a\nCOPY --from=b / /\n")
    assert found.missing({image("a"): ImageConfig()}) == (image("b"),)
    assert found.place(image("b")).line == 2


def test_arguments_and_platform_reach_from() -> None:
    found = graph("ARG V=1\nARG N=x-$V\nFROM --platform=$BUILDPLATFORM $N:${T:-latest}\n", V="2")
    assert found.stages[0].base == ImageOrigin(ImageRef.parse("x-2:latest"), LINUX)


def test_shown_names() -> None:
    assert [stage.shown for stage in graph("FROM a\n").stages] == [""]
    assert [stage.shown for stage in graph("FROM a\nFROM a AS Final\n").stages] == ["stage-0", "final"]
    # BuildKit counts an image that is copied from as one more stage
    assert [stage.shown for stage in graph("FROM a\nCOPY --from=b / /\n").stages] == ["stage-0"]


def test_totals_count_what_makes_layers_and_a_base_image() -> None:
    found = graph("FROM a AS x\nRUN 1\nENV A=1\nWORKDIR /w\nCOPY a b\nADD a b\nFROM x\nRUN 2\nFROM scratch\nCOPY a b\n")
    assert [stage.total for stage in found.stages] == [5, 1, 1]


def test_triggers_of_an_image_come_first_and_bring_their_images() -> None:
    dockerfile = parse("FROM parent\nRUN own\n")
    parent = ImageConfig(config=RunConfig(on_build=("RUN first", "COPY --from=tools /t /t")))
    found = build_graph(dockerfile, scope={}, images={image("parent"): parent})
    assert [command.trigger for command in found.stages[0].commands] == [True, True, False]
    assert found.images == (image("parent"), image("tools"))
    assert found.stages[0].total == 4
    planned = plan_stage(found.stages[0], from_image(parent), Facts(dockerfile=dockerfile, scope={}))
    assert [step.title for step in planned.layer_steps] == [
        "[2/4] ONBUILD RUN first",
        "[3/4] ONBUILD COPY --from=tools /t /t",
        "[4/4] RUN own",
    ]
    assert planned.state.config.on_build is None


def test_a_broken_trigger_is_told_at_the_from() -> None:
    parent = ImageConfig(config=RunConfig(on_build=("NOSUCH x",)))
    with pytest.raises(DockerfileError, match="ONBUILD trigger 'NOSUCH x' of parent") as caught:
        build_graph(parse("# c\nFROM parent\n"), scope={}, images={image("parent"): parent})
    assert caught.value.span is not None
    assert caught.value.span.line == 2


def test_proxy_arguments_reach_run_in_both_cases_and_nothing_else() -> None:
    given = {"HTTP_PROXY": "http://p:1", "no_proxy": "x", "other": "1"}
    dockerfile = parse("FROM a\nRUN x\n")
    found = build_graph(dockerfile, scope={})
    facts = Facts(dockerfile=dockerfile, scope={}, build_args=given, proxy=proxy_environment(given))
    plan = plan_stage(found.stages[0], from_image(ImageConfig()), facts)
    (step,) = plan.layer_steps
    assert isinstance(step, RunStep)
    assert step.proxy == ("HTTP_PROXY=http://p:1", "http_proxy=http://p:1", "NO_PROXY=x", "no_proxy=x")
    assert not any("PROXY" in item.upper() for item in step.env)
    assert "|" not in step.created_by


def test_network_of_the_request_is_for_runs_that_do_not_choose() -> None:
    dockerfile = parse("FROM a\nRUN x\nRUN --network=host y\n")
    facts = Facts(dockerfile=dockerfile, scope={}, network="none", run=RunSettings(allow=frozenset({"network.host"})))
    plan = plan_stage(build_graph(dockerfile, scope={}).stages[0], from_image(ImageConfig()), facts)
    assert [step.network for step in plan.layer_steps if isinstance(step, RunStep)] == ["none", "host"]


def test_unconsumed_arguments() -> None:
    dockerfile = parse("ARG A\nFROM a\nARG B\nFROM b\nARG C=1\n")
    given = ["A", "B", "C", "zz", "aa", "HTTPS_PROXY", "TARGETARCH", "BUILDKIT_INLINE_CACHE", "SOURCE_DATE_EPOCH"]
    assert unconsumed(dockerfile, given) == ("aa", "zz")


def test_platform_arguments_are_redeclared_to_be_seen_in_a_stage() -> None:
    dockerfile = parse("FROM a\nRUN one\nARG TARGETARCH\nRUN two\n")
    scope = platform_arguments(LINUX, LINUX, None, {})
    plan = plan_stage(
        build_graph(dockerfile, scope=scope).stages[0],
        from_image(ImageConfig()),
        Facts(dockerfile=dockerfile, scope=scope),
    )
    one, two = (step for step in plan.layer_steps if isinstance(step, RunStep))
    assert "TARGETARCH=amd64" not in one.env
    assert "TARGETARCH=amd64" in two.env
