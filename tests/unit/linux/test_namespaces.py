"""Network namespaces that nobody is in: what is left of making them."""

from __future__ import annotations

import os

import pytest

from contextkernel.errors import SyscallFailed
from contextkernel.linux import namespaces as ns


def threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def test_the_thread_has_ended(monkeypatch: pytest.MonkeyPatch):
    """The container is cloned next: a thread on its way out may hold a lock that its copy would never release."""
    monkeypatch.setattr(ns, "unshare", lambda _flags: None)
    before = threads()
    for _ in range(50):
        os.close(ns.new_network())
        assert threads() <= before


def test_the_thread_has_ended_when_there_is_no_namespace(monkeypatch: pytest.MonkeyPatch):
    def refused(_flags: int) -> None:
        raise SyscallFailed("unshare", 1, "")

    monkeypatch.setattr(ns, "unshare", refused)
    before = threads()
    for _ in range(50):
        with pytest.raises(SyscallFailed):
            ns.new_network()
        assert threads() <= before
