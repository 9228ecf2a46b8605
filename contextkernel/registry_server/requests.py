"""Requests of the distribution-spec v1.1 and their answers; the numbers ``end-N`` are those of its table.

Bodies are taken in as they come and given out piece by piece: what a request needs of memory does not depend on the
size of what it is about.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from contextkernel.errors import StoreFull
from contextkernel.model.digest import Digest
from contextkernel.registry_server.access import Guard, check_browser
from contextkernel.registry_server.content import Content
from contextkernel.registry_server.names import checked_name
from contextkernel.registry_server.refusals import Refusal, unknown_repository
from contextkernel.registry_server.storage import Storage
from contextkernel.registry_server.uploads import Uploads

#: bytes of a body that are read and thrown away, so that its sender gets to hear why it is not wanted
DISCARDED = 64 << 20
_STRANGER = 1 << 16  # of somebody who may not ask at all
_FORM = 1 << 16  # that a canned answer is made of
#: names in one answer
MOST_NAMES = 1000


@dataclass(frozen=True)
class Asked:
    """A request that was answered, for a log."""

    method: str
    path: str
    status: int


@dataclass(frozen=True)
class Canned:
    """An answer instead of the registry's own, for tests of clients."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


#: an answer, or what makes one of the body; ``None``: the registry's own
Instead: TypeAlias = Canned | Callable[[bytes], Canned] | None


@dataclass(frozen=True)
class Surroundings:
    """What all requests of a registry share.

    Attributes:
        content: what there is.
        storage: the same, where it can be written to.
        uploads: what is on its way; as ``storage``.
        executor: threads for what takes a while.
        guard: decides by what a request brings with it.
        reachable: whether the other end of a request's connection may ask at all.
        browsers: refuse what a web page lets a browser ask.
        log: told of every request.
        instead: asked first; what it returns is the answer.
    """

    content: Content
    storage: Storage | None
    uploads: Uploads | None
    executor: Executor
    guard: Guard
    reachable: Callable[[HTTPServerRequest], bool]
    browsers: bool = True
    log: Callable[[Asked], None] = lambda _: None
    instead: Callable[[HTTPServerRequest], Instead] = lambda _: None


