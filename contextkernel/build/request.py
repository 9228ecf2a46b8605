"""What is asked of a build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from contextkernel.model.build_inputs import StepOptions
from contextkernel.model.cache_transport import CacheSource, CacheTarget
from contextkernel.model.outputs import Annotation, Attest, ImageOutput, Output
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef


class RemoteContext(msgspec.Struct, frozen=True):
    """A Git repository, or a URL of an archive or of a Dockerfile."""

    url: str


class ArchiveContext(msgspec.Struct, frozen=True):
    """A tar archive, plain or compressed, in a file of this machine."""

    path: str


class FilesContext(msgspec.Struct, frozen=True):
    """Files that are given in memory: path to content."""

    files: Mapping[str, bytes]


ContextSource: TypeAlias = RemoteContext | ArchiveContext | FilesContext


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One build.

    Attributes:
        context: directory of files for COPY and ADD; ``None`` for none.
        dockerfile: the Dockerfile's text; ``None`` to read it from ``source``, where ``dockerfile_name`` says it is.
        dockerfile_name: name to show for it; a path also says where ``<name>.dockerignore`` may be.
        tags: names for the image.
        build_args: values for ARG; ``None`` (a variable the caller does not have) counts as not given.
        target: stage to stop at; default the last.
        no_cache: run every step.
        no_cache_stages: names of stages whose steps are all run.
        pull: ask the registry for newer base images.
        labels: added to the image; they win over LABEL.
        network: for every RUN that does not choose: ``default``, ``none`` or ``host``.
        steps: what RUN instructions are given.
        record: id under which the build is recorded; empty if it is not.
        platform: to build for; default the host's.
        platforms: several to build for, one after the other; then ``platform`` is ``None``.
        source: where the build context comes from, if it is not the directory ``context``.
        contexts: named contexts (``--build-context``): name to directory, URL or ``docker-image://...``.
        cache_from: caches to ask besides the store's own.
        cache_to: where to write the cache of this build.
        jobs: how many steps may run at the same time; ``None`` for :func:`contextkernel.build.schedule.default_jobs`.
        outputs: what the result is turned into; by default an image in the store.
        annotations: for every output that is an image.
        attests: statements that go with the result.
        stdout: descriptor for outputs that go to standard output (``-``), if there is one.
        context_epoch: when the context was made, in seconds since 1970, where it tells (a git commit's time, a
            server's Last-Modified): what ``SOURCE_DATE_EPOCH=context`` means.
    """

    context: str | None = None
    dockerfile: str | bytes | None = None
    dockerfile_name: str = "Dockerfile"
    tags: tuple[ImageRef, ...] = ()
    build_args: Mapping[str, str | None] = msgspec.field(default_factory=dict)
    target: str | None = None
    no_cache: bool = False
    no_cache_stages: tuple[str, ...] = ()
    pull: bool = False
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    network: str = "default"
    steps: StepOptions = StepOptions()
    record: str = ""
    platform: Platform | None = None
    platforms: tuple[Platform, ...] = ()
    source: ContextSource | None = None
    contexts: Mapping[str, str] = msgspec.field(default_factory=dict)
    cache_from: tuple[CacheSource, ...] = ()
    cache_to: tuple[CacheTarget, ...] = ()
    jobs: int | None = None
    outputs: tuple[Output, ...] = (ImageOutput(),)
    annotations: tuple[Annotation, ...] = ()
    attests: tuple[Attest, ...] = ()
    stdout: int | None = None
    context_epoch: int | None = None

    @property
    def given_args(self) -> dict[str, str]:
        """The build arguments that have a value."""
        return {name: value for name, value in self.build_args.items() if value is not None}
