"""The fetcher that uses the network."""

from __future__ import annotations

from collections.abc import Callable

from contextkernel.fetch.limits import Limits
from contextkernel.model.fetching import Credentials, Downloaded, GitCommit, GitSource
from contextkernel.model.ports import Reporter


def _unknown(_etag: str) -> bool:
    return False


def _silent(_event: object) -> None:
    return


def _never() -> bool:
    return False


class NetworkFetcher:
    """See :class:`contextkernel.model.fetching.Fetcher`.

    Args:
        limits: bounds of each transfer; by default what the environment says.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits.from_environment()

    def download(
        self,
        url: str,
        path: str,
        credentials: Credentials,
        *,
        offset: int = 0,
        known: Callable[[str], bool] = _unknown,
        report: Reporter = _silent,
        stopped: Callable[[], bool] = _never,
    ) -> Downloaded:
        """See the port."""
        from contextkernel.fetch import http  # urllib3 takes a while to import

        return http.download(
            url, path, credentials, self._limits, offset=offset, known=known, report=report, stopped=stopped
        )

    def resolve(
        self, source: GitSource, credentials: Credentials, *, stopped: Callable[[], bool] = _never
    ) -> GitCommit:
        """See the port."""
        from contextkernel.fetch import git

        return git.resolve(source, credentials, self._limits, stopped)

    def export(
        self,
        source: GitSource,
        found: GitCommit,
        path: str,
        credentials: Credentials,
        *,
        report: Reporter = _silent,
        stopped: Callable[[], bool] = _never,
    ) -> None:
        """See the port."""
        from contextkernel.fetch import git

        git.export(source, found, path, credentials, self._limits, report, stopped)