@stream_request_body
class Answerer(RequestHandler):
    """What all kinds of requests have in common."""

    #: bytes of the body that are taken
    largest = DISCARDED
    _problem: Exception | None = None
    _canned: Instead = None
    _begun = False
    _logged = False
    _last = True  # the connection ends with this answer: so it is before the body can be read

    def initialize(self, around: Surroundings) -> None:
        """Called by tornado with what the route was given."""
        self.around = around
        self._form = bytearray()

    def set_default_headers(self) -> None:
        """Called by tornado: docker looks for the first; nothing here is for a browser to guess the type of."""
        self.set_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")

    async def prepare(self) -> None:
        """Called by tornado before the body is read.

        What is refused here is told after the body, as long as that is not too large to be thrown away: an answer
        before it would have to end the connection.
        """
        self._last = False
        connection: Any = self.request.connection
        connection.set_max_body_size(DISCARDED)
        try:
            if not self.around.reachable(self.request):
                connection.set_max_body_size(_STRANGER)
                raise Refusal(403, "DENIED", "this registry is another user's")
            self._canned = self.around.instead(self.request)
            if self._canned is None:
                await self._admit()
                connection.set_max_body_size(self.largest)
            elif callable(self._canned):
                connection.set_max_body_size(_FORM)
        except Exception as problem:
            if self.longer_than(DISCARDED):
                self._last = True
                raise
            self._problem = problem

    async def _admit(self) -> None:
        request = self.request
        if self.around.browsers:
            check_browser(request.headers)
        name: str | None = self.path_kwargs.get("name")
        authorization = request.headers.get("Authorization", "")
        await self.run(self.around.guard.check, authorization, request.method or "", name or "")
        if name is not None:
            checked_name(name)
        self._writable()
        await self.begin()
        self._begun = True

    async def _answer(self, *_arguments: str, **named: str) -> None:
        """After the body: the refusal that there is, or what the kind of request does for the method."""
        if self._problem is not None:
            raise self._problem
        canned = self._canned(bytes(self._form)) if callable(self._canned) else self._canned
        if canned is not None:
            self.set_status(canned.status, _reason(canned.status))
            for header, value in canned.headers.items():
                self.set_header(header, value)
            await self.finish(canned.body)
            return
        act = getattr(self, f"answer_{(self.request.method or '').lower()}", None)
        if act is None:
            raise Refusal(405, "UNSUPPORTED", "no such operation")
        await act(**named)

    get = head = post = put = patch = delete = _answer

    def _writable(self) -> None:
        if self.request.method not in ("GET", "HEAD") and self.around.storage is None:
            raise Refusal(405, "UNSUPPORTED", "this registry shows the images of a store; it is read-only")

    async def begin(self) -> None:
        """Before the body is read; may refuse."""

    async def data_received(self, chunk: bytes) -> None:
        """Called by tornado with each part of a body; what is not wanted is thrown away."""
        if callable(self._canned):
            self._form += chunk
        elif self._begun:
            await self.received(chunk)

    async def received(self, chunk: bytes) -> None:
        """A part of the body of a request that was let in."""

    def flush(self, include_footers: bool = False) -> Future[None]:
        """Called for each part of an answer; told before the first is sent, so that who has it finds it in the log."""
        if not self._logged:
            self._logged = True
            self.around.log(Asked(self.request.method or "", self.request.path, self.get_status()))
        return super().flush(include_footers)

    async def run(self, act: Callable[..., Any], *arguments: Any) -> Any:
        """Let a thread do what takes a while."""
        return await asyncio.get_running_loop().run_in_executor(self.around.executor, act, *arguments)

    @property
    def storage(self) -> Storage:
        """For requests that change something; others do not come so far."""
        assert self.around.storage is not None  # noqa: S101 - prepare has refused
        return self.around.storage

    @property
    def uploads(self) -> Uploads:
        """As :attr:`storage`."""
        assert self.around.uploads is not None  # noqa: S101 - as above
        return self.around.uploads

    def longer_than(self, most: int) -> bool:
        """Whether the body is announced to have more bytes, or a number of them that is none."""
        length = self.request.headers.get("Content-Length", "0")
        return not (length.isascii() and length.isdigit() and len(length) < 19) or int(length) > most

    def one(self, name: str) -> str:
        """A query parameter that may be given once.

        Raises:
            Refusal: it is given several times.
        """
        values = self.get_query_arguments(name, strip=False)
        if len(values) > 1:
            raise Refusal(400, "UNSUPPORTED", f"several values of the parameter {name}")
        return values[0] if values else ""

    def address(self, *parts: str, **query: str) -> str:
        """The address of something in this registry, without its host: whoever asked knows that."""
        return f"/v2/{'/'.join(quote(part, safe='/:') for part in parts)}" + (f"?{urlencode(query)}" if query else "")

    def compute_etag(self) -> str | None:
        """Called by tornado: answers that have a mark get the digest, from their own handler."""
        return None

    def log_exception(self, *problem: Any) -> None:
        """Called by tornado: a refusal, or a client that has gone, is nothing to log."""
        if not isinstance(problem[1], (Refusal, StreamClosedError)):
            super().log_exception(*problem)

    def _handle_request_exception(self, problem: BaseException) -> None:
        """Refuse in the specification's words; tornado's own way knows its own errors only."""
        if self._finished or isinstance(problem, StreamClosedError):
            return
        if not isinstance(problem, Refusal):
            refusal = _refusal(problem)
            if refusal is None:
                self.log_exception(type(problem), problem, problem.__traceback__)
                refusal = Refusal(500, "UNKNOWN", "the registry failed; its log says more")
            problem = refusal
        if self._headers_written:
            # in the middle of an answer: whatever is said now would be taken for a part of it
            connection: Any = self.request.connection
            connection.close()
            return
        self._refuse(problem)

    def _refuse(self, refusal: Refusal) -> None:
        self.clear()
        self.set_status(refusal.status, _reason(refusal.status))
        for name, value in refusal.headers.items():
            self.set_header(name, value)
        body = refusal.body()
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Content-Length", str(len(body)))
        if self._last:
            self.set_header("Connection", "close")
        self.finish(b"" if self.request.method == "HEAD" else body)

    def json(self, body: bytes, media_type: str = "application/json; charset=utf-8") -> None:
        """Answer with a document."""
        self.set_header("Content-Type", media_type)
        self.set_header("Content-Length", str(len(body)))
        self.finish(b"" if self.request.method == "HEAD" else body)

    def page(self, names: Sequence[str], path: Sequence[str]) -> Sequence[str]:
        """The part of a sorted list that is asked for with ``n`` and ``last``; more of it has a ``Link``.

        Raises:
            Refusal: ``n`` is not a number.
        """
        wanted, last = self.one("n"), self.one("last")
        if wanted and not (wanted.isascii() and wanted.isdigit()):
            raise Refusal(400, "PAGINATION_NUMBER_INVALID", "n is not a number", detail={"n": wanted[:32]})
        after = [name for name in names if name > last] if last else names
        count = min(int(wanted[:9]), MOST_NAMES) if wanted else MOST_NAMES
        if 0 < count < len(after):
            link = self.address(*path, n=str(count), last=after[count - 1])
            self.set_header("Link", f'<{link}>; rel="next"')
        return after[:count]


