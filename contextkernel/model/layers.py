"""Layers as values: the layer index entry, a stored layer, and the requests that make new ones."""

from __future__ import annotations

from typing import Literal

import msgspec

from contextkernel.model.digest import Digest

EntryKind = Literal["file", "dir", "symlink", "char", "block", "fifo", "whiteout", "opaque", "hardlink"]


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One row of a layer index.

    Attributes:
        path: relative, ``/``-separated, no leading slash, no ``.`` or ``..``; the layer's root directory is ``"."``.
            Bytes that are not UTF-8 are carried as surrogate escapes -> encoded with ``os.fsencode`` when packed
            (the index file stores them as ``bytes``-safe text, see layer/index.py).
        kind: ``whiteout``: the path is removed; ``opaque``: the directory hides all of the layers below
            (its own ``dir`` entry is separate); ``hardlink``: ``link`` names the path of the first name.
        mode: permission bits including setuid, setgid and sticky (no type bits).
        uid, gid: as the image says, whatever the host can store.
        size: bytes of a regular file, else 0.
        mtime: nanoseconds since the epoch.
        link: symlink target or hard link's first path.
        digest: sha256 hex of a regular file's content, else empty.
        xattrs: name to value; overlay's own and ``security.selinux`` are not kept.
        major, minor: of device nodes.
    """

    path: str
    kind: EntryKind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: str = ""
    digest: str = ""
    xattrs: dict[str, bytes] = {}
    major: int = 0
    minor: int = 0


class LayerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a layer once it is complete.

    Attributes:
        diff_id: digest of the uncompressed tar.
        size: as docker counts a layer: content bytes of files and symlinks, hard links once.
        entries: number of index rows.
        reproducible: of an unpacked archive: the layer renders to the very archive that it came from, so that
            no copy of that is needed.
        packed: of an unpacked archive: the digest of what was read, compressed or not.
        packed_size: bytes of that.
        compression: of that: ``gzip``, ``zstd``, ``bzip2`` or ``xz``, empty for none.
    """

    diff_id: Digest
    size: int
    entries: int
    reproducible: bool = False
    packed: Digest | None = None
    packed_size: int = 0
    compression: str = ""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer in the store.

    Attributes:
        directory: absolute path of the directory that holds ``diff/`` and ``index``.
        blob: digest of the original blob that is kept for layers that came from outside, else ``None``:
            then the tar is rendered from ``diff/`` and ``index``.
    """

    diff_id: Digest
    directory: str
    size: int
    entries: int
    blob: Digest | None = None
    media_type: str = ""

    @property
    def diff(self) -> str:
        """The unpacked tree, an overlay lower directory."""
        return f"{self.directory}/diff"

    @property
    def index(self) -> str:
        """The layer index file."""
        return f"{self.directory}/index"


class CopyItem(msgspec.Struct, frozen=True, kw_only=True):
    """One resolved source of a COPY or ADD.

    Attributes:
        source: path relative to the source root; ``"."`` for the root itself.
        contents: the source is a directory whose *contents* are copied (docker's rule for directories).
        extract: unpack the file as a tar archive at the destination (ADD of a local archive).
        name: name to give the file when the destination is a directory; empty keeps the source's.
        data: content of a heredoc file; then there is no source file.
        include: a pattern (as in ignore files) below the source directory: only what matches is copied, with the
            directories it lies in; ``None`` for everything.
    """

    source: str
    contents: bool = False
    extract: bool = False
    name: str = ""
    data: bytes | None = None
    include: str | None = None


class CopyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Copy files into a new layer on top of ``lowers``; done by the layer worker in the container's ids.

    Attributes:
        lowers: layer ``diff`` directories of the stage so far, base first.
        upper, work: the new layer's directories for overlay.
        source_root: directory of the build context, or ``None``.
        source_lowers: layer ``diff`` directories of the stage or image copied from, base first.
        excludes: paths relative to the source root that the ignore file leaves out, exact paths.
        exclude: patterns (as in ignore files), relative to each source directory, of what is left out.
        destination: absolute path in the image, already joined with WORKDIR; ``directory`` says it ended in ``/``
            (or is ``.``) or there are several sources.
        chown: ``user[:group]``, names resolved in the *destination* image's /etc/passwd and /etc/group;
            empty: 0:0 for a context, kept for ``--from``.
        chmod: mode of everything copied, octal or symbolic (model/modes.py); empty keeps the source's.
        link: nothing is below: names of owners cannot be resolved.
    """

    lowers: tuple[str, ...]
    upper: str
    work: str
    source_root: str | None = None
    source_lowers: tuple[str, ...] = ()
    items: tuple[CopyItem, ...] = ()
    excludes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    destination: str
    directory: bool = False
    chown: str = ""
    chmod: str = ""
    link: bool = False


class MakeDirRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Create a directory and its parents (WORKDIR) with this mode, owned by ``owner`` (names resolved inside).

    Attributes:
        mtime: time of the directories that are made, in nanoseconds; ``None``: now.
    """

    lowers: tuple[str, ...]
    upper: str
    work: str
    path: str
    owner: str = ""
    mode: int = 0o755
    mtime: int | None = None


class PopulateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Give a new volume what an image has at its place; done by the layer worker in the container's ids.

    Attributes:
        lowers: layer ``diff`` directories of the image, base first.
        target: absolute path in the image; links in it are followed inside of it.
        directory: the volume's; nothing is done if anything is in it.
        room: a directory of the store in which something can be mounted for a moment.
    """

    lowers: tuple[str, ...]
    target: str
    directory: str
    room: str


class ExtraFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is added to exported ones: clean relative path, content, permission bits, nanoseconds."""

    path: str
    data: bytes
    mode: int = 0o600
    mtime: int = 0


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Write what a stack of layers looks like, as files or as one tar; done by the layer worker.

    Attributes:
        layers: layer directories, base first.
        prefix: directory of the output that everything is put into; empty for none.
        mtime: nanoseconds that every entry gets as its time; ``None`` keeps the layers' own.
        extras: further files.
        delete: of a directory: remove what is there and not in the layers.
        only: the files to write, without their directories; empty for everything.
        more: of a tar: another one follows in the same stream, so that its end is not written.
    """

    layers: tuple[str, ...]
    prefix: str = ""
    mtime: int | None = None
    extras: tuple[ExtraFile, ...] = ()
    delete: bool = False
    only: tuple[str, ...] = ()
    more: bool = False
