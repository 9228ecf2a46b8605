"""Keeps account of what a build asks the cache for, and tells why a step was not there.

The accounts go into the store when the build ends, successful or not, so that the next build can be told what changed.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import assert_never

import msgspec

from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.ports import BuildStore
from contextkernel.errors import InvalidInput, StoreProblem
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.explanation import KeyChange, Reason, StepExplanation
from contextkernel.model.results import BuildStep
from contextkernel.plan import explain, keys
from contextkernel.plan.explain import Listing, StepInputs
from contextkernel.plan.run_mounts import RunMount
from contextkernel.plan.stage import StagePlan
from contextkernel.plan.steps import CopyStep, ImageOrigin, LayerStep, RunStep, StageOrigin, WorkdirStep
from contextkernel.store.step_notes import StepDocument, StepNote, StepPlace

_MOST = 64 << 20  # a stored listing that unpacks to more than this is not ours


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told of a step."""

    state: str
    reason: Reason = ""
    difference: explain.Difference = explain.Difference()
    earlier: str = ""


class AskedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of this build and the key that its result is found under."""

    stage: int
    position: int
    key: str


class Explainer:
    """The account of one build; its stages may be executed side by side.

    Args:
        store: remembers earlier builds.
        scope: what this build is: context directory and name of the Dockerfile.
        plans: all stages by position.
        images: which image each name stands for.
    """

    def __init__(
        self,
        store: BuildStore,
        scope: tuple[str, ...],
        plans: Mapping[int, StagePlan],
        images: Mapping[ImageOrigin, Digest],
    ) -> None:
        self._store = store
        self._scope = scope
        self._plans = plans
        self._images = images
        self._lock = threading.Lock()
        self._notes: dict[tuple[str, int], StepNote] = {}
        self._verdicts: dict[str, _Verdict] = {}
        self._asked: dict[tuple[int, int], str] = {}

    def stage(self, index: int) -> StageAccount:
        """The account of the stage at a position."""
        plan = self._plans[index]
        scope = str(Digest.of(json.dumps([*self._scope, plan.node.name or index]).encode()).hex[:32])
        match plan.node.base:
            case ImageOrigin(ref=ref) as image:
                base = (ref.familiar, str(self._images.get(image, "")))
            case StageOrigin(index=below):
                base = (f"stage {self._plans[below].node.name or below}", "")
            case _:
                base = ("scratch", "")
        return StageAccount(self, self._store, scope, plan, base)

    def told(self, title: str, verdict: _Verdict) -> None:
        """Keep what is to be told of the step with a title; the last word counts."""
        with self._lock:
            self._verdicts[title] = verdict

    def noted(self, note: StepNote) -> None:
        """Keep a note for the store."""
        with self._lock:
            self._notes[note.place.scope, note.place.position] = note

    def asked(self) -> tuple[AskedStep, ...]:
        """The steps of the build, stage by stage, each with its last key."""
        with self._lock:
            return tuple(
                AskedStep(stage=stage, position=position, key=key)
                for (stage, position), key in sorted(self._asked.items())
            )

    def keyed(self, stage: int, position: int, key: Digest) -> None:
        """Keep the key of a step."""
        with self._lock:
            self._asked[stage, position] = str(key)

    def flush(self) -> None:
        """Hand the notes to the store; explanations are not worth failing a build for."""
        with self._lock:
            notes, self._notes = list(self._notes.values()), {}
        with suppress(StoreProblem):
            self._store.note_steps(notes)

    def rows(self, steps: Iterable[BuildStep]) -> tuple[StepExplanation, ...]:
        """One row per step of the build that the cache was asked for, in the order of their numbers."""
        found = []
        for step in sorted(steps, key=lambda one: one.step):
            verdict = self._verdicts.get(step.name)
            if verdict is None:
                continue
            difference = verdict.difference
            found.append(
                StepExplanation(
                    step=step.step,
                    name=step.name,
                    line=step.line,
                    state="hit" if verdict.state == "hit" else "miss",
                    reason=verdict.reason,
                    detail=explain.sentence(verdict.reason, difference, earlier=verdict.earlier),
                    changes=difference.changes,
                    more=difference.more,
                )
            )
        return tuple(found)


class StepAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A step on its way through the cache.

    Attributes:
        inputs: makes the inputs of its key.
        content: digest of what it copies, empty for nothing.
        listing: makes the list of the copied files.
    """

    title: str
    place: StepPlace
    inputs: Callable[[], StepInputs]
    content: str = ""
    listing: Callable[[], Listing]