def _refusal(problem: BaseException) -> Refusal | None:
    """The refusal that a failure comes to, if it is one that a client can be told."""
    import errno

    if isinstance(problem, HTTPError):
        code = "UNSUPPORTED" if problem.status_code in (404, 405) else "UNKNOWN"
        return Refusal(problem.status_code, code, _reason(problem.status_code).lower())
    if isinstance(problem, OSError) and problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Refusal(507, "UNKNOWN", "no space left where this registry keeps its files")
    if isinstance(problem, StoreFull):
        return Refusal(507, "UNKNOWN", problem.problem)
    return None


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class Base(Answerer):
    """``/v2/`` (end-1): that this is a registry, and whether the login is right."""

    async def answer_get(self) -> None:
        """Says yes."""
        self.json(b"{}")

    answer_head = answer_get


class Catalog(Answerer):
    """``/v2/_catalog``: the repositories (Docker's registry API; not part of the specification)."""

    async def answer_get(self) -> None:
        """Names, in pages."""
        from contextkernel.model.codec import to_json

        names = await self.run(self.around.content.repositories)
        self.json(to_json({"repositories": list(self.page(names, ["_catalog"]))}))


class Tags(Answerer):
    """``/v2/<name>/tags/list`` (end-8)."""

    async def answer_get(self, name: str) -> None:
        """Tags, in pages."""
        from contextkernel.model.codec import to_json

        tags = await self.run(self.around.content.tags, name)
        if tags is None:
            raise unknown_repository(name)
        self.json(to_json({"name": name, "tags": list(self.page(tags, [name, "tags", "list"]))}))


class Nothing(Answerer):
    """Any other path."""

    async def begin(self) -> None:
        """There is nothing, for those who may ask."""
        raise Refusal(404, "UNSUPPORTED", "no such address; a registry answers below /v2/")


def marked(handler: Answerer, digest: Digest) -> bool:
    """Mark an answer with its digest.

    Returns:
        Whether the client said that it has that already.
    """
    handler.set_header("Docker-Content-Digest", str(digest))
    handler.set_header("Etag", f'"{digest}"')
    return f'"{digest}"' in handler.request.headers.get("If-None-Match", "")
