"""A blob on its way from a registry: the answer to a request for it, or for the rest of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import urllib3

from contextkernel.errors import RegistryRefused

if TYPE_CHECKING:
    from contextkernel.registry.client import Repository

_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)\Z")


class BlobStream:
    """A blob that arrives; verifying it is the reader's part.

    Attributes:
        offset: where it begins: what was asked for, or 0 if the server does not give parts.
        size: bytes of the whole blob, if the server said so.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, offset: int, size: int | None) -> None:
        self._response = response
        self.offset = offset
        self.size = size

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes; empty at the end. What the connection's errors become, see :meth:`Repository.blob`."""
        return self._response.read(None if size < 0 else size, decode_content=False)


class OpenedBlob:
    """The answer to a request for a blob: opened once, read once, closed.

    Args:
        repository: is asked.
        url: of the blob.
        offset: bytes that are not needed.
        what: it is, for messages.
    """

    def __init__(self, repository: Repository, url: str, offset: int, what: str) -> None:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        self._request = repository.connection.request("GET", url, what, headers=headers, ok=(200, 206))
        self._where = repository.where
        self._offset = offset
        self._what = what
        self._response: urllib3.BaseHTTPResponse | None = None

    def open(self) -> None:
        """Ask; errors as for :meth:`Connection.request`."""
        self._response = self._request.__enter__()

    def __enter__(self) -> BlobStream:
        response = self._response
        assert response is not None  # noqa: S101 - `open` was called
        if response.status == 206:
            found = _RANGE.match(response.headers.get("Content-Range", "").strip())
            if not found or int(found[1]) != self._offset:
                problem = RegistryRefused(f"{self._where}: {self._what}: the registry sent another part than asked for")
                self._request.__exit__(type(problem), problem, None)
                raise problem
            return BlobStream(response, self._offset, None if found[2] == "*" else int(found[2]))
        return BlobStream(response, 0, number(response.headers.get("Content-Length", "")))

    def __exit__(self, *problem: object) -> None:
        self._request.__exit__(*problem)  # type: ignore[arg-type]


def number(text: str) -> int | None:
    """The value of a header that is a number of bytes; ``None`` if it is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
