"""What the mounts of a RUN show: found and digested for the cache key, and prepared when the step runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, assert_never

import msgspec

from contextkernel.build.secrets import read_secret
from contextkernel.build.ssh_agents import agent_socket
from contextkernel.build.trees import SourceTree
from contextkernel.dockerfile.suggest import did_you_mean
from contextkernel.errors import InvalidInput, SourceNotFound
from contextkernel.model.backing import PrepareRequest, Root
from contextkernel.model.build_inputs import AgentSource, SecretSource
from contextkernel.model.container import Tmpfs
from contextkernel.model.digest import Digest
from contextkernel.model.layers import MakeDirRequest
from contextkernel.model.step_mounts import (
    CacheBind,
    LayerBind,
    SecretFile,
    SecretVariable,
    SocketBind,
    StepMount,
)
from contextkernel.plan import keys
from contextkernel.plan.run_mounts import BindTarget, CacheTarget, RunMount, SecretTarget, SshTarget, TmpfsTarget
from contextkernel.plan.steps import ContextOrigin, CopyStep, Origin, RunStep, ScratchOrigin

if TYPE_CHECKING:
    from contextkernel.build.reporting import StepReport
    from contextkernel.build.tools import Tools
    from contextkernel.model.digest import Digest

_DATA = "/data"


class MountFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the mounts of a build's RUNs are made of.

    Attributes:
        secrets: of the caller, by id.
        agents: of the caller, by id.
        tree: the files of an origin; of a stage that has come to its end.
        lowers: layer directories of an origin that is not the context.
        copy: copies from the context into an empty layer directory; the step's destination is ``/data``.
    """

    secrets: Mapping[str, SecretSource] = msgspec.field(default_factory=dict)
    agents: Mapping[str, AgentSource] = msgspec.field(default_factory=dict)
    tree: Callable[[Origin], SourceTree]
    lowers: Callable[[Origin], tuple[str, ...]]
    copy: Callable[[CopyStep, str, Tools], None]


