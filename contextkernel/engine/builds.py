"""The verb that makes images: build."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.archives import platforms_of
from contextkernel.engine.caches import cache_limit
from contextkernel.engine.composition import silent
from contextkernel.engine.pulling import Pulling
from contextkernel.model.given import several
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.build.admission import Programs
    from contextkernel.engine.contexts import BuildContext
    from contextkernel.model.build_inputs import StepOptions
    from contextkernel.model.digest import Digest
    from contextkernel.model.outputs import Annotation, Attest, Output
    from contextkernel.model.ports import Reporter
    from contextkernel.model.results import BuildResult


class Builds(Pulling):
    """Making images."""

    @property
    def _programs(self) -> Programs:
        """Whether programs run here, and what has to be said of it."""
        from contextkernel import host
        from contextkernel.build.admission import Programs

        report = self._host.report
        return Programs(
            refusal=host.refusal(report) if report.tier == "analysis" else None,
            notices=host.notices(report),
            shows_users=report.tier == "ptrace",
        )

    def build(
        self,
        context: BuildContext = ".",
        *,
        dockerfile: str | None = None,
        text: str | None = None,
        tags: str | Sequence[str] = (),
        build_args: Mapping[str, str | None] | None = None,
        target: str | None = None,
        no_cache: bool = False,
        no_cache_filter: str | Sequence[str] = (),
        pull: bool = False,
        labels: Mapping[str, str] | None = None,
        network: str = "default",
        steps: StepOptions | None = None,
        platform: str | Sequence[str] | None = None,
        jobs: int | None = None,
        contexts: Mapping[str, str] | None = None,
        cache_from: str | Sequence[str] = (),
        cache_to: str | Sequence[str] = (),
        report: Reporter | None = None,
        outputs: str | Sequence[str | Output] = (),
        annotations: str | Sequence[str | Annotation] = (),
        attests: str | Sequence[str | Attest] = (),
        stdout: int | None = None,
    ) -> BuildResult:
        """Build an image from a Dockerfile and a build context.

        Args:
            context: where COPY and ADD take files from: a directory; an ``http(s)`` URL of a tar archive or of a
                Dockerfile; a Git repository (``https://host/repo.git#ref:subdir``); a dict of file name to text or
                bytes; an open tar archive; ``None`` for nothing.
            dockerfile: path of the Dockerfile, or its URL; default ``Dockerfile`` in the context.
            text: the Dockerfile itself; then no file is read.
            tags: names for the image.
            build_args: values for ARG; ``None`` takes the caller's environment variable.
            target: stage to stop at; default the last.
            no_cache: run every step.
            no_cache_filter: names of stages whose steps are all run.
            pull: ask the registry for newer base images.
            labels: added to the image.
            network: for RUN: ``default``, ``none`` or ``host``.
            steps: secrets, agents, hosts, limits and entitlements for RUN.
            platform: to build for, e.g. ``linux/arm64``, ``local`` for this machine's; several give an index, which
                only outputs outside of the store can hold.
            jobs: how many steps may run at the same time; by default one for each CPU, and four at least.
            contexts: further contexts by name, for FROM, ``COPY --from`` and ``RUN --mount``: a directory, a URL,
                ``docker-image://REF``, ``oci-layout://DIRECTORY[:TAG|@DIGEST]``.
            cache_from: caches to ask besides the store's own: ``type=local,src=DIR``, or images with a cache in them.
            cache_to: where to write the cache of this build: ``type=local,dest=DIR[,mode=max]``, ``type=inline``.
            report: receives the build's events.
            outputs: what the result becomes, as values or in the words of ``--output`` (``type=oci,dest=a.tar``); by
                default an image in the store.
            annotations: of images that leave the store, as values or in the words of ``--annotation``.
            attests: statements that go with the result, as values or in the words of ``--attest``.
            stdout: descriptor for outputs to ``-``.

        Raises:
            InvalidInput: an output that cannot be written, or a value that is not acceptable.
            DockerfileError, SourceNotFound, StepFailed, ImageNotFound: see there; finished steps stay cached.
        """
        from contextkernel.build import Builder, BuildRequest
        from contextkernel.build.recording import recorded
        from contextkernel.engine.contexts import given
        from contextkernel.fetch import Limits, NetworkFetcher
        from contextkernel.model.build_inputs import StepOptions
        from contextkernel.model.cache_transport import parse_cache_source, parse_cache_target
        from contextkernel.model.outputs import ImageOutput, parse_annotation, parse_attests, parse_output
        from contextkernel.registry.caches import RegistryCaches

        arguments = {
            key: value if value is not None else os.environ.get(key) for key, value in (build_args or {}).items()
        }
        # as buildx does: one variable for all tools that make reproducible things
        if arguments.get("SOURCE_DATE_EPOCH") is None and os.environ.get("SOURCE_DATE_EPOCH"):
            arguments["SOURCE_DATE_EPOCH"] = os.environ["SOURCE_DATE_EPOCH"]
        platforms = platforms_of(platform)
        self._sweep()
        limit = cache_limit(self._store.root)
        self._keep_free()
        request = BuildRequest(
            contexts=dict(contexts or {}),
            tags=tuple(ImageRef.parse(tag) for tag in several(tags)),
            build_args=arguments,
            target=target,
            no_cache=no_cache,
            no_cache_stages=several(no_cache_filter),
            pull=pull,
            labels=dict(labels or {}),
            network=network,
            steps=steps or StepOptions(),
            jobs=jobs,
            platform=platforms[0] if len(platforms) == 1 else None,
            platforms=platforms if len(platforms) > 1 else (),
            outputs=tuple(parse_output(one) if isinstance(one, str) else one for one in several(outputs))
            or (ImageOutput(),),
            annotations=tuple(
                found
                for one in several(annotations)
                for found in (parse_annotation(one) if isinstance(one, str) else (one,))
            ),
            attests=tuple(
                found
                for one in several(attests)
                for found in (parse_attests([one]) if isinstance(one, str) else (one,))
            ),
            stdout=stdout,
            cache_from=tuple(parse_cache_source(word) for word in several(cache_from)),
            cache_to=tuple(parse_cache_target(word) for word in several(cache_to)),
        )
        limits = Limits.from_environment()
        fetcher = NetworkFetcher(limits)
        builder = Builder(
            self._store,
            self._worker(),
            self._runtime,
            self._resolve_base,
            fake_ids=self._idmap.single,
            backing=self._backing,
            fetcher=fetcher,
            resolve_layout=self._resolve_layout,
            fetch_limit=limits.size,
            programs=self._programs,
            remote_caches=RegistryCaches(),
        )
        try:
            with given(context, dockerfile, text, store=self._store, fetcher=fetcher, limit=limits.size) as feed:
                result = recorded(builder, feed.applied(request), report or silent, self._store)
                if result.stored:
                    for name in result.names:
                        self._tell_image.tell("tag", result.image, name=name)
                    self._tell_image.tell("create", result.image)
                return result
        finally:
            self._bound_cache(limit)
            self._empty_trash()
            self._tell_evicted()

    def _resolve_layout(
        self, layout: str, *, platform: Platform | None = None, report: Reporter | None = None
    ) -> Digest:
        """An image of a directory in OCI image layout, brought into the store."""
        from contextkernel.store.archive_layout import load_layout

        return load_layout(self._store, self._worker(), layout, platform=platform, report=report)
