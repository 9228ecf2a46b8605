"""The plan of a build: its stages, once the images they need are here, and what each of their steps is."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from contextkernel.build.needed_images import NeededImages
from contextkernel.build.request import BuildRequest
from contextkernel.dockerfile.instructions import Dockerfile
from contextkernel.errors import InvalidInput
from contextkernel.model.oci import ImageConfig
from contextkernel.plan.arguments import proxy_environment
from contextkernel.plan.remote import GitOrigin, HttpOrigin
from contextkernel.plan.run_steps import settings_of
from contextkernel.plan.stage import Facts, StagePlan, from_files, from_image, from_scratch, from_stage, plan_stage
from contextkernel.plan.stages import StageGraph, build_graph
from contextkernel.plan.steps import Base, ContextOrigin, ImageOrigin, Network, ScratchOrigin, StageOrigin

_NETWORKS: dict[str, Network] = {"default": "default", "none": "none", "host": "host", "": "default"}


def check_network(name: str) -> None:
    """Refuse a network that the steps of a build cannot have.

    Raises:
        InvalidInput: it is not one of ``default``, ``none``, ``host``.
    """
    if name not in _NETWORKS:
        raise InvalidInput(f"network {name!r} is not supported for a build", hint="one of default, none, host")


def stage_graph(
    dockerfile: Dockerfile,
    scope: Mapping[str, str],
    target: str | None,
    contexts: Mapping[str, Base],
    images: NeededImages,
) -> StageGraph:
    """The stages, once all images they need are here; triggers of an image may bring in more.

    Args:
        dockerfile: the parsed text.
        scope: its global variables.
        target: stage to build, the last by default.
        contexts: what named contexts stand for.
        images: brings the images.

    Raises:
        DockerfileError, InvalidInput: as of ``build_graph``. ImageNotFound: an image cannot be had.
    """
    while True:
        graph = build_graph(dockerfile, scope=scope, target=target, images=images.configs, contexts=contexts)
        missing = graph.missing(images.configs)
        if not missing:
            return graph
        images.bring(missing, graph, dockerfile)


def step_facts(request: BuildRequest, dockerfile: Dockerfile, scope: Mapping[str, str], epoch: int | None) -> Facts:
    """What the steps of every stage are made from.

    Args:
        request: what is asked for.
        dockerfile: the parsed text.
        scope: its global variables.
        epoch: SOURCE_DATE_EPOCH in seconds, if there is one.
    """
    args = request.given_args
    network = _NETWORKS[request.network]
    return Facts(
        dockerfile=dockerfile,
        scope=scope,
        build_args=args,
        proxy=proxy_environment(args),
        network=network,
        run=settings_of(args, request.steps, network),
        epoch=epoch,
    )


def plan_stages(
    graph: StageGraph, facts: Facts, configs: Mapping[ImageOrigin, ImageConfig], *, prefix: str = ""
) -> dict[int, StagePlan]:
    """The steps of every stage that is needed, by its position.

    Args:
        graph: the stages, all their images known.
        facts: see :func:`step_facts`.
        configs: of the images.
        prefix: shown before the names of stages.

    Raises:
        DockerfileError: an instruction cannot be planned.
    """
    plans: dict[int, StagePlan] = {}
    for index in graph.needed:
        node = graph.stages[index]
        node = msgspec.structs.replace(node, shown=f"{prefix}{node.shown}".rstrip())
        match node.base:
            case ScratchOrigin():
                start = from_scratch()
            case ContextOrigin() | HttpOrigin() | GitOrigin():
                start = from_files(node.base)
            case ImageOrigin():
                start = from_image(configs[node.base])
            case StageOrigin(index=below):
                start = from_stage(plans[below].state)
        plans[index] = plan_stage(node, start, facts)
    return plans