class RunMounts:
    """The mounts of all RUNs of one build; may be used by several threads.

    Args:
        facts: what they are made of.
    """

    def __init__(self, facts: MountFacts) -> None:
        self._facts = facts
        self._guard = threading.Lock()
        self._digests: dict[tuple[Origin, str], Digest] = {}
        self._copies: dict[tuple[Origin, str], str] = {}
        self._kept: dict[tuple[Origin, str], str] = {}

    # -- for the cache key ------------------------------------------------------------------------

    def contents(self, step: RunStep, *, context_only: bool = False) -> dict[RunMount, Digest]:
        """Digests of what the step's mounts show from elsewhere.

        Args:
            step: the step.
            context_only: only what is in the build context.

        Raises:
            SourceNotFound: a source does not exist, with what was near.
        """
        found: dict[RunMount, Digest] = {}
        for mount in step.mounts:
            if not isinstance(mount, BindTarget | CacheTarget) or mount.origin is None:
                continue
            if not context_only or isinstance(mount.origin, ContextOrigin):
                found[mount] = self._digest(mount.origin, mount.source)
        return found

    def _digest(self, origin: Origin, source: str) -> Digest:
        if isinstance(origin, ScratchOrigin) and source == "/":
            return keys.source_digest([])
        with self._guard:
            known = self._digests.get((origin, source))
        if known is None:
            known = _digest_of(self._facts.tree(origin), source)
            with self._guard:
                self._digests[origin, source] = known
        return known

    # -- for the step itself ----------------------------------------------------------------------

    def prepare(
        self, step: RunStep, directory: str, tools: Tools, report: StepReport, stack: ExitStack
    ) -> tuple[tuple[StepMount, ...], tuple[Tmpfs, ...], tuple[SecretVariable, ...]]:
        """Get everything ready.

        Args:
            step: that is about to run.
            directory: its layer directory; rooms for its mounts are made in ``rooms/`` there.
            tools: of the build.
            report: of the step.
            stack: gives back what was taken (locks, sockets), in the end.

        Returns:
            Mounts, temporary file systems and secret variables.

        Raises:
            InvalidInput: a secret or an agent that is required and was not given, or cannot be had.
        """
        mounts: list[StepMount] = []
        tmpfs: list[Tmpfs] = []
        variables: list[SecretVariable] = []
        caches = self._caches(step, tools, report, stack)
        for number, mount in enumerate(step.mounts):
            room = f"{directory}/rooms/{number}"
            match mount:
                case BindTarget():
                    mounts.append(self._bind(mount, room, tools))
                case CacheTarget():
                    mounts.append(
                        CacheBind(source=caches[mount], target=mount.path, path=mount.source, read_only=mount.read_only)
                    )
                case TmpfsTarget():
                    words = ["exec", *([f"size={mount.size}"] if mount.size else []), *["ro"] * mount.read_only]
                    tmpfs.append(Tmpfs(mount.path, ",".join(words)))
                case SecretTarget():
                    self._secret(mount, mounts, variables)
                case SshTarget():
                    mounts += self._agent(mount, room, stack)
                case _ as never:
                    assert_never(never)
        return tuple(mounts), tuple(tmpfs), tuple(variables)

    def _bind(self, mount: BindTarget, room: str, tools: Tools) -> LayerBind | CacheBind:
        os.makedirs(room)
        lowers: tuple[str, ...]
        if tools.context(mount.origin) is not None:
            lowers, source = (self._context(mount.origin, mount.source, tools),), _DATA
        else:
            lowers, source = self._facts.lowers(mount.origin), mount.source
        if tools.backing == "overlay":
            return LayerBind(target=mount.path, lowers=lowers, source=source, read_only=mount.read_only, room=room)
        os.mkdir(f"{room}/diff")
        root = Root(lowers=lowers, upper=f"{room}/diff", work=f"{room}/work")
        tree = tools.worker.prepare(PrepareRequest(root=root, read_only=mount.read_only)).upper
        return CacheBind(source=tree, target=mount.path, path=source, read_only=mount.read_only)

    def _context(self, origin: Origin, source: str, tools: Tools) -> str:
        """A copy of files of a context that is a directory.

        It has the owners that an image would have, and lacks what is ignored. Made once in a build; it goes with the
        session's other unfinished layers.
        """
        with self._guard:
            known = self._copies.get((origin, source))
            if known is None:
                directory = tools.store.new_layer_dir()
                self._facts.copy(_copy_of(origin, source), directory, tools)
                known = self._copies[origin, source] = directory
        return f"{known}/diff"

    def keep_context(self, origin: Origin, source: str, place: str) -> str:
        """Keep the copy of files of a directory beyond the build: it is moved to ``place`` at its end.

        Returns:
            Where in there the files are.
        """
        with self._guard:
            self._kept[origin, source] = place
        return _DATA

    def close(self, tools: Tools) -> None:
        """Give up the copies, but those that are to be kept."""
        for wanted, place in self._kept.items():
            if wanted in self._copies and os.path.isdir(os.path.dirname(place)):
                os.rename(f"{self._copies[wanted]}/diff", place)
        while self._copies:
            tools.committer.give_up(self._copies.popitem()[1])

    def _caches(self, step: RunStep, tools: Tools, report: StepReport, stack: ExitStack) -> dict[RunMount, str]:
        """The directories of the step's caches; taken in one order by all, so that none waits for another."""
        found: dict[RunMount, str] = {}
        taken: dict[str, str] = {}
        wanted = [(self.identity(mount), mount) for mount in step.mounts if isinstance(mount, CacheTarget)]
        for identity, mount in sorted(wanted, key=lambda pair: pair[0]):
            if identity not in taken:
                waiting = _Waiting(tools, report, mount.id)
                use = tools.store.use_cache_mount(
                    identity, mount.id, mount.sharing, self._maker(mount, tools), waiting.tell
                )
                taken[identity] = stack.enter_context(use)
            found[mount] = taken[identity]
        return found

    def identity(self, mount: CacheTarget) -> str:
        """What makes a cache directory fit: the id, and what a new one starts with."""
        start = f"{mount.mode:o}:{mount.uid}:{mount.gid}"
        if mount.origin is not None and not isinstance(mount.origin, ScratchOrigin):
            start = str(self._digest(mount.origin, "/"))
        return f"{mount.id} {start}"

    def _maker(self, mount: CacheTarget, tools: Tools) -> Callable[[str], None]:
        def make(tree: str) -> None:
            work = f"{os.path.dirname(tree)}/work"
            os.mkdir(work, 0o700)
            origin = mount.origin
            if origin is None or isinstance(origin, ScratchOrigin):
                owner = f"{mount.uid}:{mount.gid}"
                tools.worker.make_dir(
                    MakeDirRequest(lowers=(), upper=tree, work=work, path=_DATA, owner=owner, mode=mount.mode)
                )
            else:
                from contextkernel.model.layers import CopyItem, CopyRequest

                tools.worker.copy(
                    CopyRequest(
                        lowers=(),
                        upper=tree,
                        work=work,
                        source_lowers=self._facts.lowers(origin),
                        items=(CopyItem(source=".", contents=True),),
                        destination=_DATA,
                    )
                )

        return make

    def _secret(self, mount: SecretTarget, mounts: list[StepMount], variables: list[SecretVariable]) -> None:
        content = read_secret(self._facts.secrets, mount.id)
        if content is None:
            if mount.required:
                raise InvalidInput(
                    f"secret {mount.id!r} is required and was not given",
                    hint=did_you_mean(mount.id, list(self._facts.secrets))
                    or f"give it with --secret id={mount.id},src=FILE or --secret id={mount.id},env=VARIABLE",
                )
            return
        if mount.path is not None:
            mounts.append(SecretFile(target=mount.path, content=content, mode=mount.mode, uid=mount.uid, gid=mount.gid))
        if mount.env:
            variables.append(SecretVariable(mount.env, content.decode("utf-8", "surrogateescape")))

    def _agent(self, mount: SshTarget, room: str, stack: ExitStack) -> Iterator[SocketBind]:
        source = self._facts.agents.get(mount.id)
        if source is None:
            if mount.required:
                raise InvalidInput(
                    f"SSH agent {mount.id!r} is required and was not given",
                    hint=f"forward the running agent with --ssh {mount.id}, or a key with --ssh {mount.id}=FILE",
                )
            return
        os.makedirs(room)
        stack.enter_context(agent_socket(mount.id, source, f"{room}/agent"))
        yield SocketBind(source=f"{room}/agent", target=mount.path, mode=mount.mode, uid=mount.uid, gid=mount.gid)


