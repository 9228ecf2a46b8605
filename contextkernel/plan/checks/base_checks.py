"""The checks of FROM lines (``dockerfile2llb/convert.go``, ``validations.go``)."""

from __future__ import annotations

from collections.abc import Mapping

from contextkernel.dockerfile.expand import Expansion, process
from contextkernel.dockerfile.instructions import Dockerfile, From, Stage
from contextkernel.dockerfile.suggest import closest
from contextkernel.errors import DockerfileError, InvalidInput, InvalidReference
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.plan.arguments import global_scope
from contextkernel.plan.checks import rules_values as rules
from contextkernel.plan.checks.settings import Collector
from contextkernel.plan.texts import go_quote


def check_default_bases(dockerfile: Dockerfile, start: Mapping[str, str], found: Collector) -> None:
    """Whether every base still has a name when no build arguments are given."""
    try:
        scope = global_scope(dockerfile, {}, start)
        for stage in dockerfile.stages:
            name = process(stage.base.image, scope, escape=dockerfile.directives.escape).text
            if not _valid(name):
                found.add(rules.INVALID_DEFAULT_ARG_IN_FROM, stage.base.span, stage.base.image)
    except InvalidInput:
        return  # the build itself fails of it, and says where


def _valid(name: str) -> bool:
    try:
        ImageRef.parse(name)
    except InvalidReference:
        return False
    return True


def check_base(stage: Stage, dockerfile: Dockerfile, scope: Mapping[str, str], found: Collector) -> str:
    """Check one FROM.

    Args:
        stage: the stage.
        dockerfile: for its arguments and its text.
        scope: the global scope.
        found: collects.

    Returns:
        The name of the base, expanded.

    Raises:
        DockerfileError: a name or platform that cannot be expanded.
    """
    declared = {*scope, *(item.name for arg in dockerfile.global_args for item in arg.items)}
    base = stage.base
    name = _expanded(base.image, base, dockerfile, scope)
    _check_arguments(name, declared, base, found)
    if base.platform is not None:
        platform = _expanded(base.platform, base, dockerfile, scope)
        _check_arguments(platform, declared, base, found)
        _check_platform(platform, stage, scope, found)
    return name.text


def _expanded(word: str, base: From, dockerfile: Dockerfile, scope: Mapping[str, str]) -> Expansion:
    try:
        return process(word, scope, escape=dockerfile.directives.escape)
    except InvalidInput as problem:
        raise DockerfileError(problem.problem, hint=problem.hint, span=base.span, source=dockerfile.source) from None


def _check_arguments(expansion: Expansion, declared: set[str], base: From, found: Collector) -> None:
    for name in sorted(expansion.unmatched - declared):
        near = closest(name, sorted(declared))
        found.add_here(rules.UNDEFINED_ARG_IN_FROM, base.span, name, hint=near or "")


def _check_platform(expansion: Expansion, stage: Stage, scope: Mapping[str, str], found: Collector) -> None:
    base = stage.base
    if expansion.unmatched:
        return
    if expansion.matched:
        if expansion.matched == {"TARGETPLATFORM"} and expansion.text == scope.get("TARGETPLATFORM"):
            found.add_here(rules.REDUNDANT_TARGET_PLATFORM, base.span, base.platform or "")
        return
    try:
        platform = Platform.parse(expansion.text)
    except InvalidInput:
        return  # the build itself fails of it
    if not any(part in (stage.name or "") for part in (platform.os, platform.architecture)):
        found.add_here(rules.FROM_PLATFORM_FLAG_CONST_DISALLOWED, base.span, go_quote(expansion.text))


def check_base_platform(stage: Stage, name: str, wanted: Platform, actual: Platform, found: Collector) -> None:
    """Whether the base image is for the platform that is built for.

    Args:
        stage: whose base it is.
        name: of the image, as it was looked up.
        wanted: the stage's platform.
        actual: the image's.
        found: collects.
    """
    if (wanted.os, wanted.architecture) != (actual.os, actual.architecture):
        found.add(
            rules.INVALID_BASE_IMAGE_PLATFORM, stage.base.span, name, go_quote(str(actual)), go_quote(str(wanted))
        )
