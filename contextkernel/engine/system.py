"""Verbs of the store and the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.engine.usage import Usage
from contextkernel.errors import ContextKernelError, HostUnsupported

if TYPE_CHECKING:
    from contextkernel.model.results import CheckFinding, HostReport


class System(Usage):
    """The store and the host."""

    def check_store(self, *, repair: bool = False) -> tuple[CheckFinding, ...]:
        """Look for anything wrong in the store; ``repair`` also puts right what can be."""
        self._sweep()
        findings = self._store.check(repair=repair)
        self._empty_trash()
        return findings

    def host_report(self) -> HostReport:
        """What this host allows, found out by trying, now; a store that cannot be used is no reason not to say it.

        Raises:
            HostUnsupported: not Linux.
            InvalidInput: a setting that asks for less is not understood.
        """
        from contextkernel import host

        host.require_linux()
        try:
            room = self.store_room()
        except HostUnsupported:
            raise
        except ContextKernelError:
            return host.inspect_host(self._root, refresh=True)
        return host.with_room(host.inspect_host(self._store.root, refresh=True), room)
