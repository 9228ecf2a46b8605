"""Which platform a stage is for, and whether its programs can run here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from contextkernel.build.stage_run import StageRun
from contextkernel.errors import HostUnsupported
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.plan.stage import StagePlan
from contextkernel.plan.steps import ImageOrigin, StageOrigin

CannotRun = Callable[[Platform, Platform], tuple[str, str] | None]
"""Says why programs of the first platform do not run on the second, and what would help."""


def bottom_config(
    plans: Mapping[int, StagePlan], index: int, configs: Mapping[ImageOrigin, ImageConfig]
) -> ImageConfig | None:
    """The configuration of the image at the bottom of a stage; ``None`` for scratch and files."""
    base = plans[index].node.base
    while isinstance(base, StageOrigin):
        base = plans[base.index].node.base
    return configs[base] if isinstance(base, ImageOrigin) else None


def for_target(base: ImageConfig | None, wanted: Platform | None) -> ImageConfig | None:
    """The base as the image says it: a platform that was asked for is what the result is for.

    Source: ``dockerfile2llb/convert.go``, at the end of ``toDispatchState``.
    """
    if base is None or wanted is None:
        return base
    same = (base.os, base.architecture) == (wanted.os, wanted.architecture)
    return ImageConfig(
        **{
            name: getattr(base, name)
            for name in base.__struct_fields__
            if name not in ("os", "architecture", "variant")
        },
        os=wanted.os,
        architecture=wanted.architecture,
        variant=wanted.variant or (base.variant if same else "") or "",
    )


def admit(
    stage: StageRun,
    config: ImageConfig | None,
    *,
    target: Platform,
    host: Platform,
    cannot_run: CannotRun,
    source: str,
) -> None:
    """Let a stage be executed, if its programs can run here.

    Args:
        stage: that has something left to do.
        config: of the image at its bottom; ``None``: it is for the target's platform.
        target: platform that is built for.
        host: this machine's.
        cannot_run: knows the emulators.
        source: the Dockerfile's text.

    Raises:
        HostUnsupported: they cannot; it names the first RUN.
    """
    program = stage.program
    if program is None:
        return
    platform = Platform.of(config.os, config.architecture, config.variant) if config else target
    reason = None if platform == host else cannot_run(platform, host)
    if reason is not None:
        title = program.title.partition("\n")[0]
        raise HostUnsupported(
            f"{title} needs to run programs for {platform}: {reason[0]}",
            hint=reason[1],
            span=program.span,
            source=source,
        )
