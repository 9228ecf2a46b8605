"""What the engine's verbs return: frozen rows that tables, JSON and DataFrames are made from.

Sizes are bytes, times are timezone-aware UTC datetimes, ids are in full; faces humanise them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from contextkernel.model.digest import Digest
from contextkernel.model.explanation import StepExplanation
from contextkernel.model.reference import ImageRef


class ImageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``images``; ``repository`` and ``tag`` are ``<none>`` for untagged images.

    ``origin`` says where the image came from: ``build``, ``pull``, ``load``, ``import``,
    or ``stand-in: mmdebstrap`` / ``stand-in: host files``.
    """

    repository: str
    tag: str
    id: Digest
    created: datetime
    size: int
    origin: str
    layers: int
    digest: str = "<none>"


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``history``, newest first; ``id`` is ``None`` where docker prints ``<missing>``."""

    id: Digest | None
    created: datetime
    created_by: str
    size: int
    comment: str


class PortRow(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a running container; ``public`` is 0 for one that is not published."""

    private: int
    type: str
    address: str = ""
    public: int = 0


class MountRow(msgspec.Struct, frozen=True, kw_only=True):
    """A volume or directory of a container; ``name`` and ``driver`` are empty for a bind mount."""

    name: str = ""
    source: str = ""
    target: str
    driver: str = ""


class ContainerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``ps``.

    ``state`` is docker's word (``created running paused restarting exited dead``), ``started`` and ``finished`` are
    ``None`` until they happen; the humanised STATUS column is made from these and ``health`` by the faces.

    Attributes:
        ports: docker's text for ``port_list``.
        size: bytes the container has written, 0 unless asked for.
        virtual_size: the same with its image.
        network: names of its networks, with commas.
        networks: ids of its networks by name.
        isolation: ``none`` for one that runs without namespaces.
        health: ``starting``, ``healthy`` or ``unhealthy``; empty without a health check.
    """

    id: str
    image: str
    command: str
    created: datetime
    state: str
    exit_code: int
    started: datetime | None
    finished: datetime | None
    ports: str
    name: str
    labels: dict[str, str] = {}
    size: int = 0
    network: str = ""
    image_id: str = ""
    virtual_size: int = 0
    health: str = ""
    networks: dict[str, str] = {}
    mounts: tuple[MountRow, ...] = ()
    port_list: tuple[PortRow, ...] = ()
    isolation: str = ""


class CompareRow(msgspec.Struct, frozen=True, kw_only=True):
    """One image in a comparison.

    Attributes:
        size: all layers.
        layers: number of layers.
        shared: bytes in layers that at least one other compared image has too.
        unique: the rest.
        factor: size of the largest compared image divided by this one's.
    """

    image: str
    size: int
    layers: int
    shared: int
    unique: int
    factor: float


class BaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """What ``base ensure`` did for one reference.

    ``action``: ``present``, ``loaded``, ``pulled``, ``bootstrapped`` or ``assembled``; ``detail`` says it in a
    sentence, with the reason why an earlier way was not possible.
    """

    image: str
    action: str
    stand_in: bool
    size: int
    detail: str


class PushedImage(msgspec.Struct, frozen=True, kw_only=True):
    """What was pushed.

    Attributes:
        name: under which it can be pulled.
        digest: of the manifest, or of the index of an image with attestations.
        size: bytes of that document.
        media_type: of it.
    """

    name: ImageRef
    digest: Digest
    size: int
    media_type: str


class BuildStep(msgspec.Struct, frozen=True, kw_only=True):
    """One executed or cached step of a finished build; ``state`` is ``cached`` or ``done``."""

    step: int
    name: str
    state: str
    seconds: float
    line: int = 0


class BuildResult(msgspec.Struct, frozen=True, kw_only=True):
    """A finished build.

    Attributes:
        image: id of the image: the digest of its configuration.
        stored: it is in the store; false when all outputs went elsewhere.
        explanation: for each step that makes a layer, what the cache had for it, and why.
        metadata: docker's document of ``--metadata-file``: digests and names by docker's keys.
        record: id of the build's record, empty where none is kept.
    """

    image: Digest
    names: tuple[str, ...]
    steps: tuple[BuildStep, ...]
    seconds: float
    warnings: tuple[str, ...] = ()
    record: str = ""
    explanation: tuple[StepExplanation, ...] = ()
    stored: bool = True
    metadata: dict[str, Any] = {}


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """A finished container; output is what went through the engine's pipes, decoded by :attr:`stdout_text`.

    ``left_out``: bytes from the beginning of ``stdout`` and ``stderr`` that are not in them, because somebody took the
    output as it came, and there was much of it.
    """

    id: str
    name: str
    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    left_out: int = 0

    @property
    def stdout_text(self) -> str:
        """Standard output as text; undecodable bytes become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def stderr_text(self) -> str:
        """Standard error as text; undecodable bytes become U+FFFD."""
        return self.stderr.decode("utf-8", "replace")


