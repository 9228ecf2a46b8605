"""A registry that misbehaves: pages of its own or a proxy before a real one, and faults laid over its answers.

Everything runs in threads of the test's process. Faults are values; each says which requests it is about, how often it
strikes, and what it does. ``seen`` has every request, so a test can tell what was sent where.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import random
import re
import socket
import ssl
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
REPOSITORY = "team/app"
USER, PASSWORD = "student", "pa55-w0rd-of-mine"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_PIECE = 1 << 16


@dataclass(frozen=True)
class Fault:
    """What is done to some answers.

    Attributes:
        path: a pattern that the path must contain.
        method: which one; empty for any.
        times: how often it strikes; ``None`` always.
        skip: how many such requests pass before.
        status, headers, body: instead of the answer's own (headers are added; ``None`` takes one away).
        cut: the connection breaks after so many bytes of the body; with ``asked`` of the request's body.
        asked: see ``cut``.
        stall: after so many bytes of the body nothing comes any more, until the server ends.
        short: the answer ends after so many bytes, and says that it is as long.
        endless: the body comes again and again, without a length.
        flip: the byte there is another one.
        refuse: the connection is closed without an answer.
        mute: there is no answer at all until the server ends; ``Faulty.muted`` tells that somebody waits for it.
    """

    path: str
    method: str = ""
    times: int | None = None
    skip: int = 0
    status: int | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    cut: int | None = None
    asked: bool = False
    stall: int | None = None
    short: int | None = None
    endless: bool = False
    flip: int | None = None
    refuse: bool = False
    mute: bool = False


@dataclass(frozen=True)
class Seen:
    """One request; header names in lower case. ``body`` is kept up to a mebibyte."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class Page:
    """An answer: status, headers, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Faulty:
    """The server; a context manager.

    Args:
        upstream: ``host:port`` of the registry that it stands before; without, :attr:`pages` are all there is.
        context: for TLS.

    Attributes:
        pages: by path without query: a page, or a function of the request that gives one.
        faults: the first that fits strikes; may be changed meanwhile.
        seen: the requests in order.
        sent: bytes of bodies that were handed to the kernel.
    """

    def __init__(self, upstream: str = "", *, context: ssl.SSLContext | None = None) -> None:
        self.pages: dict[str, Page | Callable[[Seen], Page]] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.sent = 0
        self._upstream = upstream
        self._struck: dict[int, int] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.muted = threading.Event()
        faulty = self

        class Handler(_Handler):
            owner = faulty

        self._server = _Server(("127.0.0.1", 0), Handler, context)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Faulty:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """``127.0.0.1:port``, as it stands in an image's name."""
        return f"127.0.0.1:{self.port}"

    def fail(self, path: str, **what: Any) -> Fault:
        """Add a fault, and give it back."""
        fault = Fault(path, **what)
        self.faults.append(fault)
        return fault

    def asked(self, path: str, method: str = "") -> list[Seen]:
        """The requests whose path contains the pattern."""
        return [seen for seen in self.seen if re.search(path, seen.path) and method in ("", seen.method)]

    def _fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.method not in ("", method) or not re.search(fault.path, path):
                    continue
                number = self._struck[id(fault)] = self._struck.get(id(fault), 0) + 1
                if number > fault.skip and (fault.times is None or number <= fault.skip + fault.times):
                    return fault
        return None

    def _page(self, seen: Seen) -> Page:
        page = self.pages.get(seen.path.partition("?")[0])
        if page is not None:
            return page(seen) if callable(page) else page
        if self._upstream:
            return self._relayed(seen)
        return error_page(404, "NAME_UNKNOWN", "not here")

    def _relayed(self, seen: Seen) -> Page:
        host, _, port = self._upstream.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        try:
            # the registry makes absolute locations from it
            headers = {**seen.headers, "host": self.address}
            connection.request(seen.method, seen.path, seen.body, headers)
            response = connection.getresponse()
            body = response.read()
            kept = {key: value for key, value in response.getheaders() if key.lower() != "transfer-encoding"}
            return Page(response.status, kept, body)
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[_Handler], context: ssl.SSLContext | None) -> None:
        self._context = context
        super().__init__(address, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        # here and not when it is accepted: a client that says nothing must not hold up the others
        if self._context is not None:
            request = self._context.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        finally:
            if self._context is not None:
                request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away; that is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Faulty

    def log_message(self, *_: Any) -> None:
        return

    def _answer(self) -> None:
        owner = self.owner
        fault = owner._fault(self.command, self.path)
        headers = {key.lower(): value for key, value in self.headers.items()}
        if fault is not None and fault.asked and fault.cut is not None:
            self.rfile.read(fault.cut)
            owner.seen.append(Seen(self.command, self.path, headers))
            self._break()
            return
        seen = Seen(self.command, self.path, headers, self._asked_body(headers))
        owner.seen.append(seen)
        if fault is not None and fault.mute:
            owner.muted.set()
            owner._ended.wait()
        if fault is not None and (fault.refuse or fault.mute):
            self._break()
            return
        self._send(owner._page(seen) if fault is None or fault.status is None else Page(fault.status, {}, b""), fault)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _asked_body(self, headers: Mapping[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return self.rfile.read(int(headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, page: Page, fault: Fault | None) -> None:
        what = fault or Fault("")
        body = page.body if what.body is None else what.body
        if what.flip is not None:
            body = body[: what.flip] + bytes([body[what.flip] ^ 1]) + body[what.flip + 1 :]
        if what.short is not None:
            body = body[: what.short]
        headers: dict[str, str | None] = {**page.headers, **what.headers}
        lengths = [name for name in headers if name.lower() == "content-length"]
        if what.endless:
            self.close_connection = True
            headers |= {**dict.fromkeys(lengths), "Connection": "close"}
        elif self.command != "HEAD" or not lengths:
            headers |= {**dict.fromkeys(lengths), "Content-Length": str(len(body))}
        # what the fault says of the length is said, true or not
        headers |= {name: value for name, value in what.headers.items() if name.lower() == "content-length"}
        self.send_response(page.status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(OSError):
            self._body(body, what)

    def _body(self, body: bytes, what: Fault) -> None:
        most = min((limit for limit in (what.cut, what.stall) if limit is not None), default=len(body))
        while True:
            for start in range(0, min(len(body), most), _PIECE):
                piece = body[start : min(start + _PIECE, most)]
                self.wfile.write(piece)
                self.owner.sent += len(piece)
                if self.owner._ended.is_set():
                    return
            if not what.endless:
                break
        if what.stall is not None and most < len(body):
            self.wfile.flush()
            self.owner._ended.wait()
        if (what.cut is not None and most < len(body)) or what.stall is not None:
            self._break()

    def _break(self) -> None:
        """Reset the connection; what was sent may still arrive."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            if self.owner._upstream or not isinstance(self.connection, ssl.SSLSocket):
                self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()


def error_page(status: int, code: str, message: str, **headers: str) -> Page:
    """An answer with one of the distribution specification's errors."""
    document = {"errors": [{"code": code, "message": message}]}
    return Page(status, {"Content-Type": "application/json", **headers}, json.dumps(document).encode())


def silent(problem: BaseException, *secrets: str) -> None:
    """Assert that no secret is in anything that an error shows."""
    shown = (str(problem), repr(problem), repr(problem.args), repr(vars(problem)))
    for secret in (PASSWORD, BASIC, *secrets):
        assert not any(secret in text for text in shown), f"{secret} is in {shown}"


def incompressible(size: int) -> bytes:
    """The same bytes for the same size; a packed layer of them is as large."""
    return random.Random(size).randbytes(size)  # noqa: S311


# ---- images as pages


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer_tar(files: Mapping[str, bytes]) -> bytes:
    """A plain layer with some files, the same for the same files."""
    buffer = io.BytesIO()
    with tarfile.TarFile(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), 0o644, 1_600_000_000
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Image:
    """An image whose documents can be changed before it is served.

    Attributes:
        layers: packed, base first.
        diff_ids: what the configuration says of them.
        config, manifest: documents; :meth:`publish` makes the manifest from the rest, unless there is one.
    """

    layers: list[bytes]
    diff_ids: list[str]
    architecture: str = "amd64"
    media_type: str = LAYER_GZIP
    manifest: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, *files: Mapping[str, bytes], pack: Callable[[bytes], bytes] | None = None) -> Image:
        """One layer for each mapping; by default packed with gzip."""
        tars = [layer_tar(one) for one in files]
        packed = [(pack or (lambda data: gzip.compress(data, 1, mtime=0)))(one) for one in tars]
        return cls(packed, [digest_of(one) for one in tars])

    @property
    def config(self) -> bytes:
        rootfs = {"type": "layers", "diff_ids": self.diff_ids}
        document = {"architecture": self.architecture, "os": "linux", "config": {}, "rootfs": rootfs}
        return json.dumps(document).encode()

    def document(self) -> dict[str, Any]:
        """The manifest."""
        return self.manifest or {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(CONFIG, self.config),
            "layers": [described(self.media_type, layer) for layer in self.layers],
        }

    def publish(self, server: Faulty, repository: str, *tags: str) -> str:
        """Put it on a server's pages; gives the manifest's digest."""
        for data in (self.config, *self.layers):
            server.pages[f"/v2/{repository}/blobs/{digest_of(data)}"] = _blob_page(data)
        return publish(server, repository, self.document(), *tags)


def described(media_type: str, data: bytes) -> dict[str, Any]:
    """A descriptor."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def publish(server: Faulty, repository: str, document: dict[str, Any], *tags: str, media_type: str = "") -> str:
    """Put a manifest or index on a server's pages under its digest and tags; gives the digest."""
    data = json.dumps(document).encode()
    kind = media_type or document.get("mediaType", MANIFEST)
    page = Page(200, {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)}, data)
    for name in (digest_of(data), *tags):
        server.pages[f"/v2/{repository}/manifests/{name}"] = page
    server.pages["/v2/"] = Page(200, {}, b"{}")
    return digest_of(data)


def _blob_page(data: bytes) -> Callable[[Seen], Page]:
    """A blob, which can be had in part (RFC 9110, 14)."""

    def answer(seen: Seen) -> Page:
        kind = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))
        if wanted is None:
            return Page(200, {**kind, "Content-Length": str(len(data))}, data)
        start, end = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        if start >= len(data):
            return Page(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
        return Page(206, {**kind, "Content-Range": f"bytes {start}-{end}/{len(data)}"}, data[start : end + 1])

    return answer


def reset_on_close(connection: socket.socket) -> None:
    """Let the end of a connection be a reset, not an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.contextmanager
def self_signed(folder: Any, name: str = "127.0.0.1", *, days: int = 2) -> Iterator[tuple[str, str]]:
    """Certificate and key for a name or address, made with openssl; gives their paths."""
    import subprocess

    kind = "IP" if name.replace(".", "").isdigit() else "DNS"
    certificate, key = f"{folder}/certificate.pem", f"{folder}/key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", key, "-out", certificate, "-days", str(days), "-subj", "/CN=lesson"]
    subprocess.run([*command, "-addext", f"subjectAltName={kind}:{name}"], check=True, capture_output=True)
    yield certificate, key
