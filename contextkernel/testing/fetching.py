"""A fetcher without a network."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable

import msgspec

from contextkernel.errors import FetchFailed
from contextkernel.model.events import StepProgress
from contextkernel.model.fetching import Credentials, Downloaded, GitCommit, GitSource
from contextkernel.model.ports import Reporter
from contextkernel.plan.remote import redacted


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What is behind a URL."""

    content: bytes
    etag: str = ""
    modified: int = 0


class MemoryFetcher:
    """See :class:`contextkernel.model.fetching.Fetcher`.

    Attributes:
        pages: by URL.
        commits: files of commits, by id.
        references: commit ids by remote and reference; the reference of HEAD is empty.
        times: of commits, in seconds since 1970, by id.
        asked: what was asked for, in order: ``get URL``, ``have URL`` (known already), ``resolve``,
            ``export COMMIT`` (`` with its time``).
        credentials: what came with the last call.
    """

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.references: dict[tuple[str, str], str] = {}
        self.times: dict[str, int] = {}
        self.asked: list[str] = []
        self.credentials = Credentials()

    def download(
        self,
        url: str,
        path: str,
        credentials: Credentials,
        *,
        offset: int = 0,
        known: Callable[[str], bool] = lambda _etag: False,
        report: Reporter = lambda _event: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Downloaded:
        """See the port."""
        del stopped
        report(StepProgress(0, redacted(url), 0, 0))
        self.credentials = credentials
        page = self.pages.get(url)
        if page is None:
            self.asked.append(f"miss {url}")
            raise FetchFailed(f"cannot fetch {url}: the server answered 404")
        if page.etag and known(page.etag):
            self.asked.append(f"have {url}")
            return Downloaded(etag=page.etag, modified=page.modified)
        self.asked.append(f"get {url}")
        with open(path, "xb") as file:
            file.seek(offset)
            file.write(page.content)
        digest = f"sha256:{hashlib.sha256(page.content).hexdigest()}"
        return Downloaded(digest=digest, size=len(page.content), etag=page.etag, modified=page.modified)

    def resolve(
        self, source: GitSource, credentials: Credentials, *, stopped: Callable[[], bool] = lambda: False
    ) -> GitCommit:
        """See the port."""
        del stopped
        self.credentials = credentials
        self.asked.append("resolve")
        commit = self.references.get((source.remote, source.ref))
        if commit is None:
            raise FetchFailed(f"cannot fetch {source.remote}: the repository has no reference {source.ref!r}")
        return GitCommit(object=commit, commit=commit, ref=source.ref)

    def export(
        self,
        source: GitSource,
        found: GitCommit,
        path: str,
        credentials: Credentials,
        *,
        report: Reporter = lambda _event: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """See the port; of what ``source`` asks for only the subdirectory counts."""
        del credentials, report, stopped
        self.asked.append(f"export {found.commit}{' with its time' if source.commit_time else ''}")
        top = f"{source.subdir}/" if source.subdir else ""
        with tarfile.open(path, "x") as tar:
            for name, content in self.commits[found.commit].items():
                if name.startswith(top):
                    info = tarfile.TarInfo(name.removeprefix(top))
                    info.size, info.mode = len(content), 0o644
                    info.mtime = self.times.get(found.commit, 0) if source.commit_time else 0
                    tar.addfile(info, io.BytesIO(content))