class ProcessTable(msgspec.Struct, frozen=True, kw_only=True):
    """What ``top`` shows: headings, and a line of text cells for each process."""

    titles: tuple[str, ...]
    processes: tuple[tuple[str, ...], ...]


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What a ``prune`` removed: ids or names, and the bytes that this gave back."""

    removed: tuple[str, ...]
    size: int


class CheckFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that ``system check`` found wrong; ``repaired`` when it was also put right."""

    what: str
    where: str
    repaired: bool = False


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One thing found out about the host by trying it, or a conclusion from several.

    Attributes:
        name: e.g. ``user_namespace``; a name's meaning never changes.
        verdict: ``works``, ``limited`` (it works with a limit) or ``refused``.
        reason: what was found, or what failed and why; for a reader.
        remedy: the first thing to do that would change it; empty if there is none.
        milliseconds: the time it took to try; 0 for conclusions.
        errno: symbol of the error that the kernel gave, e.g. ``EPERM``; empty if there was none.
        cause: why it was refused or is limited, in plain words, as far as the circumstances tell.
        who: who could change it: ``you`` (also as the one who writes the image), ``operator`` (whoever starts the
            container or the hub), ``administrator`` (of the machine and its kernel); empty if nobody has to.
        group: what it belongs to: ``conclusions``, ``namespaces``, ``files``, ``confinement``, ``resources``,
            ``network`` or ``programs``.
        about: what was tried, and what it is for.
    """

    name: str
    verdict: str
    reason: str = ""
    remedy: str = ""
    milliseconds: float = 0.0
    errno: str = ""
    cause: str = ""
    who: str = ""
    group: str = ""
    about: str = ""


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """Something that would make a host allow more.

    Attributes:
        fact: name of the fact that it changes.
        who: can do it: ``you``, ``operator`` or ``administrator`` (see :class:`Fact`).
        where: what the text is for: ``shell`` (a terminal here), ``dockerfile`` (of the image that this runs in),
            ``apt.txt`` (of a Binder repository), ``docker`` (the command that starts the container), ``kubernetes``
            (the pod's manifest), ``kubespawner`` (``jupyterhub_config.py``), ``node`` (a terminal of the machine).
        text: to be copied.
        gives: what is better afterwards.
    """

    fact: str
    who: str
    where: str
    text: str
    gives: str = ""


class HostReport(msgspec.Struct, frozen=True, kw_only=True):
    """What this host allows: the facts, and the tier that summarises them (DESIGN: host/).

    Attributes:
        tier: ``rootful``, ``rootless``, ``rootless-single``, ``ptrace`` or ``analysis``.
        facts: all of them, in a fixed order.
        remedies: what would allow more, the most useful first.
        build, run: what the facts mean for builds and for containers; sentences.
        milliseconds: what finding out took, the start of the process that tried included.
    """

    tier: str
    facts: tuple[Fact, ...]
    remedies: tuple[Remedy, ...] = ()
    build: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    milliseconds: float = 0.0

    def works(self, name: str) -> bool:
        """Whether the fact ``name`` was found to work (fully or limited)."""
        return any(fact.name == name and fact.verdict != "refused" for fact in self.facts)

    def fact(self, name: str) -> Fact | None:
        """The fact ``name``, if the report has it."""
        return next((fact for fact in self.facts if fact.name == name), None)
