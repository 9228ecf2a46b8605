"""What a builder needs, without containers: a store in memory, a worker on plain directories, a runtime that is told.

Together they build whole Dockerfiles without root and without Linux features. Layers are plain directories; times do
not enter their digests, so the same build gives the same image.
"""

from __future__ import annotations

from contextkernel.testing.memory_store import MemoryStore
from contextkernel.testing.told_runtime import Program, ToldProcess, ToldRuntime, leave_trace
from contextkernel.testing.tree_worker import TreeWorker

__all__ = ["MemoryStore", "Program", "ToldProcess", "ToldRuntime", "TreeWorker", "leave_trace"]
