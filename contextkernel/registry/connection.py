"""Requests to a registry with whatever login it wants, and its refusals as errors that say what to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import msgspec
import urllib3

from contextkernel.errors import (
    ImageNotFound,
    RegistryDenied,
    RegistryFailing,
    RegistryProblem,
    RegistryRefused,
    RegistryUnauthorized,
    RegistryUnreachable,
)
from contextkernel.model import codec
from contextkernel.model.urls import origin, shown
from contextkernel.registry.credentials import Credentials, find_credentials
from contextkernel.registry.limits_told import rate_limited
from contextkernel.registry.retrying import Tries, retry_after
from contextkernel.registry.settings import Endpoint
from contextkernel.registry.tokens import (
    Challenge,
    Token,
    TokenAnswer,
    join_scopes,
    parse_challenges,
    token_form,
    token_of,
    token_query,
)
from contextkernel.registry.web import Headers, Source, Web

_MAX_ANSWER = 1 << 20  # bytes of a token server's answer; tokens of some hundred scopes are some KiB
_MAX_ERROR = 500  # characters of a registry's error text that are repeated


class Connection:
    """An endpoint that is spoken to by one user.

    Args:
        endpoint: where it answers.
        registry: its name, for credentials and messages.
        where: what messages speak of, e.g. ``docker.io/library/ubuntu``.
        scopes: what its tokens are asked for, e.g. ``repository:library/ubuntu:pull``.
        tries: patience.
        credentials: instead of those that are looked up.
        repository: for looking up.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        registry: str,
        *,
        where: str = "",
        scopes: tuple[str, ...] = (),
        tries: Tries | None = None,
        credentials: Credentials | None = None,
        repository: str = "",
    ) -> None:
        self.tries = tries or Tries()
        self.where = where or registry
        self.identity_token = ""
        self._web = Web(endpoint, registry, self.tries)
        self._endpoint = endpoint
        self._registry = registry
        self._repository = repository
        self._scopes = scopes
        self._given = credentials
        self._found: Credentials | None = None
        self._looked = False
        self._lock = threading.RLock()
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], Token] = {}
        self._needed: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.offline = False

    @property
    def base(self) -> str:
        """The endpoint's URL."""
        return self._web.base

    def absolute(self, location: str) -> str:
        """See :meth:`Web.absolute`."""
        return self._web.absolute(location)

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        what: str,
        *,
        headers: Headers | None = None,
        body: bytes | Source | None = None,
        ok: Collection[int] = (200,),
        scopes: tuple[str, ...] = (),
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """One request, with a login where it is asked for.

        Args:
            method, url, headers, body: see :meth:`Web.send`; a file is read again from where it stood if it can seek.
            what: what is asked for, for messages.
            ok: statuses that are answers.
            scopes: further ones than the connection's.

        Raises:
            RegistryProblem: see the tree of errors; ImageNotFound: 404, where that is not among ``ok``.
        """
        wanted = join_scopes(self._scopes, scopes)
        start = body.tell() if body is not None and not isinstance(body, bytes) and body.seekable() else None
        shown_before = self._authorization(wanted)
        response = self._web.send(method, url, headers or {}, shown_before, body)
        try:
            if response.status == 401 and self._web.is_own(url):
                header = ", ".join(response.headers.getlist("WWW-Authenticate"))
                text = _drained(response)
                self._answer(header, wanted, self._scrubbed(_told(text)), shown_before)
                if isinstance(body, bytes) or body is None or start is not None:
                    if start is not None and body is not None and not isinstance(body, bytes):
                        body.seek(start)
                    response = self._web.send(method, url, headers or {}, self._authorization(wanted), body)
            if response.status not in ok:
                raise self._refusal(response, what)
            yield response
            if method != "GET":  # what is read to its end gives the connection back
                response.read(8 * _MAX_ERROR, decode_content=False)
        except urllib3.exceptions.HTTPError as problem:  # an OSError is the caller's: urllib3 has none of its own
            self._web.lines.check()
            broken = self._web.unreachable(problem)
            raise RegistryUnreachable(
                f"{self.where}: {what}: the connection broke: {broken.problem.partition(': ')[2] or broken.problem}",
                hint="try again: what has arrived is kept where that is possible",
            ) from None
        finally:
            response.close()

    def abort(self) -> None:
        """From any thread: whoever waits for the registry is to end at once, with :class:`GivenUp`; for good."""
        self._web.lines.end()

    def document(self, method: str, url: str, what: str, limit: int, headers: Headers | None = None) -> bytes:
        """The body of an answer, tried again where that may help.

        Raises:
            RegistryRefused: it is larger than ``limit`` bytes. RegistryProblem, ImageNotFound: as for ``request``.
        """

        def once() -> bytes:
            with self.request(method, url, what, headers=headers) as response:
                return self.read(response, what, limit)

        return self.tries.run(once)

    def read(self, response: urllib3.BaseHTTPResponse, what: str, limit: int) -> bytes:
        """A bounded body.

        Raises:
            RegistryRefused: it is larger than ``limit`` bytes.
        """
        parts, size = [], 0
        while part := response.read(min(1 << 18, limit + 1), decode_content=True):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise RegistryRefused(f"{self.where}: {what} is larger than {limit} bytes")
        return b"".join(parts)

    def login(self) -> None:
        """Show the credentials; nothing is asked for.

        Raises:
            RegistryProblem: they are refused, or there was no answer.
        """

        def once() -> None:
            with self.request("GET", f"{self.base}/v2/", "login"):
                pass

        try:
            self.tries.run(once)
        except ImageNotFound:
            raise RegistryRefused(
                f"{self.where} does not answer as a registry does", hint="check the spelling", status=404
            ) from None

    def _credentials(self) -> Credentials | None:
        """Looked up when they are first needed: a helper program may have to be asked. Mirrors have their own."""
        if self._given is not None:
            return self._given
        if not self._looked:
            if not self._endpoint.mirror:
                self._found = find_credentials(self._registry, self._repository)
            else:
                host = urlsplit(self.base).netloc
                self._found = find_credentials(host)
            self._looked = True
        return self._found

    def _authorization(self, scopes: tuple[str, ...]) -> str:
        """What is sent with a request, as far as the registry was heard; a token that ends soon is replaced before."""
        with self._lock:
            challenge = self._challenge
            if challenge is None:
                return ""
            credentials = self._credentials()
            if challenge.scheme == "basic":
                return credentials.basic if credentials else ""
            if credentials and credentials.registry_token:
                return f"Bearer {credentials.registry_token}"
            token = self._tokens.get(scopes)
            if token is None or token.until <= self.tries.now():
                token = self._tokens[scopes] = self._fetched(challenge, scopes)
            return f"Bearer {token.text}"

    def _answer(self, header: str, scopes: tuple[str, ...], said: str, shown_before: str) -> None:
        """Take up what a 401 asks for.

        Args:
            header: the challenges.
            scopes: what a token is needed for.
            said: the registry's words.
            shown_before: the authorization that it did not take; another thread may have got a new one meanwhile.

        Raises:
            RegistryUnauthorized: it cannot be answered. RegistryProblem: the token server refuses.
        """
        found = parse_challenges(header)
        usable = {challenge.scheme: challenge for challenge in reversed(found)}
        challenge = usable.get("bearer") or usable.get("basic")
        with self._lock:
            credentials = self._credentials()
            if challenge is None:
                kinds = ", ".join(repr(one.scheme[:40]) for one in found) or "none"
                raise RegistryUnauthorized(
                    f"{self.where}: the registry wants a login of a kind that is not known: {kinds}", status=401
                )
            if challenge.scheme == "basic":
                if not credentials or not credentials.username:
                    raise self._unauthorized("it wants a login", said)
                self._challenge = challenge
                return
            if urlsplit(challenge.realm).scheme not in ("http", "https") or not urlsplit(challenge.realm).hostname:
                raise RegistryUnauthorized(
                    f"{self.where}: the registry names no token server that can be asked: {shown(challenge.realm)!r}",
                    status=401,
                )
            if credentials and urlsplit(challenge.realm).scheme == "http" and not self.base.startswith("http:"):
                raise RegistryRefused(
                    f"{self.where}: the registry asks for the password over an open connection to "
                    f"{shown(challenge.realm)!r}",
                    hint="the registry's realm must be an https URL",
                )
            token = self._tokens.get(scopes)
            if token is not None and self._challenge is not None and f"Bearer {token.text}" != shown_before:
                return
            # what the registry says it needs may be more than was thought
            self._challenge = challenge
            self._needed[scopes] = join_scopes(scopes, challenge.scopes)
            self._tokens.pop(scopes, None)
            self._tokens[scopes] = self._fetched(challenge, scopes)

    def _fetched(self, challenge: Challenge, scopes: tuple[str, ...]) -> Token:
        """A new token from the token server."""
        needed = self._needed.get(scopes, scopes)
        credentials = self._credentials()
        if credentials and credentials.identity_token:
            return self._posted(challenge, needed, credentials)
        return self._got(challenge, needed, credentials)

    def _got(self, challenge: Challenge, scopes: tuple[str, ...], credentials: Credentials | None) -> Token:
        user = credentials.username if credentials else ""
        query = token_query(challenge, scopes, user=user, offline=self.offline)
        url = f"{challenge.realm}{'&' if '?' in challenge.realm else '?'}{query}"
        headers = {"Authorization": credentials.basic} if credentials and credentials.username else {}
        return self._token("GET", url, headers, None)

    def _posted(self, challenge: Challenge, scopes: tuple[str, ...], credentials: Credentials) -> Token:
        body = token_form(challenge, scopes, credentials, offline=self.offline)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            return self._token("POST", challenge.realm, headers, body)
        except RegistryProblem as problem:
            # token servers without OAuth 2
            if problem.status in (404, 405) and credentials.username and credentials.password:
                return self._got(challenge, scopes, credentials)
            raise

    def _token(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Token:
        # the secret is for the token server alone: `authorization` of Web.send is for the registry's host
        secret = headers.pop("Authorization", "")
        response = self._send_to(url, method, headers, secret, body)
        try:
            if response.status in (400, 401, 403):
                said = self._scrubbed(_told(_drained(response)))
                if self._credentials():
                    raise self._unauthorized("the user name or password is not right", said, response.status)
                raise self._unauthorized("it wants a login", said, response.status)
            if response.status == 404:  # it is the server that is missing, and nothing of the registry's
                said = self._scrubbed(_told(_drained(response)))
                text = f"{self.where}: the token server {shown(url)} answered 404"
                raise RegistryRefused(f"{text}: {said}" if said else text, status=404)
            if response.status != 200:
                raise self._refusal(response, "token")
            data = self.read(response, "token", _MAX_ANSWER)
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            self._web.lines.check()
            raise self._web.unreachable(problem, url) from None
        finally:
            response.close()
        try:
            answer = codec.from_json(data, TokenAnswer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            answer = TokenAnswer()
        token = token_of(answer, self.tries.now())
        if token is None:
            raise RegistryRefused(f"{self.where}: the token server {shown(url)} gave no token")
        if answer.refresh_token:
            self.identity_token = answer.refresh_token
        return token

    def _send_to(
        self, url: str, method: str, headers: Headers, secret: str, body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        """A request to the token server: its credentials do not follow redirects to other hosts."""
        web = self._web
        if not web.is_own(url):
            site = _site(url)
            # an authority of the registry's own stands for its token server too, as with docker
            unchecked = not self._endpoint.verify and origin(site)[1] == origin(self.base)[1]
            endpoint = Endpoint(url=site, ca=self._endpoint.ca, verify=not unchecked)
            web = Web(endpoint, self._registry, self.tries, web.lines)
        return web.send(method, url, headers, secret, body)

    def _unauthorized(self, text: str, said: str, status: int = 401) -> RegistryUnauthorized:
        name = "" if self._registry == "docker.io" else f" {self._registry}"
        known = self._credentials()
        hint = f"log in: login{name}" if not known else f"log in again: login{name}"
        more = f": {said}" if said else ""
        return RegistryUnauthorized(f"{self.where}: the registry refuses: {text}{more}", hint=hint, status=status)

    def _refusal(self, response: urllib3.BaseHTTPResponse, what: str) -> RegistryProblem | ImageNotFound:
        """The error for an answer that is none."""
        status, headers = response.status, response.headers
        said = self._scrubbed(_told(_drained(response)))
        text = f"{self.where}: {what}: the registry answered {status}" + (f": {said}" if said else "")
        if status == 401:
            return self._unauthorized(
                "who is logged in may not do this" if self._credentials() else "it wants a login", said
            )
        if status == 403:
            return RegistryDenied(text, hint="is the name right, and may this user do that?", status=status)
        if status == 404:
            return ImageNotFound(
                f"{self.where}: {what} does not exist in the registry" + (f" ({said})" if said else "")
            )
        if status == 405:
            return RegistryRefused(text, hint="the registry does not allow this", status=status)
        if status == 429:
            now = self.tries.now()
            return rate_limited(
                self.where, said, headers, retry_after(headers, now), now, logged=bool(self._given or self._found)
            )
        if status >= 500 or status in (408, 425):
            return RegistryFailing(
                text,
                hint="something is wrong on the registry's side; try again later",
                status=status,
                retry_after=retry_after(headers, self.tries.now()),
            )
        return RegistryRefused(text, status=status)

    def _scrubbed(self, text: str) -> str:
        """What a registry said, without what it was shown: some repeat it."""
        known = self._given or self._found  # not looked up for that: a helper's failure would hide what is wrong
        secrets = [token.text for token in self._tokens.values()]
        if known:
            secrets += [known.password, known.identity_token, known.registry_token, known.basic.partition(" ")[2]]
        for secret in secrets:
            if secret:
                text = text.replace(secret, "***")
        return text[:_MAX_ERROR]  # not before: of what is cut off in the middle, the beginning would stay


def _site(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _drained(response: urllib3.BaseHTTPResponse) -> str:
    """The beginning of an error's body; the connection is given back."""
    with suppress(urllib3.exceptions.HTTPError, OSError):
        data = response.read(8 * _MAX_ERROR, decode_content=True)
        response.close()
        return data.decode("utf-8", "replace")
    response.close()
    return ""


def _told(text: str) -> str:
    """What a registry says in an error: its codes and messages where they are in the specified form; never a page."""
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        document = json.loads(text)
        if isinstance(errors := document.get("errors"), list):
            parts = [
                f"{error.get('code', '')}: {error.get('message', '')}".strip(": ")
                for error in errors[:5]
                if isinstance(error, dict)
            ]
            return _clean("; ".join(part for part in parts if part))
        plain = document.get("details") or document.get("message") or document.get("error_description")
        return _clean(str(plain or document.get("error") or ""))
    return "" if "<" in text[:200] else _clean(text)


def _clean(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
