"""Verbs of the store and the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition

if TYPE_CHECKING:
    from contextkernel.model.results import CheckFinding, HostReport


class System(Composition):
    """The store and the host."""

    def check_store(self, *, repair: bool = False) -> tuple[CheckFinding, ...]:
        """Look for anything wrong in the store; ``repair`` also puts right what can be."""
        self._sweep()
        findings = self._store.check(repair=repair)
        self._empty_trash()
        return findings

    def host_report(self) -> HostReport:
        """What this host allows, found out by trying."""
        from contextkernel import host

        return host.inspect_host(self._store.root, refresh=True)
