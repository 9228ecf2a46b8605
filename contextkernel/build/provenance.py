"""SLSA provenance of a build, in BuildKit's shape.

Source of the rules: BuildKit's ``docs/attestations/slsa-provenance.md`` and ``solver/llbsolver/provenance``. Steps of
``mode=max`` are this builder's own, since it has no LLB. Values of secrets are not known here; user information in
URLs is left out.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from contextkernel.model.digest import Digest
from contextkernel.model.outputs import Provenance, Statement
from contextkernel.model.platform import Platform
from contextkernel.plan.arguments import PROXY_NAMES
from contextkernel.plan.remote import GitOrigin, HttpOrigin, redacted
from contextkernel.plan.stage import StagePlan
from contextkernel.plan.steps import CopyStep, ImageOrigin, RunStep, SeveralOrigins
from contextkernel.store.manifests import purl

_TYPE_1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_TYPE_02 = "https://mobyproject.org/buildkit@v1"
_PREDICATE = {"v1": "https://slsa.dev/provenance/v1", "v0.2": "https://slsa.dev/provenance/v0.2"}
_FRONTEND = "dockerfile.v0"
_LABEL = "label:"


class BuildFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a build when it is over.

    Attributes:
        source: URL of the context, without user information; empty for files of this machine.
        path: of the Dockerfile in the context.
        text: the Dockerfile.
        arguments, labels, target: as given.
        secrets, agents: ids that RUN mounts ask for, and whether the build goes on without them.
        images: the images that were used, with their ids.
        fetched: commit, or ``sha256:...``, of what was fetched; the context among it.
        context: what of it is the context.
        plans: the stages.
        builder: platform of this host.
        began, ended: seconds since 1970.
    """

    source: str = ""
    path: str = "Dockerfile"
    text: str = ""
    arguments: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    target: str | None = None
    secrets: Mapping[str, bool] = {}
    agents: Mapping[str, bool] = {}
    images: Mapping[ImageOrigin, Digest] = {}
    fetched: Mapping[GitOrigin | HttpOrigin, str] = {}
    context: tuple[GitOrigin | HttpOrigin, ...] = ()
    plans: tuple[StagePlan, ...] = ()
    builder: Platform
    platform: Platform
    began: float = 0.0
    ended: float = 0.0


def provenance(asked: Provenance, facts: BuildFacts) -> Statement:
    """The statement of how a result was made.

    Args:
        asked: how much of it, and in which version.
        facts: of the build.
    """
    predicate = _slsa1(asked, facts) if asked.version == "v1" else _slsa02(asked, facts)
    return Statement(
        predicate_type=_PREDICATE[asked.version], predicate=msgspec.json.encode(predicate), name="provenance.json"
    )


def metadata_provenance(facts: BuildFacts) -> dict[str, Any]:
    """What docker's ``--metadata-file`` says of it: the minimum, as SLSA v0.2, without times."""
    found = _slsa02(Provenance(), facts)
    del found["metadata"]
    return found


def _slsa1(asked: Provenance, facts: BuildFacts) -> dict[str, Any]:
    source = _config_source(facts)
    internal: dict[str, Any] = {"builderPlatform": str(facts.builder)}
    kit: dict[str, Any] = {}
    if asked.full:
        internal["buildConfig"] = {"steps": _steps(facts.plans)}
        kit["source"] = _source(facts)
    metadata: dict[str, Any] = {
        "invocationId": os.urandom(16).hex(),
        "startedOn": _time(facts.began),
        "finishedOn": _time(facts.ended),
        "buildkit_metadata": kit,
        "buildkit_completeness": {"request": asked.full, "resolvedDependencies": _complete(facts)},
    }
    if _hermetic(facts):
        metadata["buildkit_hermetic"] = True
    if asked.reproducible:
        metadata["buildkit_reproducible"] = True
    return {
        "buildDefinition": {
            "buildType": _TYPE_1,
            "resolvedDependencies": _materials(facts),
            "externalParameters": {
                "configSource": {**source, "path": facts.path},
                "request": _request(asked, facts),
            },
            "internalParameters": internal,
        },
        "runDetails": {"builder": {"id": asked.builder_id}, "metadata": metadata},
    }


