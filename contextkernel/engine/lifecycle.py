"""Verbs that change containers, and look into those that run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from contextkernel.engine.filters import PRUNE_FILTERS, all_labels, check_keys, one_moment
from contextkernel.engine.viewing import ContainerViews
from contextkernel.errors import Conflict, ContainerNotFound, ContainerRunning, InvalidInput
from contextkernel.model.given import Filters, filter_values, several

if TYPE_CHECKING:
    from contextkernel.engine.asked.updating import UpdateKeywords
    from contextkernel.model.results import ProcessTable, Pruned


class Lifecycle(ContainerViews):
    """The course of containers' lives."""

    def restart(self, container: str, *, timeout: int | None = None, signal: str | None = None) -> None:
        """Stop a container, if it runs, and start it again.

        Args:
            timeout: seconds from the signal to SIGKILL; default: the container's.
            signal: to send first; default: the container's stop signal.

        Raises:
            LaunchFailed and its kinds: it cannot be started.
        """
        containers = self._containers
        containers.restart(containers.find(container), timeout, signal)

    def rename(self, container: str, name: str) -> None:
        """Give a container another name.

        Raises:
            NameInUse: another has it. InvalidInput: it is no name, or the one it has.
        """
        containers = self._containers
        containers.rename(containers.find(container), name)

    def update(self, container: str, **wanted: Unpack[UpdateKeywords]) -> tuple[str, ...]:
        """Change what a container was created with; it may run.

        Args:
            wanted: what is to be otherwise; the rest stays.

        Returns:
            Warnings.

        Raises:
            Conflict: the container cannot be changed so. InvalidInput: a value that cannot be. TypeError: a keyword
                that there is not.
        """
        from contextkernel.engine.asked.life import restart_from
        from contextkernel.engine.asked.resources import changed, changes_from
        from contextkernel.engine.asked.updating import check_names
        from contextkernel.model.resources import Resources
        from contextkernel.runtime.enforcing import adapted

        check_names(wanted)
        containers = self._containers
        spec = containers.find(container)
        warnings: tuple[str, ...] = ()
        changes = changes_from(wanted)
        try:
            if changes != Resources():
                kept, warnings = adapted(changes, self._group_facts())
                spec = containers.update_resources(spec, changed(spec.resources, kept))
            if "restart_policy" in wanted:
                spec = containers.update_restart(spec, restart_from(wanted["restart_policy"]))
        except (InvalidInput, Conflict) as problem:
            raise type(problem)(f"cannot update container {spec.id}: {problem.problem}", hint=problem.hint) from None
        containers.tell(spec, "update")
        return warnings

    def top(self, container: str, ps_args: str | Sequence[str] = ()) -> ProcessTable:
        """The processes of a container.

        Args:
            ps_args: options of ps (``-ef``, ``aux``, ``-l``, ``-o pid,user,cmd``).

        Raises:
            Conflict: it does not run. InvalidInput: options that are not known.
        """
        from contextkernel.runtime.processes import facts_of
        from contextkernel.runtime.top import process_table

        containers = self._containers
        spec = containers.find(container)
        options = several(ps_args)
        process_table((), options)  # options that are none are told first
        found = process_table(tuple(facts_of(containers.processes(spec))), options)
        containers.tell(spec, "top")
        return found

    def ports(self, container: str) -> dict[str, list[dict[str, str]] | None]:
        """Published ports of a container: docker's ``NetworkSettings.Ports``, empty while it does not run."""
        document = self._inspect_container(self._containers.find(container))
        return dict(document["NetworkSettings"].get("Ports") or {})

    def prune_containers(self, *, filters: Filters | None = None) -> Pruned:
        """Remove the containers that do not run.

        Args:
            filters: ``until`` (created before), ``label`` and ``label!`` (``KEY`` or ``KEY=VALUE``).

        Raises:
            InvalidInput: a filter that is none.
        """
        from contextkernel.model.results import Pruned

        wanted = filter_values(filters)
        check_keys(wanted, PRUNE_FILTERS)
        until = one_moment(wanted)
        containers, removed, size = self._containers, [], 0
        for row in self.containers(all=True, size=True):
            if row.state in ("running", "paused", "restarting") or not all_labels(row.labels, wanted):
                continue
            spec = containers.find(row.id)
            if until is not None and spec.created > until:
                continue
            try:
                containers.remove(spec)
            except (ContainerNotFound, ContainerRunning):  # it went, or started, in the meantime
                continue
            removed.append(row.id)
            size += row.size
        return Pruned(removed=tuple(removed), size=size)
