"""Values and the port of fetching: files behind URLs and Git repositories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from contextkernel.model.ports import Reporter


class Credentials(msgspec.Struct, frozen=True):
    """Secrets that servers may be shown; they never appear in what is printed of this value.

    Attributes:
        secrets: by the names that BuildKit gives them: ``HTTP_AUTH_HEADER_<host>``, ``HTTP_AUTH_TOKEN_<host>``,
            ``GIT_AUTH_HEADER[.<host>]``, ``GIT_AUTH_TOKEN[.<host>]``.
        ssh: socket of an SSH agent; empty for none.
    """

    secrets: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    ssh: str = ""

    def __repr__(self) -> str:
        return f"Credentials({', '.join(sorted(self.secrets))})"


class Downloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What came from a URL.

    Attributes:
        digest: ``sha256:...`` of the content; empty if ``known`` said that the content is here already.
        size: bytes.
        etag: the server's entity tag, without its mark of weakness; empty if it sent none.
        modified: seconds since the epoch; 0 if the server did not say.
        name: what the server calls the file (Content-Disposition); empty if it did not say.
    """

    digest: str = ""
    size: int = 0
    etag: str = ""
    modified: int = 0
    name: str = ""


class GitSource(msgspec.Struct, frozen=True, kw_only=True):
    """What to take from which Git repository; see :class:`contextkernel.plan.remote.GitOrigin`."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool = False
    submodules: bool = True
    commit_time: bool = False
    by_commit: bool = False


class GitCommit(msgspec.Struct, frozen=True, kw_only=True):
    """What a reference leads to.

    Attributes:
        object: id of the object that the reference names: a commit, or an annotated tag.
        commit: the commit itself, where the remote said it; else the same as ``object``.
        ref: the full name of the reference; the commit itself where it was named by that.
    """

    object: str
    commit: str
    ref: str


class Fetcher(Protocol):
    """Fetches what is not on this machine. Nothing is kept between calls; every call ends in bounded time.

    No message, event or file has a secret in it.
    """

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
        """Fetch a file into ``path``, which is made.

        Args:
            url: ``http://`` or ``https://``; redirects are followed to those only.
            path: where to; left there incomplete if this fails.
            credentials: shown to the URL's own host only.
            offset: bytes to leave free at the start of the file.
            known: asked once with the entity tag that the server names; true leaves the content where it is.
            report: receives ``StepProgress``.
            stopped: asked now and then, by another thread; true ends the transfer.

        Raises:
            FetchFailed: whatever the server, or the way to it, did.
        """
        ...

    def resolve(
        self, source: GitSource, credentials: Credentials, *, stopped: Callable[[], bool] = lambda: False
    ) -> GitCommit:
        """Ask the remote what the reference leads to; a full commit id is not asked for.

        Raises:
            FetchFailed: no such repository or reference, or it leads elsewhere than ``checksum`` says.
        """
        ...

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
        """Fetch a commit and write its files as a tar archive to ``path``, which is made.

        Files belong to 0:0 and have mode 644 or 755, directories 755.

        Raises:
            FetchFailed: the commit or the subdirectory is not there, or the transfer failed.
        """
        ...
