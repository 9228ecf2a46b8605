"""A caching HTTP proxy for package mirrors, so that nine environments do not download the same packages nine times."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path


class CachingProxy:
    """Serves ``GET http://...`` from files; what is not there is fetched once.

    Only what never changes at its address (packages, and lists by their hash) outlives the session.
    """

    def __init__(self, lasting: Path, passing: Path) -> None:
        """Directories for what is kept between sessions, and for this session's."""
        self.folders = {True: lasting, False: passing}
        self.locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self.fetched = 0
        self.servers: list[http.server.ThreadingHTTPServer] = []
        for folder in self.folders.values():
            folder.mkdir(parents=True, exist_ok=True)

    def listen(self, address: str) -> str:
        """Listen on a free port of one address too; gives the proxy's URL."""
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.answer(self)

            def log_message(self, *_: object) -> None:
                """Quietly."""

        server = http.server.ThreadingHTTPServer((address, 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return f"http://{address}:{server.server_address[1]}"

    def close(self) -> None:
        """Listen no more."""
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        if not request.path.startswith("http://"):
            request.send_error(400, "an http:// address was expected")
            return
        try:
            path = self.file_of(request.path)
        except urllib.error.HTTPError as problem:
            request.send_error(problem.code)
        except OSError as problem:
            request.send_error(502, str(problem))
        else:
            request.send_response(200)
            request.send_header("Content-Length", str(path.stat().st_size))
            request.end_headers()
            with path.open("rb") as file:
                shutil.copyfileobj(file, request.wfile, 1 << 20)

    def file_of(self, url: str) -> Path:
        """The file with what is at an address; two who ask at once cause one download."""
        lasting = "/pool/" in url or "/by-hash/" in url
        path = self.folders[lasting] / hashlib.sha256(url.encode()).hexdigest()
        with self.locks[url]:
            if not path.exists():
                fresh = path.with_suffix(".part")
                # it was seen to be http
                with urllib.request.urlopen(url, timeout=60) as answer, fresh.open("wb") as file:  # noqa: S310
                    shutil.copyfileobj(answer, file, 1 << 20)
                fresh.rename(path)
                self.fetched += 1
        return path
