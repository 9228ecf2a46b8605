"""Fetching what a build is fed with: files behind URLs, Git repositories; bounded in time, bytes and memory."""

from __future__ import annotations

from contextkernel.fetch.fetcher import NetworkFetcher
from contextkernel.fetch.limits import Limits

__all__ = ["Limits", "NetworkFetcher"]
