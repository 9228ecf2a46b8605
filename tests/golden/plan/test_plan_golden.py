"""Whole Dockerfiles, planned: every folder of ``cases`` has a Dockerfile and the plan it must give.

``plan.json`` is ours (``UPDATE_GOLDEN=1`` rewrites it). ``docker.json`` was recorded from Docker 20.10 with BuildKit by
``record_docker.py``: configuration and history of the same Dockerfile on the same base.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from contextkernel.dockerfile import parse
from contextkernel.errors import ContextKernelError
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import History, ImageConfig, RootFS, RunConfig
from contextkernel.model.platform import Platform
from contextkernel.plan import (
    Facts,
    ImageOrigin,
    MadeLayer,
    MetadataStep,
    ScratchOrigin,
    StageOrigin,
    StagePlan,
    build_graph,
    from_image,
    from_scratch,
    from_stage,
    global_scope,
    image_config,
    plan_stage,
    platform_arguments,
    proxy_environment,
)

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("cases/*/Dockerfile"))
REFUSED = sorted(path.parent for path in HERE.glob("refused/*/Dockerfile"))
LINUX = Platform("linux", "amd64")

# what record_docker.py gives its base images with `docker import --change`
BASE = ImageConfig(
    architecture="amd64",
    os="linux",
    config=RunConfig(env=("FROM_BASE=yes",), cmd=("sh",), labels={"base": "1"}, working_dir="", on_build=None),
    rootfs=RootFS("layers", (Digest.of(b"base"),)),
    history=(History(created="2020-01-01T00:00:00Z", comment="Imported from -"),),
    created="2020-01-01T00:00:00Z",
)


def plan(folder: Path) -> tuple[list[StagePlan], ImageConfig]:
    """Plan a Dockerfile and make the configuration of its image, with layers that are counted up."""
    given = folder / "request.json"
    request = json.loads(given.read_text()) if given.exists() else {}
    arguments = request.get("build_args", {})
    dockerfile = parse((folder / "Dockerfile").read_bytes())
    scope = global_scope(dockerfile, arguments, platform_arguments(LINUX, LINUX, request.get("target"), arguments))
    graph = build_graph(dockerfile, scope=scope, target=request.get("target"))
    configs = dict.fromkeys(graph.images, BASE)
    facts = Facts(dockerfile=dockerfile, scope=scope, build_args=arguments, proxy=proxy_environment(arguments))
    plans: dict[int, StagePlan] = {}
    bottom: dict[int, ImageConfig | None] = {}
    for index in graph.needed:
        node = graph.stages[index]
        match node.base:
            case ScratchOrigin():
                start, bottom[index] = from_scratch(), None
            case ImageOrigin():
                start, bottom[index] = from_image(configs[node.base]), configs[node.base]
            case StageOrigin(index=below):
                start, bottom[index] = from_stage(plans[below].state), bottom[below]
        plans[index] = plan_stage(node, start, facts)
    state = plans[graph.target].state
    count = sum(line.layer for line in state.history)
    made = [MadeLayer(Digest.of(str(n).encode()), 1_700_000_000_000_000_000 + n * 10**9) for n in range(count)]
    config = image_config(state, base=bottom[graph.target], made=made, labels=request.get("labels", {}), platform=LINUX)
    return list(plans.values()), config


def as_document(plans: list[StagePlan], config: ImageConfig) -> dict[str, object]:
    stages = []
    for one in plans:
        titles = [one.from_title] if one.from_title else []
        titles += [step.title for step in one.steps if not isinstance(step, MetadataStep)]
        stages.append({"stage": one.node.index, "titles": titles})
    return {"stages": stages, "image": json.loads(to_json(config))}


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_plan_is_as_recorded(folder: Path) -> None:
    found = as_document(*plan(folder))
    expected = folder / "plan.json"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_planning_twice_gives_the_same(folder: Path) -> None:
    assert plan(folder) == plan(folder)


# BuildKit changed these since Docker 20.10; ours are as BuildKit writes them now
NEWER_HISTORY = {
    "ARG GIVEN": "ARG GIVEN=from the command line",
    "ARG WIDE": "ARG WIDE=global",
    'HEALTHCHECK &{["CMD-SHELL" "true"] "0s" "0s" "0s" \'\\x00\'}': (
        "HEALTHCHECK {Test:[CMD-SHELL true] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}"
    ),
    'HEALTHCHECK &{["NONE"] "0s" "0s" "0s" \'\\x00\'}': (
        "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}"
    ),
    "RUN |4 WIDE=global OWN=arg-after-env GIVEN=from the command line OWN=arg-after-env "
    "/bin/sh -c echo $OWN $FROM_ARG # buildkit": (
        "RUN |3 WIDE=global OWN=arg-after-env GIVEN=from the command line /bin/sh -c echo $OWN $FROM_ARG # buildkit"
    ),
    "COPY /out /all # buildkit": "COPY --chown=50:60 --chmod=0640 /out /all # buildkit",
}


@pytest.mark.parametrize(
    "folder", [path for path in CASES if (path / "docker.json").exists()], ids=lambda path: path.name
)
def test_image_is_as_docker_makes_it(folder: Path) -> None:
    _, ours = plan(folder)
    docker = json.loads((folder / "docker.json").read_text())
    theirs = from_json(json.dumps(docker["Config"]), RunConfig)
    # docker writes empty sets and lists as null
    theirs = msgspec.structs.replace(theirs, args_escaped=ours.config.args_escaped, labels=theirs.labels or None)
    assert ours.config == theirs
    assert ours.config.args_escaped == docker["Config"].get("ArgsEscaped", False)
    assert ours.author == docker["Author"]
    history = [(line.created_by, line.empty_layer) for line in ours.history if line.comment.startswith("buildkit")]
    assert history == [
        (NEWER_HISTORY.get(line["created_by"], line["created_by"]), line["empty"]) for line in docker["History"]
    ]


@pytest.mark.parametrize("folder", REFUSED, ids=lambda path: path.name)
def test_refused_before_anything_runs(folder: Path) -> None:
    with pytest.raises(ContextKernelError) as caught:
        plan(folder)
    found = "\n".join(caught.value.lines()) + "\n"
    expected = folder / "problem.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(found)
    assert found == expected.read_text()