class _Waiting:
    """Says once that a cache is waited for, and stops waiting when the build stops."""

    def __init__(self, tools: Tools, report: StepReport, name: str) -> None:
        self._tools = tools
        self._report = report
        self._name = name
        self._told = False

    def tell(self) -> None:
        self._tools.board.check()
        if not self._told:
            self._told = True
            self._report.note(f"waiting for the cache {self._name}")


def _copy_of(origin: Origin, source: str) -> CopyStep:
    """A COPY of ``source`` to a place of its own."""
    from contextkernel.errors import Span

    nowhere = Span(file="", line=1, end_line=1, end_column=1)
    return CopyStep(
        title="", created_by="", span=nowhere, original="", origin=origin, sources=(source,), destination=_DATA
    )


def _digest_of(tree: SourceTree, source: str) -> Digest:
    """Digest of a file, or of a directory with all there is in it; times do not count, nor does its own name.

    Raises:
        SourceNotFound: there is nothing.
    """
    path = source.strip("/") or "."
    resolved = tree.resolve(path)
    top = tree.get(resolved) if resolved is not None else None
    if resolved is None or top is None:
        raise _not_found(tree, path)
    rows: list[tuple[object, ...]] = []
    for node in tree.below(resolved) if top.kind == "dir" else (top,):
        name = node.path if resolved == "." else node.path[len(resolved) :]
        content = tree.digest(node) if node.kind == "file" else ""
        rows.append((name, node.kind, node.mode, node.uid, node.gid, node.link, content, node.xattrs, node.device))
    return keys.source_digest(rows)


def _not_found(tree: SourceTree, path: str) -> SourceNotFound:
    """With the nearest name, where the path breaks off."""
    directory = "."
    for part in path.split("/"):
        names = tree.children(directory)
        if part not in names:
            where = "" if directory == "." else f" in {directory!r}"
            near = did_you_mean(part, names)
            hint = near or (
                f"{', '.join(names[:8])} {'are' if len(names) > 1 else 'is'} there{where}" if names else None
            )
            ignored = getattr(tree, "is_ignored", None)
            if ignored is not None and ignored(path):
                hint = f".dockerignore leaves it out: take it back with a line !{path}"
            return SourceNotFound(f"mount source {path!r} is not in {tree.label}", hint=hint)
        directory = part if directory == "." else f"{directory}/{part}"
    return SourceNotFound(f"mount source {path!r} is not in {tree.label}: a link on the way leads nowhere")
