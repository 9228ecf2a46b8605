"""Build arguments: which exist, where they are visible, what they are worth.

Source of the rules: BuildKit's Dockerfile reference, "ARG", and ``dockerfile2llb`` (``defaultArgs``,
``buildMetaArgs``): platform arguments and the ARGs before the first FROM form the global scope, which only FROM
lines and ``ARG name`` without a default inside a stage can see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from contextkernel.dockerfile.expand import process
from contextkernel.dockerfile.instructions import Arg, Dockerfile
from contextkernel.errors import DockerfileError, InvalidInput, Span
from contextkernel.model.platform import Platform

Expander = Callable[[str, Mapping[str, str]], str]

PROXY_NAMES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
"""Predefined arguments, in lower or upper case: reach RUN undeclared, and stay out of history and cache keys."""

_PLATFORM_NAMES = frozenset(
    f"{side}{part}" for side in ("BUILD", "TARGET") for part in ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")
) | {"TARGETSTAGE"}


def platform_arguments(
    build: Platform, target: Platform, stage: str | None, overrides: Mapping[str, str]
) -> dict[str, str]:
    """The predefined platform arguments of the global scope.

    Args:
        build: where the build runs.
        target: what it builds for.
        stage: value of ``TARGETSTAGE``; ``default`` without one.
        overrides: ``--build-arg`` values, which win.
    """
    found = {
        "BUILDPLATFORM": str(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": "",
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant or "",
        "TARGETPLATFORM": str(target),
        "TARGETOS": target.os,
        "TARGETOSVERSION": "",
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant or "",
        "TARGETSTAGE": stage or "default",
    }
    return {name: overrides.get(name, value) for name, value in found.items()}


def expander(dockerfile: Dockerfile, span: Span) -> Expander:
    """A function that expands words of the instruction at ``span``; problems become DockerfileErrors there."""

    def expand_word(word: str, env: Mapping[str, str]) -> str:
        try:
            return process(word, env, escape=dockerfile.directives.escape).text
        except InvalidInput as problem:
            raise DockerfileError(problem.problem, hint=problem.hint, span=span, source=dockerfile.source) from None

    return expand_word


def global_scope(dockerfile: Dockerfile, build_args: Mapping[str, str], start: Mapping[str, str]) -> dict[str, str]:
    """The variables that FROM lines can use.

    Args:
        dockerfile: whose ``global_args`` are read.
        build_args: ``--build-arg`` values.
        start: the platform arguments.

    Raises:
        DockerfileError: a default that cannot be expanded.
    """
    scope = dict(start)
    for instruction in dockerfile.global_args:
        expand_word = expander(dockerfile, instruction.span)
        for item in instruction.items:
            if item.name in build_args:
                scope[item.name] = build_args[item.name]
            elif item.default is not None:
                scope[item.name] = expand_word(item.default, scope)
    return scope


def proxy_environment(build_args: Mapping[str, str]) -> tuple[str, ...]:
    """``NAME=value`` of the predefined proxy arguments, upper and lower case of each, for RUN."""
    found: dict[str, str] = {}
    for name in sorted(build_args):
        if name.lower() in PROXY_NAMES:
            found[name.lower()] = build_args[name]
    return tuple(
        f"{spelled}={found[name]}" for name in PROXY_NAMES if found.get(name) for spelled in (name.upper(), name)
    )


def unconsumed(dockerfile: Dockerfile, build_args: Iterable[str]) -> tuple[str, ...]:
    """Names of ``--build-arg`` values that no ARG declares and that are not predefined, sorted."""
    declared = {
        item.name
        for instruction in (*dockerfile.global_args, *(i for stage in dockerfile.stages for i in stage.instructions))
        if isinstance(instruction, Arg)
        for item in instruction.items
    }
    return tuple(sorted(name for name in set(build_args) - declared if not _predefined(name)))


def _predefined(name: str) -> bool:
    return (
        name.lower() in PROXY_NAMES
        or name in _PLATFORM_NAMES
        or name.startswith("BUILDKIT_")
        or name == "SOURCE_DATE_EPOCH"
    )
