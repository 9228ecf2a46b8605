"""What a build is fed with, as callers say it: a directory, a URL, files in memory, an open archive."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from contextkernel.errors import InvalidInput, StoreFull

if TYPE_CHECKING:
    from contextkernel.build.request import BuildRequest, ContextSource
    from contextkernel.model.fetching import Fetcher
    from contextkernel.store import Store

_CHUNK = 1 << 20
_NOT_FILES = ("http://", "https://")


class Readable(Protocol):
    """An open file, for reading bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` next bytes; none at the end."""
        ...


BuildContext: TypeAlias = "str | os.PathLike[str] | Mapping[str, str | bytes] | Readable | None"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A build context and a Dockerfile, as a request has them.

    Attributes:
        context: absolute path of a directory, or ``None``.
        source: what the context is instead of a directory.
        dockerfile: the Dockerfile's text; ``None`` to read it from ``source``.
        name: of the Dockerfile.
    """

    context: str | None
    source: ContextSource | None
    dockerfile: str | bytes | None
    name: str

    def applied(self, request: BuildRequest) -> BuildRequest:
        """``request`` with them."""
        return msgspec.structs.replace(
            request,
            context=self.context,
            source=self.source,
            dockerfile=self.dockerfile,
            dockerfile_name=self.name,
        )


def is_remote_context(text: str) -> bool:
    """Whether a context is a URL or a Git repository; a directory of that name comes first.

    Raises:
        InvalidInput: a Git URL with a query that means nothing.
    """
    from contextkernel.plan.remote import parse_git

    if os.path.isdir(text):
        return False
    return parse_git(text, context=True) is not None or text.startswith(_NOT_FILES)


@contextmanager
def given(
    context: BuildContext,
    dockerfile: str | None,
    text: str | None,
    *,
    store: Store,
    fetcher: Fetcher,
    limit: int,
) -> Iterator[Given]:
    """Sort out what a build was given.

    Args:
        context: a directory; a URL or Git repository; a mapping of file name to content; an open tar archive, plain
            or compressed; ``None`` for none.
        dockerfile: path of the Dockerfile, in the context where that is no directory; also an ``http(s)`` URL.
        text: the Dockerfile itself.
        store: where an open archive is kept meanwhile.
        fetcher: fetches a Dockerfile that is behind a URL.
        limit: the most bytes of an open archive.

    Raises:
        InvalidInput, SourceNotFound, FetchFailed: it cannot be had.
    """
    from contextkernel.build.opening import checked_files
    from contextkernel.build.request import ArchiveContext, FilesContext, RemoteContext
    from contextkernel.build.sources import read_dockerfile

    name = dockerfile or "Dockerfile"
    if text is None and dockerfile is not None and dockerfile.startswith(_NOT_FILES):
        text, name = _download(dockerfile, store, fetcher), "Dockerfile"
    match context:
        case None | str() | os.PathLike():
            path = os.fspath(context) if context is not None else None
            if path is not None and is_remote_context(path):
                yield Given(context=None, source=RemoteContext(path), dockerfile=text, name=name)
                return
            content, name = read_dockerfile(path, None if text is not None else dockerfile, text)
            if text is not None and dockerfile is not None and not dockerfile.startswith(_NOT_FILES):
                name = dockerfile
            yield Given(
                context=os.path.abspath(path) if path is not None else None, source=None, dockerfile=content, name=name
            )
        case Mapping():
            files = checked_files(context, "the context")
            yield Given(context=None, source=FilesContext(files), dockerfile=text, name=name)
        case _ if hasattr(context, "read"):
            place = store.temporary_path()
            try:
                _spool(context, place, limit)
                yield Given(context=None, source=ArchiveContext(place), dockerfile=text, name=name)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(place)
        case _:
            raise InvalidInput(
                f"the context is a {type(context).__name__}",
                hint="a directory, a URL, a dict of file name to text or bytes, or an open tar archive",
            )


def _download(url: str, store: Store, fetcher: Fetcher) -> str:
    """The Dockerfile behind a URL."""
    from contextkernel.build.opening import MAX_DOCKERFILE
    from contextkernel.model.fetching import Credentials
    from contextkernel.plan.remote import redacted

    place = store.temporary_path()
    try:
        fetcher.download(url, place, Credentials())
        with open(place, "rb") as file:
            data = file.read(MAX_DOCKERFILE + 1)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(place)
    if len(data) > MAX_DOCKERFILE or b"\0" in data:
        raise InvalidInput(f"what is behind {redacted(url)} is not a Dockerfile")
    return data.decode("utf-8", "surrogateescape")


def _spool(stream: Readable, path: str, limit: int) -> None:
    size = 0
    try:
        with open(path, "xb") as file:
            while block := stream.read(_CHUNK):
                size += len(block)
                if size > limit:
                    raise InvalidInput(
                        f"the archive on standard input is larger than {limit} bytes",
                        hint="CONTEXTKERNEL_FETCH_LIMIT sets how large it may be, e.g. 50g",
                    )
                file.write(block)
    except OSError as problem:
        raise StoreFull(f"cannot keep the archive: {(problem.strerror or str(problem)).lower()}") from None