class StageAccount:
    """The account of one stage; used by one thread."""

    def __init__(
        self, explainer: Explainer, store: BuildStore, scope: str, plan: StagePlan, base: tuple[str, str]
    ) -> None:
        self._explainer = explainer
        self._store = store
        self._scope = scope
        self._plan = plan
        self._base = base
        self._positions = {step: number for number, step in enumerate(plan.layer_steps, 1)}
        self._missed = ""

    def begin(self, identity: Digest) -> None:
        """Say what the stage starts from: it differs from the last time, or not."""
        name, known = self._base
        self._base = (name, known or str(identity))
        if not self._plan.from_title:
            return
        place = StepPlace(scope=self._scope, position=0, text=_text(self._plan.node.original))
        earlier = self._store.earlier_step(place, anywhere=False)
        changes: tuple[KeyChange, ...] = ()
        if earlier is not None and earlier[0] != self._base[1]:
            changes = (KeyChange(input="base", name=name, old=earlier[0], new=self._base[1]),)
        verdict = _Verdict(state="hit")
        if changes:
            verdict = _Verdict(state="miss", reason="changed", difference=explain.Difference(changes=changes))
        self._explainer.told(self._plan.from_title, verdict)
        self._explainer.noted(StepNote(place=place, key=self._base[1]))

    def step(
        self, step: LayerStep, copy: ResolvedCopy | None, mounted: Mapping[RunMount, Digest] | None = None
    ) -> StepAccount:
        """The account of the next step; its inputs are looked at only if somebody wants to know."""
        content = str(copy.content) if isinstance(step, CopyStep) and copy is not None else ""
        return StepAccount(
            title=step.title,
            place=StepPlace(scope=self._scope, position=self._positions[step], text=_text(step.original)),
            inputs=lambda: self._inputs(step, copy, mounted),
            content=content,
            listing=lambda: _listing(copy),
        )

    def _inputs(
        self, step: LayerStep, copy: ResolvedCopy | None, mounted: Mapping[RunMount, Digest] | None
    ) -> StepInputs:
        arguments: tuple[str, ...] = ()
        match step:
            case RunStep():
                kind, inputs, arguments = "run", keys.run_inputs(step, mounted), step.arguments
            case CopyStep():
                assert copy is not None  # noqa: S101 - every copy was resolved
                kind, inputs = "copy", keys.copy_inputs(step, copy.content)
            case WorkdirStep():
                kind, inputs = "workdir", keys.workdir_inputs(step)
            case _ as never:
                assert_never(never)
        base, base_id = self._base
        return StepInputs(kind=kind, inputs=explain.compact(inputs), arguments=arguments, base=base, base_id=base_id)

    def hit(self, account: StepAccount) -> None:
        """It was found."""
        self._explainer.told(account.title, _Verdict(state="hit"))

    def shared(self, account: StepAccount) -> None:
        """It was not found, and taken from an equal step of another stage."""
        self.hit(account)
        if self._missed == account.title:
            self._missed = ""

    def unasked(self, account: StepAccount) -> None:
        """The cache was not asked, because the user did not want it."""
        self._explainer.told(account.title, _Verdict(state="miss", reason="no-cache"))
        self._missed = self._missed or account.title

    def miss(self, account: StepAccount, key: Digest | None) -> None:
        """It was not found.

        Args:
            account: of the step.
            key: that was asked for; ``None`` after an earlier miss, when what lies below is not known yet.
        """
        self._explainer.told(account.title, self._verdict(account, key))
        self._missed = self._missed or account.title

    def asked(self, account: StepAccount, key: Digest, parent: Digest) -> None:
        """Its result is, or is going to be, recorded under ``key``, on top of ``parent``."""
        self._explainer.keyed(self._plan.node.index, account.place.position, key)

        def make(stored: Callable[[str], bool]) -> StepDocument:
            inputs = msgspec.structs.replace(account.inputs(), parent=str(parent))
            listing = None
            if account.content and not stored(account.content):
                listing = zlib.compress(to_json(account.listing()), 1)
            return StepDocument(document=zlib.compress(to_json(inputs), 1), content=account.content, listing=listing)

        self._explainer.noted(StepNote(place=account.place, key=str(key), make=make, description=account.title))

    def _verdict(self, account: StepAccount, key: Digest | None) -> _Verdict:
        if key is not None and self._store.knows_step(key):
            return _Verdict(state="miss", reason="pruned")
        earlier = self._store.earlier_step(account.place)
        old = _inputs(earlier[1]) if earlier else None
        new = account.inputs()
        if old is None or old.kind != new.kind:
            return _Verdict(state="miss", reason="new")
        files: tuple[Listing | None, Listing | None] = (None, None)
        content = old.inputs.get("content")
        if account.content and isinstance(content, str) and content != account.content:
            files = (_unpacked(self._store.step_listing(content)), account.listing())
        difference = explain.compare(old, new, *files)
        if difference.changes:
            return _Verdict(state="miss", reason="changed", difference=difference)
        if self._missed:
            return _Verdict(state="miss", reason="parent", earlier=self._missed)
        base = explain.base_change(old, new)
        return _Verdict(state="miss", reason="parent", difference=explain.Difference(changes=base))


def _text(instruction: str) -> str:
    return Digest.of(instruction.encode("utf-8", "surrogateescape")).hex[:32]


def _inputs(document: bytes | None) -> StepInputs | None:
    if document is None:
        return None
    try:
        return from_json(_inflate(document), StepInputs)
    except (zlib.error, msgspec.DecodeError, InvalidInput):
        return None  # written by another version


def _unpacked(document: bytes | None) -> Listing | None:
    if document is None:
        return None
    try:
        return from_json(_inflate(document), dict[str, str])
    except (zlib.error, msgspec.DecodeError):
        return None


def _inflate(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, _MOST)


def _listing(copy: ResolvedCopy | None) -> Listing:
    """The files of a copy by path, with everything that counts of each in one short text."""
    found: Listing = {}
    for prefix, rows in copy.groups if copy else ():
        for row in rows:
            if len(found) >= explain.MAX_LISTED:
                return found
            path = (prefix + str(row[0])).lstrip("/") or "."
            found[path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")] = _row_text(row)
    return found


def _row_text(row: tuple[object, ...]) -> str:
    if len(row) < 9:  # a here-document: its name, and its digest
        return str(row[-1])[:19]
    _, kind, mode, uid, gid, link, content, *rest = row
    tail = f" {str(content)[:12]}" if content else f" -> {link}" if link else ""
    more = "" if rest == [(), (0, 0)] else f" {Digest.of(repr(rest).encode()).hex[:8]}"
    text = f"{kind} {mode:o} {uid}:{gid}{tail}{more}"
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
