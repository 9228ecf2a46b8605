"""What was pushed, in files: an OCI image layout that other tools can read, and beside it who has what.

::

    ROOT/oci-layout, index.json      every tag of every repository, named ``team/demo:v1``
    ROOT/blobs/sha256/HEX            content, each once for all repositories
    ROOT/repositories/team/demo/_blobs/sha256-HEX            empty: the repository has this blob
                               /_manifests/sha256-HEX        descriptor of a manifest
                               /_tags/v1                     digest
                               /_referrers/sha256-HEX/sha256-HEX   descriptor of a manifest that refers to the first
    ROOT/uploads/                    what is on its way

No part of a repository's name begins with ``_`` (distribution-spec), so the two cannot meet. Every file appears
complete by a rename; nothing is kept in memory, so a killed server loses nothing that it has answered for.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from contextkernel.errors import InvalidDigest
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import MEDIA_INDEX, Descriptor, Index
from contextkernel.registry_server.content import Entry
from contextkernel.registry_server.manifests import named_by
from contextkernel.registry_server.refusals import Refusal, unknown_blob, unknown_manifest, unknown_repository

REF_NAME = "org.opencontainers.image.ref.name"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_FRESH = 3600.0  # seconds for which a blob without a manifest waits for one, across a restart
_OWN = ("_blobs", "_manifests", "_tags", "_referrers")


class Storage:
    """See the module. One process has it at a time; its threads share it.

    Args:
        root: absolute path of its directory; made by :meth:`prepare`.
    """

    writable = True

    def __init__(self, root: str) -> None:
        self.root = root
        self.uploads = f"{root}/uploads"
        self._repositories = f"{root}/repositories"
        self._lock = threading.RLock()  # changes one after the other

    @property
    def changing(self) -> threading.RLock:
        """To be held by who looks at something that must stay so until it is changed."""
        return self._lock

    def prepare(self) -> None:
        """Make what is missing, and remove what an earlier life left over: uploads, blobs that nothing names.

        Raises:
            OSError: it cannot be used.
        """
        for path in (self._repositories, self.uploads, f"{self.root}/blobs/sha256", f"{self.root}/blobs/sha512"):
            os.makedirs(path, 0o700, exist_ok=True)
        for name in os.listdir(self.uploads):
            os.unlink(f"{self.uploads}/{name}")
        self._replace(f"{self.root}/oci-layout", _LAYOUT)
        self._collect()
        self._write_index()

    # ---- reading

    def repositories(self) -> list[str]:
        """See ``Content``."""
        return sorted(name for name, path in self._walk() if _names(f"{path}/_manifests"))

    def tags(self, name: str) -> list[str] | None:
        """See ``Content``."""
        if not self._known(name):
            return None
        return sorted(_names(f"{self._path(name)}/_tags"))

    def manifest(self, name: str, reference: Digest | str) -> tuple[Entry, bytes] | None:
        """See ``Content``."""
        digest = reference if isinstance(reference, Digest) else self._tagged(name, reference)
        entry = None if digest is None else self._entry(name, digest)
        if entry is None:
            return None
        try:
            with open(self._blob(entry.digest), "rb") as file:
                return entry, file.read()
        except FileNotFoundError:
            return None

    def blob(self, name: str, digest: Digest) -> str | None:
        """See ``Content``."""
        path = self._blob(digest)
        return path if os.path.exists(f"{self._path(name)}/_blobs/{_file(digest)}") and os.path.exists(path) else None

    def anywhere(self, digest: Digest) -> bool:
        """Whether any repository has this blob."""
        return any(os.path.exists(f"{path}/_blobs/{_file(digest)}") for _, path in self._walk())

    def referrers(self, name: str, subject: Digest, after: str = "") -> Iterator[Entry]:
        """See ``Content``."""
        folder = f"{self._path(name)}/_referrers/{_file(subject)}"
        for one in sorted(_names(folder)):
            entry = _read(f"{folder}/{one}") if one > after.replace(":", "-", 1) else None
            if entry is not None:
                yield entry

    def size(self) -> int:
        """Bytes of all content."""
        total = 0
        for path in self._blob_files():
            with suppress(FileNotFoundError):  # deleted meanwhile
                total += os.lstat(path).st_size
        return total

    def listing(self) -> list[tuple[str, str, int]]:
        """Repository, tag, and when it was set (nanoseconds since the epoch), of every tag, sorted."""
        found = []
        for name, path in self._walk():
            for tag in _names(f"{path}/_tags"):
                with suppress(FileNotFoundError):
                    found.append((name, tag, os.stat(f"{path}/_tags/{tag}").st_mtime_ns))
        return sorted(found)

    # ---- writing

    def take_blob(self, name: str, digest: Digest, path: str) -> None:
        """Let a finished file be a blob of a repository; it is moved.

        Args:
            name: of the repository.
            digest: which the file has.
            path: of the file, in this storage's ``uploads``, synchronised.
        """
        with self._lock:
            os.replace(path, self._blob(digest))
            self._replace(f"{self._path(name)}/_blobs/{_file(digest)}", b"")

    def mount(self, name: str, digest: Digest, source: str | None) -> bool:
        """Let a repository have a blob that another one has.

        Args:
            name: who gets it.
            digest: of the blob.
            source: who has it; ``None``: whoever.

        Returns:
            Whether it was there to be had.
        """
        with self._lock:
            if self.blob(source, digest) is None if source is not None else not self.anywhere(digest):
                return False
            self._replace(f"{self._path(name)}/_blobs/{_file(digest)}", b"")
            return True

    def put_manifest(
        self, name: str, entry: Entry, data: bytes, tags: Sequence[str] = (), subject: Digest | None = None
    ) -> None:
        """Keep a manifest, which was checked, and name it.

        Args:
            name: of the repository.
            entry: what is known of it.
            data: its bytes.
            tags: to set.
            subject: the manifest that it refers to.
        """
        with self._lock:
            folder = self._path(name)
            self._replace(self._blob(entry.digest), data, durable=True)
            self._replace(f"{folder}/_manifests/{_file(entry.digest)}", to_json(entry))
            if subject is not None:
                self._replace(f"{folder}/_referrers/{_file(subject)}/{_file(entry.digest)}", to_json(entry))
            for tag in tags:
                self._replace(f"{folder}/_tags/{tag}", str(entry.digest).encode())
            if tags:
                self._write_index()

    def delete_tag(self, name: str, tag: str) -> None:
        """Take a tag away; the manifest stays.

        Raises:
            Refusal: there is no such tag.
        """
        with self._lock:
            try:
                os.unlink(f"{self._path(name)}/_tags/{tag}")
            except FileNotFoundError:
                raise unknown_manifest(tag) if self._known(name) else unknown_repository(name) from None
            self._write_index()

    def delete_manifest(self, name: str, digest: Digest) -> None:
        """Remove a manifest and its tags.

        Raises:
            Refusal: there is no such manifest.
        """
        with self._lock:
            folder = self._path(name)
            found = self.manifest(name, digest)
            if found is None:
                raise unknown_manifest(digest) if self._known(name) else unknown_repository(name)
            for tag in _names(f"{folder}/_tags"):
                if self._tagged(name, tag) == digest:
                    os.unlink(f"{folder}/_tags/{tag}")
            subject = named_by(found[1]).subject
            if subject is not None:
                _forget(f"{folder}/_referrers/{_file(subject)}/{_file(digest)}")
            _forget(f"{folder}/_manifests/{_file(digest)}")
            self._drop(digest)
            self._write_index()

    def delete_blob(self, name: str, digest: Digest) -> None:
        """Take a blob away from a repository; its file goes with the last one that has it.

        Raises:
            Refusal: the repository has no such blob.
        """
        with self._lock:
            if self.blob(name, digest) is None:
                raise unknown_blob(digest)
            _forget(f"{self._path(name)}/_blobs/{_file(digest)}")
            self._drop(digest)

    # ---- inside

    def _path(self, name: str) -> str:
        return f"{self._repositories}/{name}"

    def _blob(self, digest: Digest) -> str:
        return f"{self.root}/blobs/{digest.algorithm}/{digest.hex}"

    def _known(self, name: str) -> bool:
        return any(os.path.isdir(f"{self._path(name)}/{own}") for own in _OWN)

    def _tagged(self, name: str, tag: str) -> Digest | None:
        try:
            with open(f"{self._path(name)}/_tags/{tag}", encoding="ascii") as file:
                return Digest(file.read())
        except (FileNotFoundError, NotADirectoryError, InvalidDigest, UnicodeDecodeError):
            return None

    def _entry(self, name: str, digest: Digest) -> Entry | None:
        return _read(f"{self._path(name)}/_manifests/{_file(digest)}")

    def _walk(self) -> Iterator[tuple[str, str]]:
        """Name and path of every repository."""
        waiting = [""]
        while waiting:
            name = waiting.pop()
            path = self._path(name) if name else self._repositories
            inner = _names(path)
            waiting += [f"{name}/{one}" if name else one for one in inner if not one.startswith("_")]
            if name and any(one in _OWN for one in inner):
                yield name, path

    def _blob_files(self) -> Iterator[str]:
        for algorithm in ("sha256", "sha512"):
            folder = f"{self.root}/blobs/{algorithm}"
            yield from (f"{folder}/{name}" for name in _names(folder))

    def _drop(self, digest: Digest) -> None:
        """Remove content that no repository has any more."""
        name = _file(digest)
        if not any(
            os.path.exists(f"{path}/{own}/{name}") for _, path in self._walk() for own in ("_blobs", "_manifests")
        ):
            _forget(self._blob(digest))

    def _collect(self) -> None:
        """Remove blobs that no manifest of their repository names, and content that no repository has."""
        old = time.time() - _FRESH
        kept: set[str] = set()
        for name, path in self._walk():
            manifests = set(_names(f"{path}/_manifests"))
            named: set[str] = set()
            for one in manifests:
                found = self.manifest(name, _digest(one))
                if found is not None:
                    named |= {_file(part.digest) for part in named_by(found[1]).blobs}
            for one in _names(f"{path}/_blobs"):
                marker = f"{path}/_blobs/{one}"
                if one in named or os.lstat(marker).st_mtime > old:
                    kept.add(one)
                else:
                    os.unlink(marker)
            kept |= manifests
        for path in list(self._blob_files()):
            algorithm, name = path.split("/")[-2:]
            if f"{algorithm}-{name}" not in kept:
                os.unlink(path)

    def _write_index(self) -> None:
        descriptors = []
        for name, path in sorted(self._walk()):
            for tag in sorted(_names(f"{path}/_tags")):
                digest = self._tagged(name, tag)
                entry = None if digest is None else self._entry(name, digest)
                if entry is not None:
                    notes = {REF_NAME: f"{name}:{tag}"}
                    descriptors.append(Descriptor(entry.media_type, entry.digest, entry.size, annotations=notes))
        index = Index(schema_version=2, media_type=MEDIA_INDEX, manifests=tuple(descriptors))
        self._replace(f"{self.root}/index.json", to_json(index))

    def _replace(self, path: str, data: bytes, *, durable: bool = False) -> None:
        temporary = f"{self.uploads}/.{os.urandom(8).hex()}"
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fdatasync(file.fileno())
            try:
                os.replace(temporary, path)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
                os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


def same_content(entry: Entry, digest: Digest) -> None:
    """Check that a manifest has the digest it was pushed by.

    Raises:
        Refusal: DIGEST_INVALID.
    """
    if entry.digest != digest:
        raise Refusal(400, "DIGEST_INVALID", "the manifest has another digest", detail={"digest": entry.digest})


def _file(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"


def _digest(name: str) -> Digest:
    return Digest(name.replace("-", ":", 1))


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _forget(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _read(path: str) -> Entry | None:
    try:
        with open(path, "rb") as file:
            return from_json(file.read(), Entry)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError, InvalidDigest):
        return None
