"""``commit --change``: instructions that change an image's configuration and nothing else.

Docker's list (moby, builder/dockerfile/builder.go, ``validCommitCommands``).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from contextkernel.dockerfile import parse
from contextkernel.errors import InvalidInput
from contextkernel.model.oci import ImageConfig, RunConfig
from contextkernel.plan.stage import Facts, from_image, plan_stage
from contextkernel.plan.stages import build_graph

ALLOWED = (
    "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"
)  # fmt: skip


def apply_changes(config: RunConfig, changes: Sequence[str]) -> RunConfig:
    """A configuration after some instructions.

    Args:
        config: what they start from.
        changes: one instruction each.

    Raises:
        InvalidInput: an instruction that changes more than the configuration. DockerfileError: one that is none.
    """
    if not changes:
        return config
    for change in changes:
        word = (change.split() or [""])[0].upper()
        if word not in ALLOWED or "\n" in change.strip():
            raise InvalidInput(
                f"{word or repr(change)} is not a valid change command", hint=f"one of {', '.join(ALLOWED)}"
            )
    dockerfile = parse("FROM scratch\n" + "\n".join(change.strip() for change in changes) + "\n", file="--change")
    (node,) = build_graph(dockerfile, scope={}).stages
    start = msgspec.structs.replace(from_image(ImageConfig(config=config)), env=_environment(config))
    # unlike FROM, a change adds no PATH
    start = msgspec.structs.replace(start, config=msgspec.structs.replace(start.config, env=config.env))
    state = plan_stage(node, start, Facts(dockerfile=dockerfile, scope={})).state
    triggers = (*(config.on_build or ()), *(state.config.on_build or ()))
    # a build says that arguments are escaped, which means something on Windows only; docker's changes do not
    return msgspec.structs.replace(state.config, on_build=triggers or None, args_escaped=False)


def _environment(config: RunConfig) -> dict[str, str]:
    """The variables of a configuration by name."""
    return {name: value for name, _, value in (item.partition("=") for item in config.env or ())}