def _slsa02(asked: Provenance, facts: BuildFacts) -> dict[str, Any]:
    source = _config_source(facts)
    found: dict[str, Any] = {
        "builder": {"id": asked.builder_id},
        "buildType": _TYPE_02,
        "materials": _materials(facts),
        "invocation": {
            "configSource": {**source, "entryPoint": facts.path},
            "parameters": _request(asked, facts),
            "environment": {"platform": str(facts.builder)},
        },
    }
    kit: dict[str, Any] = {}
    if asked.full:
        found["buildConfig"] = {"steps": _steps(facts.plans)}
        kit["source"] = _source(facts)
    found["metadata"] = {
        "buildInvocationID": os.urandom(16).hex(),
        "buildStartedOn": _time(facts.began),
        "buildFinishedOn": _time(facts.ended),
        "completeness": {"parameters": asked.full, "environment": True, "materials": _complete(facts)},
        "reproducible": asked.reproducible,
        f"{_TYPE_02}#metadata": kit,
    }
    if _hermetic(facts):
        found["metadata"][f"{_TYPE_02}#hermetic"] = True
    return found


def _request(asked: Provenance, facts: BuildFacts) -> dict[str, Any]:
    """What was asked for; the minimum leaves out what may say too much: build arguments, labels, secrets' names."""
    request: dict[str, Any] = {"frontend": _FRONTEND}
    if asked.full:
        # a proxy is the builder's own affair, as in the history and in the record, and its address may hold a password
        arguments = {
            f"build-arg:{name}": redacted(value)
            for name, value in facts.arguments.items()
            if name.lower() not in PROXY_NAMES
        }
        arguments |= {f"{_LABEL}{name}": redacted(value) for name, value in facts.labels.items()}
        if facts.target:
            arguments["target"] = facts.target
        if arguments:
            request["args"] = dict(sorted(arguments.items()))
        for name, ids in (("secrets", facts.secrets), ("ssh", facts.agents)):
            if ids:
                request[name] = [
                    {"id": key} | ({"optional": True} if optional else {}) for key, optional in sorted(ids.items())
                ]
    if not facts.source:
        request["locals"] = [{"name": "context"}, {"name": "dockerfile"}]
    return request


def _materials(facts: BuildFacts) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"uri": purl(image.ref, image.platform or facts.platform), "digest": {digest.algorithm: digest.hex}}
        for image, digest in facts.images.items()
        if not image.layout
    ]
    found.sort(key=lambda one: str(one["uri"]))
    for remote in dict.fromkeys((*facts.fetched, *_remotes(facts.plans))):
        digest = _digest(facts.fetched.get(remote) or remote.checksum)
        item: dict[str, Any] = {"uri": _uri(remote)} | ({"digest": digest} if digest else {})
        if item not in found:
            found.append(item)
    return found


def _config_source(facts: BuildFacts) -> dict[str, Any]:
    """Where the Dockerfile came from, with the digest of what was fetched."""
    if not facts.source:
        return {}
    for remote, digest in facts.fetched.items():
        if remote in facts.context:
            return {"uri": facts.source, "digest": _digest(digest)}
    return {"uri": facts.source}


def _uri(remote: GitOrigin | HttpOrigin) -> str:
    if isinstance(remote, HttpOrigin):
        return redacted(remote.url)
    return redacted(remote.remote) + (f"#{remote.ref}" if remote.ref else "")


def _digest(text: str) -> dict[str, str]:
    """A commit or a digest as a set of digests; empty for a part of a commit."""
    algorithm, _, digits = text.rpartition(":")
    algorithm = algorithm or {40: "sha1", 64: "sha256"}.get(len(digits), "")
    return {algorithm: digits} if algorithm and digits else {}


def _remotes(plans: Iterable[StagePlan]) -> Iterable[GitOrigin | HttpOrigin]:
    for plan in plans:
        for step in plan.layer_steps:
            if isinstance(step, CopyStep):
                parts = step.origin.parts if isinstance(step.origin, SeveralOrigins) else (step,)
                yield from (part.origin for part in parts if isinstance(part.origin, GitOrigin | HttpOrigin))


def _complete(facts: BuildFacts) -> bool:
    """Whether everything the build took in is among the materials, with a digest."""
    return bool(facts.source) and all("digest" in one for one in _materials(facts))


def _hermetic(facts: BuildFacts) -> bool:
    """Whether no step could use the network, and all that was taken in is known."""
    steps = [step for plan in facts.plans for step in plan.layer_steps if isinstance(step, RunStep)]
    return _complete(facts) and all(step.network == "none" for step in steps)


def _steps(plans: Iterable[StagePlan]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"stage{plan.node.index}:step{number}",
            "stage": plan.node.name or str(plan.node.index),
            "instruction": redacted(step.created_by),
            "line": step.span.line,
        }
        for plan in plans
        for number, step in enumerate(plan.steps)
    ]


def _source(facts: BuildFacts) -> dict[str, Any]:
    text = redacted(facts.text).encode("utf-8", "surrogateescape")
    return {
        "infos": [{"filename": facts.path, "language": "Dockerfile", "data": base64.b64encode(text).decode()}],
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
