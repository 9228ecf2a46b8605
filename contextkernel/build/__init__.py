"""Building images: a request is planned and executed with store, worker and runtime handed in."""

from __future__ import annotations

from contextkernel.build.builder import Builder
from contextkernel.build.request import BuildRequest
from contextkernel.build.sources import read_dockerfile

__all__ = ["BuildRequest", "Builder", "read_dockerfile"]
