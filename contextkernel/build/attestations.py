"""What is stated of a result, when somebody asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from contextkernel.build.finished import Finished
from contextkernel.build.ports import BuildStore
from contextkernel.build.provenance import BuildFacts, provenance
from contextkernel.build.request import BuildRequest, RemoteContext
from contextkernel.model.digest import Digest
from contextkernel.model.outputs import Attest, Provenance, Statement
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker
from contextkernel.plan.image import timestamp
from contextkernel.plan.remote import GitOrigin, HttpOrigin, parse_git, redacted
from contextkernel.plan.run_mounts import SecretTarget, SshTarget
from contextkernel.plan.stage import StagePlan
from contextkernel.plan.steps import ImageOrigin, RunStep

_SECOND = 1_000_000_000


def build_facts(
    request: BuildRequest,
    plans: tuple[StagePlan, ...],
    images: Mapping[ImageOrigin, Digest],
    *,
    text: str,
    fetched: Mapping[GitOrigin | HttpOrigin, str],
    builder: Platform,
    platform: Platform,
    began: float,
) -> BuildFacts:
    """What statements are made from.

    Args:
        request: as it was asked.
        plans: the stages that were built.
        images: the images that were used.
        text: the Dockerfile.
        fetched: commits and digests of what was fetched.
        builder: platform of this host.
        platform: that was built for.
        began: seconds since 1970.
    """
    secrets: dict[str, bool] = {}
    agents: dict[str, bool] = {}
    for plan in plans:
        for step in plan.layer_steps:
            for mount in step.mounts if isinstance(step, RunStep) else ():
                # needed by one step is needed by the build
                if isinstance(mount, SecretTarget):
                    secrets[mount.id] = secrets.get(mount.id, True) and not mount.required
                elif isinstance(mount, SshTarget):
                    agents[mount.id] = agents.get(mount.id, True) and not mount.required
    name = request.dockerfile_name
    return BuildFacts(
        source=redacted(request.source.url) if isinstance(request.source, RemoteContext) else "",
        # a path of this machine is nobody else's business
        path=name.rpartition("/")[2] if name.startswith("/") else name,
        text=text,
        arguments=request.given_args,
        labels=request.labels,
        target=request.target,
        secrets=secrets,
        agents=agents,
        images=images,
        fetched=dict(fetched),
        context=_context(request, fetched),
        plans=plans,
        builder=builder,
        platform=platform,
        began=began,
        ended=time.time(),
    )


def _context(
    request: BuildRequest, fetched: Mapping[GitOrigin | HttpOrigin, str]
) -> tuple[GitOrigin | HttpOrigin, ...]:
    """What of the things that were fetched is the build context."""
    if not isinstance(request.source, RemoteContext):
        return ()
    url = request.source.url
    git = parse_git(url, context=True)
    if git is None:
        return tuple(one for one in fetched if isinstance(one, HttpOrigin) and one.url == url)
    wanted = (git.remote, git.ref)
    return tuple(one for one in fetched if isinstance(one, GitOrigin) and (one.remote, one.ref) == wanted)


def make_statements(
    attests: tuple[Attest, ...],
    finished: Finished,
    facts: BuildFacts,
    store: BuildStore,
    worker: LayerWorker,
    *,
    name: str,
    epoch: int | None,
    warn: Callable[[str], None],
) -> tuple[Statement, ...]:
    """Make the statements that were asked for: the list of packages, then the provenance.

    Args:
        attests: what was asked for.
        finished: what it is about.
        facts: of the build.
        store, worker: to read files with.
        name: of the result.
        epoch: SOURCE_DATE_EPOCH in seconds, if there is one.
        warn: told of what a list lacks.
    """
    found = []
    for attest in sorted(attests, key=lambda one: isinstance(one, Provenance)):
        if isinstance(attest, Provenance):
            found.append(provenance(attest, facts))
        else:
            from contextkernel.build.sbom import sbom

            created = timestamp((int(time.time()) if epoch is None else epoch) * _SECOND)
            found.append(sbom(finished, store, worker, name=name, created=created, warn=warn))
    return tuple(found)
