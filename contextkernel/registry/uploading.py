"""Sending a blob: one request where the registry takes it, else parts (OCI distribution-spec v1.1, "Pushing blobs")."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, urlsplit

from contextkernel.errors import (
    DigestMismatch,
    ImageNotFound,
    RegistryProblem,
    RegistryRefused,
    SizeMismatch,
    StoreProblem,
)
from contextkernel.model.oci import Descriptor
from contextkernel.model.urls import shown

if TYPE_CHECKING:
    from contextkernel.registry.client import Repository

PART = 32 << 20
"""Bytes of a part where a registry, or a proxy before it, refuses larger bodies (413)."""

_LEAST = 128 << 10
_TELL = 1 << 20


def upload(
    repository: Repository, descriptor: Descriptor, source: IO[bytes], tell: Callable[[int], None], session: str
) -> None:
    """See :meth:`Repository.upload`.

    Args:
        repository, descriptor, source, tell: see there.
        session: URL of an upload that was begun already; empty for none.
    """
    start = source.tell() if source.seekable() else None
    state = _State(session, repository.chunk)

    def once() -> None:
        if start is not None:
            source.seek(start)
        body = Counted(source, descriptor, tell)
        try:
            _attempt(repository, descriptor, body, state)
        except RegistryProblem as problem:
            if start is None and body.count:
                # what was read of the source is gone: nothing is left to try again with
                problem.retry_after = None
                raise _Final(problem) from None
            raise

    try:
        repository.tries.run(once, repository.told)
    except _Final as final:
        raise final.problem from None


class _State:
    """What is learned from one attempt for the next."""

    def __init__(self, session: str, part: int) -> None:
        self.session = session
        self.part = part


class _Final(Exception):
    """Carries an error past the retries."""

    def __init__(self, problem: RegistryProblem) -> None:
        super().__init__()
        self.problem = problem


def _attempt(repository: Repository, descriptor: Descriptor, body: Counted, state: _State) -> None:
    session, state.session = state.session or _begun(repository), ""
    what = f"upload of {descriptor.digest}"
    try:
        if state.part and descriptor.size > state.part:
            session = _parts(repository, descriptor, body, session, state.part, what)
            _closed(repository, descriptor, session, b"", what)
        else:
            _closed(repository, descriptor, session, body, what)
    except ImageNotFound:
        # a session that the registry does not know any more is not the same as a blob that is not there
        raise RegistryRefused(
            f"{repository.where}: {what}: the registry has forgotten that it was begun", status=500
        ) from None
    except RegistryRefused as problem:
        smaller = _smaller(state.part, descriptor.size) if problem.status == 413 else 0
        if not smaller or not body.rewind():
            raise
        state.part = smaller
        _attempt(repository, descriptor, body, state)


def _smaller(part: int, size: int) -> int:
    """The size of parts to try after 413; 0 if it would not be sensible any more."""
    found = part // 4 if part else PART
    while found >= size:
        found //= 4
    return found if found >= _LEAST else 0


def _begun(repository: Repository) -> str:
    url = f"{repository.url}/blobs/uploads/"
    headers = {"Content-Length": "0"}
    try:
        with repository.connection.request("POST", url, "an upload", headers=headers, ok=(202,)) as response:
            return location(repository, response.headers.get("Location", ""))
    except ImageNotFound as problem:
        raise RegistryRefused(
            f"{repository.where}: nothing can be sent there: {problem.problem}",
            hint="is the name right? Some registries want a project to be made first",
            status=404,
        ) from None


def location(repository: Repository, text: str) -> str:
    """Where the upload goes on; what a registry behind a proxy says about itself is held against where it was asked."""
    base = repository.connection.base
    url = repository.connection.absolute(text)
    parts = urlsplit(url)
    if not text or parts.scheme not in ("http", "https") or not parts.hostname:
        raise RegistryRefused(f"{repository.where}: the registry does not say where the upload goes")
    if base.startswith("https:") and parts.scheme == "http":
        raise RegistryRefused(
            f"{repository.where}: the registry wants the upload at {shown(url)}, which is not encrypted",
            hint="the registry, or a proxy before it, must be told that it is reached by https",
        )
    return url


def _parts(repository: Repository, descriptor: Descriptor, body: Counted, session: str, size: int, what: str) -> str:
    sent = 0
    while sent < descriptor.size:
        count = min(size, descriptor.size - sent)
        part = body.part(count)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(count),
            "Content-Range": f"{sent}-{sent + count - 1}",
        }
        with repository.connection.request(
            "PATCH", session, what, headers=headers, body=part, ok=(202, 204)
        ) as response:
            session = location(repository, response.headers.get("Location", "") or session)
        sent += count
    return session


def _closed(repository: Repository, descriptor: Descriptor, session: str, body: Counted | bytes, what: str) -> None:
    url = f"{session}{'&' if '?' in session else '?'}digest={quote(descriptor.digest)}"
    size = 0 if isinstance(body, bytes) else descriptor.size
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    with repository.connection.request(
        "PUT",
        url,
        what,
        headers=headers,
        body=body,
        ok=(200, 201, 202, 204),
    ) as response:
        said = response.headers.get("Docker-Content-Digest", "")
    if not isinstance(body, bytes):
        body.finish()
    if said and said != descriptor.digest and said.partition(":")[0] == descriptor.digest.algorithm:
        raise DigestMismatch(f"{repository.where}: the registry has {said[:80]} instead of {descriptor.digest}")


class Counted:
    """A source that is exactly as long as promised, and says now and then how much was read of it.

    Args:
        source: what is read.
        descriptor: has the size.
        tell: is told the bytes read so far.
    """

    def __init__(self, source: IO[bytes], descriptor: Descriptor, tell: Callable[[int], None]) -> None:
        self._source = source
        self._descriptor = descriptor
        self._tell = tell
        self._start = source.tell() if source.seekable() else None
        self._limit = descriptor.size
        self._told = 0
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes of this request's body.

        Raises:
            SizeMismatch: the source ends too early.
        """
        left = self._limit - self.count
        wanted = left if size < 0 else min(size, left)
        try:
            data = self._source.read(wanted) if wanted else b""
        except OSError as problem:  # else it would pass for a connection that broke
            raise StoreProblem(
                f"cannot read {self._descriptor.digest}: {(problem.strerror or str(problem)).lower()}"
            ) from None
        if wanted and not data:
            raise SizeMismatch(
                f"{self._descriptor.digest} ends after {self.count} bytes instead of {self._descriptor.size}"
            )
        self.count += len(data)
        if self.count - self._told >= _TELL or self.count == self._descriptor.size:
            self._told = self.count
            self._tell(self.count)
        return data

    def part(self, size: int) -> Part:
        """The next ``size`` bytes as the body of a request."""
        return Part(self, size)

    def finish(self) -> None:
        """At the end of the last request.

        Raises:
            SizeMismatch: there is more than promised.
        """
        if self._source.read(1):
            raise SizeMismatch(f"{self._descriptor.digest} is longer than {self._descriptor.size} bytes")

    def seekable(self) -> bool:
        """Whether it can be read again."""
        return self._start is not None

    def tell(self) -> int:
        """Bytes read so far."""
        return self.count

    def seek(self, place: int, /) -> int:
        """Go back to what :meth:`tell` said."""
        assert self._start is not None  # noqa: S101 - `seekable` was asked
        self._source.seek(self._start + place)
        self.count = self._told = place
        return place

    def rewind(self) -> bool:
        """Begin again, if that is possible."""
        if self._start is not None:
            self.seek(0)
        return self._start is not None or not self.count


class Part:
    """A part of a source, as the body of one request."""

    def __init__(self, whole: Counted, size: int) -> None:
        self._whole = whole
        self._end = whole.count + size

    def read(self, size: int = -1, /) -> bytes:
        """See :meth:`Counted.read`."""
        left = self._end - self._whole.count
        return self._whole.read(left if size < 0 else min(size, left)) if left else b""

    def seekable(self) -> bool:
        """See :meth:`Counted.seekable`."""
        return self._whole.seekable()

    def tell(self) -> int:
        """See :meth:`Counted.tell`."""
        return self._whole.tell()

    def seek(self, place: int, /) -> int:
        """See :meth:`Counted.seek`."""
        return self._whole.seek(place)
