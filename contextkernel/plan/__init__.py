"""Instructions into a build plan: which stages, which steps, which cache keys, which configuration. Pure.

:func:`build_graph` finds the stages and the images they need, :func:`plan_stage` makes frozen steps and the
configuration of one stage, :mod:`contextkernel.plan.keys` has the cache keys, :func:`image_config` the document.
"""

from __future__ import annotations

from contextkernel.plan.arguments import global_scope, platform_arguments, proxy_environment, unconsumed
from contextkernel.plan.image import MadeLayer, image_config
from contextkernel.plan.remote import GitOrigin, HttpOrigin
from contextkernel.plan.stage import Facts, StagePlan, StageState, from_image, from_scratch, from_stage, plan_stage
from contextkernel.plan.stages import Command, StageGraph, StageNode, build_graph
from contextkernel.plan.steps import (
    ContextOrigin,
    CopyStep,
    ImageOrigin,
    InlineFile,
    LayerStep,
    MetadataStep,
    RunStep,
    ScratchOrigin,
    StageOrigin,
    Step,
    TmpfsTarget,
    WorkdirStep,
)

__all__ = [
    "Command",
    "ContextOrigin",
    "CopyStep",
    "Facts",
    "GitOrigin",
    "HttpOrigin",
    "ImageOrigin",
    "InlineFile",
    "LayerStep",
    "MadeLayer",
    "MetadataStep",
    "RunStep",
    "ScratchOrigin",
    "StageGraph",
    "StageNode",
    "StageOrigin",
    "StagePlan",
    "StageState",
    "Step",
    "TmpfsTarget",
    "WorkdirStep",
    "build_graph",
    "from_image",
    "from_scratch",
    "from_stage",
    "global_scope",
    "image_config",
    "plan_stage",
    "platform_arguments",
    "proxy_environment",
    "unconsumed",
]
