"""What a build reads before it begins: the Dockerfile, directories with their ignore files, sources in the context."""

from __future__ import annotations

import os
from collections.abc import Mapping

from contextkernel.build.checking import Checker
from contextkernel.build.context import DirectoryContext
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.origin_files import OriginFiles
from contextkernel.build.ports import BuildStore
from contextkernel.build.reporting import BuildReport, bytes_text
from contextkernel.build.request import BuildRequest
from contextkernel.build.run_mounts import RunMounts
from contextkernel.build.sources import read_ignore
from contextkernel.build.tools import placed
from contextkernel.dockerfile.ignore import IgnoreMatcher, parse_ignore
from contextkernel.dockerfile.instructions import Dockerfile
from contextkernel.dockerfile.parse import assemble, read_instructions
from contextkernel.errors import InvalidInput, SourceNotFound
from contextkernel.plan.checks import Subject
from contextkernel.plan.stage import StagePlan
from contextkernel.plan.steps import ContextOrigin, CopyStep, Origin, RunStep, origins_of


def load_dockerfile(request: BuildRequest, subject: Subject, report: BuildReport) -> tuple[Dockerfile, Checker]:
    """Read the Dockerfile.

    Args:
        request: has its text.
        subject: how it is built, for the checks.
        report: receives a step, and what is found in a file that cannot be read.

    Returns:
        What it says, and what checks it further.

    Raises:
        DockerfileError: it cannot be read.
    """
    name, text = request.dockerfile_name, request.dockerfile or ""
    with report.step(f"[internal] load build definition from {name.rpartition('/')[2]}") as step:
        size = len(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
        step.note(f"transferring dockerfile: {bytes_text(size)}")
        reading = read_instructions(text, file=name)
        checks = Checker(reading, subject, report)
        if reading.problem is not None:
            checks.broken()
        return assemble(reading), checks


def load_context(
    request: BuildRequest, store: BuildStore, report: BuildReport
) -> tuple[DirectoryContext, tuple[str, ...]]:
    """The build context, where it is a directory or nothing.

    Args:
        request: says where it is.
        store: remembers digests of its files.
        report: receives a step.

    Returns:
        The context, and the patterns of its ignore file.

    Raises:
        InvalidInput: the ignore file cannot be read, or is not valid.
    """
    if request.context is None:
        return DirectoryContext(None, IgnoreMatcher(()), store), ()
    with report.step("[internal] load .dockerignore") as step:
        found = read_ignore(request.context, request.dockerfile_name)
        step.note(f"transferring context: {bytes_text(len(found[0]) if found else 2)}")
        patterns, matcher = _ignoring(found)
        return DirectoryContext(request.context, matcher, store), patterns


def load_named(name: str, path: str, store: BuildStore, report: BuildReport) -> DirectoryContext:
    """A named context that is a directory, seen through the ignore file at its root.

    Args:
        name: of the context.
        path: of the directory.
        store: remembers digests of its files.
        report: receives a step.

    Raises:
        SourceNotFound: there is no such directory. InvalidInput: its ignore file is not valid.
    """
    with report.step(f"[context {name}] load .dockerignore"):
        if not os.path.isdir(path):
            what = "is not a directory" if os.path.exists(path) else "does not exist"
            raise SourceNotFound(f"build context {name}={path}: it {what}")
        _, matcher = _ignoring(read_ignore(path, ""))
        return DirectoryContext(path, matcher, store, label=f"the build context {name!r}")


def _ignoring(found: tuple[bytes, str] | None) -> tuple[tuple[str, ...], IgnoreMatcher]:
    """The patterns of an ignore file that was found, and what they leave out."""
    if found is None:
        return (), IgnoreMatcher(())
    content, file = found
    patterns = parse_ignore(content)
    try:
        return patterns, IgnoreMatcher(patterns)
    except InvalidInput as problem:
        raise InvalidInput(f"{file}: {problem.problem}", hint=problem.hint) from None


def find_copies(
    plans: Mapping[int, StagePlan],
    contexts: Mapping[Origin, DirectoryContext],
    files: OriginFiles,
    mounts: RunMounts,
    source: str,
    report: BuildReport,
) -> dict[CopyStep, ResolvedCopy]:
    """Sources in the context: all of them before anything runs, so that a missing one costs no time.

    Args:
        plans: of the stages.
        contexts: the directories; what was read of them is remembered.
        files: finds what the steps copy.
        mounts: of the RUNs.
        source: the Dockerfile's text.
        report: receives a step, and warnings.

    Raises:
        SourceNotFound: one is missing; with its place in the Dockerfile.
    """
    users = [step for plan in plans.values() for step in plan.layer_steps if ContextOrigin() in origins_of(step)]
    steps = [step for step in users if isinstance(step, CopyStep)]
    mounting = [step for step in users if isinstance(step, RunStep)]
    reading = [step for step in steps if step.sources]
    found = {step: files.copy(step, plans) for step in steps if not step.sources}
    if reading or mounting:
        with report.step("[internal] load build context") as one:
            for step in reading:
                with placed(step, source):
                    found[step] = files.copy(step, plans)
            for run in mounting:
                with placed(run, source):
                    mounts.contents(run, context_only=True)
            for context in contexts.values():
                context.remember()
            size = sum(context.transferred for context in contexts.values())
            one.note(f"transferring context: {bytes_text(size)}")
    for step, copy in found.items():
        report.unmatched(step, copy.unmatched)
    return found
